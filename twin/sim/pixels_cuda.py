"""The same pictures on a CUDA device: gsplat draws a batch of environments at once, layers are laid there too.

Each environment's Gaussians are written in its camera's frame, so the batch needs no world. Tests run this on the CPU
with our rasteriser in gsplat's place; on a CUDA device it was not run, for want of one. Against gsplat 1.5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from hardware.camera_model import CameraModel
from hardware.spatial import quat_wxyz_from_rotation
from twin.rasterise.project import LOW_PASS_PX2, NEAR_M
from twin.rasterise.protocol import Rendering
from twin.sim.cameras import SimCamera
from twin.sim.parts import Part
from twin.sim.pixels import DETAIL_PX, Carried, SplatPixels
from twin.sim.scene import SimScene
from twin.splat import SH_DEGREE_OF_COEFFICIENTS, Splat

AT_ONCE = 64
"""Environments drawn together: 80 000 Gaussians of degree 3 each take 1 GB for their colours."""


class GsplatPixels(SplatPixels):
    """See `SplatPixels`. Gaussians travel to the device once; poses and pictures with every call."""

    def __init__(
        self,
        scene: SimScene,
        model: mujoco.MjModel,  # pyright: ignore[reportAttributeAccessIssue]
        layered: bool = True,
        detail_px: float = DETAIL_PX,
        device: str = "cuda",
    ) -> None:
        super().__init__(scene, model, layered, detail_px)
        self.device = device
        self._there: dict[int, tuple[Tensor, ...]] = {}

    def redressed(self, still: Splat, moving: Sequence[Part], cameras: Mapping[str, SimCamera]) -> GsplatPixels:
        other = super().redressed(still, moving, cameras)
        assert isinstance(other, GsplatPixels)
        other._there = {}
        return other

    def drawn(
        self, carried: Carried, behind: Rendering, Ts_cam_part: Float[ndarray, "M P 3 4"], camera: CameraModel
    ) -> UInt8[ndarray, "M H W 3"]:
        with torch.no_grad():
            chunks = [Ts_cam_part[at : at + AT_ONCE] for at in range(0, len(Ts_cam_part), AT_ONCE)]
            pictures = [self._some(carried, behind, chunk, camera) for chunk in chunks]
        return np.concatenate(pictures)

    def _some(
        self, carried: Carried, behind: Rendering, Ts_cam_part: Float[ndarray, "M P 3 4"], camera: CameraModel
    ) -> UInt8[ndarray, "M H W 3"]:
        from gsplat import rasterization  # type: ignore[import-not-found]

        count = len(Ts_cam_part)
        means, quats, colours = self._placed(carried, Ts_cam_part)
        _, _, scales, opacities, *_ = self._on_device(carried)
        eye = torch.eye(4, device=self.device).expand(count, 1, 4, 4)
        matrix = torch.as_tensor(camera.matrix, dtype=torch.float32, device=self.device).expand(count, 1, 3, 3)
        drawn, alphas, _ = rasterization(
            means,
            quats,
            scales.expand(count, -1, -1),
            opacities.expand(count, -1),
            colours,
            viewmats=eye,
            Ks=matrix,
            width=camera.width_px,
            height=camera.height_px,
            near_plane=float(NEAR_M),
            eps2d=float(LOW_PASS_PX2),
            packed=False,
            render_mode="RGB+D",
        )
        rgb, depth, alpha = drawn[:, 0, ..., :3], drawn[:, 0, ..., 3:], alphas[:, 0]
        if behind.alpha.size:
            still = [torch.as_tensor(a, device=self.device) for a in (behind.rgb, behind.depth_m, behind.alpha)]
            rgb = laid_over(rgb, depth, alpha, still[0], still[1][..., None], still[2][..., None])
        return (rgb.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()

    def _placed(self, carried: Carried, Ts_cam_part: ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Means and axes in the cameras' frames (M N 3, M N 4), and what colour each shows there (M N 3)."""
        from gsplat import spherical_harmonics  # type: ignore[import-not-found]

        means, quats, _, _, sh, part = self._on_device(carried)
        turns = torch.as_tensor(Ts_cam_part[..., :3], device=self.device)
        shifts = torch.as_tensor(Ts_cam_part[..., 3], device=self.device)
        turn_quats = torch.as_tensor(
            quat_wxyz_from_rotation(Ts_cam_part[..., :3].astype(np.float64)),
            dtype=torch.float32,
            device=self.device,
        )
        placed = torch.einsum("mnij,nj->mni", turns[:, part], means) + shifts[:, part]
        eyes = -torch.einsum("mpji,mpj->mpi", turns, shifts)  # of the camera, in each part's frame
        towards = torch.nn.functional.normalize(means - eyes[:, part], dim=-1)
        degree = SH_DEGREE_OF_COEFFICIENTS[sh.shape[1]]
        colours = spherical_harmonics(degree, towards.contiguous(), sh.expand(len(turns), *sh.shape).contiguous())
        return placed, product(turn_quats[:, part], quats), (colours + 0.5).clamp_min(0)

    def _on_device(self, carried: Carried) -> tuple[Tensor, ...]:
        """means, quats, scales, opacities, sh (N K 3, all to the highest degree), part of each Gaussian."""
        key = id(carried)
        if key not in self._there:
            counts, most = np.diff(carried.part_starts), int(carried.coefficients.max())
            *arrays, rows = carried.splats
            sh = np.zeros((len(carried), most, 3), np.float32)
            for part, own in enumerate(carried.coefficients):
                first, last = carried.part_starts[part], carried.part_starts[part + 1]
                own_rows = rows[carried.sh_starts[part] : carried.sh_starts[part + 1]]
                sh[first:last, :own] = own_rows.reshape(-1, own, 3)
            part_of = np.repeat(np.arange(len(counts)), counts)
            self._there[key] = tuple(torch.as_tensor(a, device=self.device) for a in (*arrays, sh, part_of))
        return self._there[key]


def laid_over(
    rgb: Tensor, depth: Tensor, alpha: Tensor, still_rgb: Any, still_depth: Any, still_alpha: Any
) -> Tensor:
    """As `draw.lay_over`, of a batch."""
    nearer = depth * still_alpha <= still_depth * alpha
    return torch.where(nearer, rgb + (1 - alpha) * still_rgb, (1 - still_alpha) * rgb + still_rgb)


def product(first: Tensor, second: Tensor) -> Tensor:
    """Quaternions (wxyz): first · second."""
    w, v = first[..., :1], first[..., 1:]
    ws, vs = second[..., :1], second[..., 1:].expand(v.shape)
    real = w * ws - (v * vs).sum(-1, keepdim=True)
    return torch.cat([real, w * vs + ws * v + torch.linalg.cross(v, vs)], -1)
