"""What every rasteriser takes and gives: a `Splat` and a camera in, a `Rendering` out, gradients back.

Image formation is 3DGS's (Kerbl et al. 2023, https://arxiv.org/abs/2308.04079): EWA projection with a 0.3 px²
low-pass, alpha = min(0.999, opacity · exp(-½ dᵀ Σ⁻¹ d)) where it is at least 1/255, front to back by the depth
of the means, a pixel stops before its transmittance would fall below 1e-4. Numpy at the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

from hardware.camera_model import CameraModel
from twin.splat import Splat


@dataclass(frozen=True, eq=False)
class Rendering:
    """float32. `rgb` is linear in the splat's own colour space and is not clipped above 1."""

    rgb: Float[ndarray, "H W 3"]
    depth_m: Float[ndarray, "H W"]
    """Σ weight · z of the means: divide by `alpha` for the expected depth where alpha > 0."""
    alpha: Float[ndarray, "H W"]
    """Accumulated opacity, 1 − transmittance."""


@dataclass(frozen=True, eq=False)
class SplatGradient:
    """d loss / d each input, same shapes as the `Splat` they belong to."""

    means_m: Float[ndarray, "N 3"]
    quats_wxyz: Float[ndarray, "N 4"]
    scales_m: Float[ndarray, "N 3"]
    opacities: Float[ndarray, " N"]
    sh: Float[ndarray, "N K 3"]
    T_cam_world: Float[ndarray, "3 4"]
    """With respect to the twelve entries of [R | t]; project on se(3) with `pose_gradient`."""
    means_px: Float[ndarray, " N"]
    """|d loss / d projected mean|, the signal that densification reads; 0 where not visible."""


@runtime_checkable
class Pass(Protocol):
    """One forward pass that remembers what its backward pass needs."""

    @property
    def rendering(self) -> Rendering: ...

    def backward(
        self,
        grad_rgb: Float[ndarray, "H W 3"],
        grad_depth_m: Float[ndarray, "H W"] | None = None,
        grad_alpha: Float[ndarray, "H W"] | None = None,
    ) -> SplatGradient: ...


@runtime_checkable
class Rasteriser(Protocol):
    """`render` keeps nothing; `forward` returns a `Pass`. Both refuse NaN and a camera with distortion."""

    @property
    def name(self) -> str: ...

    def render(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> Rendering: ...

    def forward(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> Pass: ...
