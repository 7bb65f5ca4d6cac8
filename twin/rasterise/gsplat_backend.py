"""The CUDA rasteriser: gsplat (https://github.com/nerfstudio-project/gsplat) behind our protocol.

gsplat's image formation is the one that `protocol` states (low-pass 0.3 px², alpha 1/255 … 0.999, stop at 1e-4), so
both are held to the same reference. Written against gsplat 1.5.3's `rasterization`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from gsplat.rendering import rasterization  # type: ignore[import-not-found]  # an optional extra
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from hardware.camera_model import CameraModel
from twin.rasterise.inputs import require_drawable
from twin.rasterise.protocol import Rendering, SplatGradient
from twin.splat import Splat

NEAR_M, LOW_PASS_PX2 = 0.01, 0.3


@dataclass(frozen=True, eq=False)
class GsplatPass:
    """One forward pass: torch keeps its graph until this is dropped; `backward` may be called more than once."""

    rendering: Rendering
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, Tensor, Tensor]
    means_px: Tensor

    def backward(
        self,
        grad_rgb: Float[ndarray, "H W 3"],
        grad_depth_m: Float[ndarray, "H W"] | None = None,
        grad_alpha: Float[ndarray, "H W"] | None = None,
    ) -> SplatGradient:
        given = [grad_rgb, grad_depth_m, grad_alpha]
        chosen = [(out, grad) for out, grad in zip(self.outputs, given, strict=True) if grad is not None]
        grads = torch.autograd.grad(
            [out for out, _ in chosen],
            [*self.inputs, self.means_px],
            [torch.as_tensor(np.ascontiguousarray(grad, np.float32), device=out.device) for out, grad in chosen],
            retain_graph=True,
            allow_unused=True,
        )
        zeroed = [
            torch.zeros_like(x) if g is None else g
            for x, g in zip((*self.inputs, self.means_px), grads, strict=True)
        ]
        *parts, pose, px = (grad.cpu().numpy() for grad in zeroed)
        return SplatGradient(*parts, T_cam_world=pose[:3], means_px=np.linalg.norm(px.reshape(-1, 2), axis=-1))


class GsplatRasteriser:
    """See `Rasteriser`. The arrays travel to the GPU on every call: trainers on a GPU keep them there instead."""

    name = "gsplat"

    def __init__(self, device: str = "cuda") -> None:
        self.device = device

    def render(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> Rendering:
        with torch.no_grad():
            return self._draw(splat, camera, T_cam_world, background)[0]

    def forward(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> GsplatPass:
        return GsplatPass(*self._draw(splat, camera, T_cam_world, background))

    def _draw(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None,
    ) -> tuple[Rendering, tuple[Tensor, ...], tuple[Tensor, Tensor, Tensor], Tensor]:
        behind = require_drawable(splat, camera, T_cam_world, background)
        inputs = tuple(self._leaf(getattr(splat, field.name)) for field in fields(splat))
        pose = self._leaf(np.asarray(T_cam_world, np.float32))
        means, quats, scales, opacities, sh = inputs
        drawn, alphas, meta = self._rasterise(
            means, quats, scales, opacities, sh, pose, camera, splat.sh_degree, behind
        )
        outputs = drawn[0, ..., :3], drawn[0, ..., 3], alphas[0, ..., 0]
        rgb, depth, alpha = (out.detach().cpu().numpy() for out in outputs)
        return Rendering(np.ascontiguousarray(rgb), depth, alpha), (*inputs, pose), outputs, meta["means2d"]

    def _rasterise(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        sh: Tensor,
        pose: Tensor,
        camera: CameraModel,
        sh_degree: int,
        behind: Float[ndarray, 3],
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """One camera in a batch of one; gsplat itself adds depth as the fourth channel, over 0."""
        return rasterization(
            means,
            quats,
            scales,
            opacities,
            sh,
            viewmats=pose[None],
            Ks=torch.as_tensor(camera.matrix[None], dtype=torch.float32, device=self.device),
            width=camera.width_px,
            height=camera.height_px,
            near_plane=NEAR_M,
            eps2d=LOW_PASS_PX2,
            sh_degree=sh_degree,
            packed=False,
            backgrounds=torch.as_tensor(behind[None], device=self.device),
            render_mode="RGB+D",
        )

    def _leaf(self, array: ndarray) -> Tensor:
        return torch.as_tensor(array, device=self.device).requires_grad_()
