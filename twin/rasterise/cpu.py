"""The CPU rasteriser: Numba kernels that release the GIL, on a thread pool that survives a fork."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hardware.camera_model import CameraModel
from twin.rasterise.bin import Tiles, bin_gaussians, pair_starts
from twin.rasterise.inputs import require_drawable
from twin.rasterise.project import project
from twin.rasterise.project_backward import PARTS, project_backward
from twin.rasterise.protocol import Rendering, SplatGradient
from twin.rasterise.raster import PAIR_COLUMNS, raster, raster_backward
from twin.splat import Splat
from twin.threads import run_chunks


@dataclass(frozen=True, eq=False)
class CpuPass:
    """One forward pass; `backward` may be called more than once."""

    rendering: Rendering
    splat: Splat
    camera: CameraModel
    T_cam_world: Float[ndarray, "3 4"]
    projected: Float[ndarray, "N 11"]
    boxes: Int[ndarray, "N 4"]
    tiles: Tiles

    def backward(
        self,
        grad_rgb: Float[ndarray, "H W 3"],
        grad_depth_m: Float[ndarray, "H W"] | None = None,
        grad_alpha: Float[ndarray, "H W"] | None = None,
    ) -> SplatGradient:
        drawn = self.rendering
        none = np.empty((0, 0), np.float32)
        numbered = pair_starts(self.boxes)
        sums = np.empty((len(self.tiles.members), PAIR_COLUMNS), np.float32)
        run_chunks(
            raster_backward, self.tiles.count, self.projected, self.boxes, self.tiles.starts, self.tiles.members,
            numbered, self.tiles.columns, drawn.rgb, drawn.depth_m, drawn.alpha, as_float32(grad_rgb),
            none if grad_depth_m is None else as_float32(grad_depth_m),
            none if grad_alpha is None else as_float32(grad_alpha), sums,
        )  # fmt: skip
        splat, camera = self.splat, self.camera
        means, quats, scales = (np.empty_like(a) for a in (splat.means_m, splat.quats_wxyz, splat.scales_m))
        opacities, px, sh = np.empty_like(splat.opacities), np.empty_like(splat.opacities), np.empty_like(splat.sh)
        pose = np.empty((PARTS, 12))
        run_chunks(
            project_backward, PARTS, splat.means_m, splat.quats_wxyz, splat.scales_m, splat.sh, self.T_cam_world,
            lens(camera), camera.width_px, camera.height_px, self.projected, self.boxes, numbered, sums,
            means, quats, scales, opacities, sh, px, pose,
        )  # fmt: skip
        return SplatGradient(means, quats, scales, opacities, sh, pose.sum(0).reshape(3, 4).astype(np.float32), px)


class CpuRasteriser:
    """See `Rasteriser`."""

    name = "cpu"

    def render(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> Rendering:
        return self.forward(splat, camera, T_cam_world, background).rendering

    def forward(
        self,
        splat: Splat,
        camera: CameraModel,
        T_cam_world: Float[ndarray, "4 4"],
        background: Float[ndarray, 3] | None = None,
    ) -> CpuPass:
        behind = require_drawable(splat, camera, T_cam_world, background)
        T = np.ascontiguousarray(T_cam_world[:3], np.float32)
        size = camera.width_px, camera.height_px
        projected, boxes = np.empty((len(splat), 11), np.float32), np.empty((len(splat), 4), np.int16)
        run_chunks(
            project, len(splat), splat.means_m, splat.quats_wxyz, splat.scales_m, splat.opacities, splat.sh, T,
            lens(camera), *size, projected, boxes,
        )  # fmt: skip
        tiles = bin_gaussians(projected, boxes, *size)
        shape = camera.height_px, camera.width_px
        rendering = Rendering(
            np.empty((*shape, 3), np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
        )
        run_chunks(
            raster, tiles.count, projected, boxes, tiles.starts, tiles.members, tiles.columns, behind,
            rendering.rgb, rendering.depth_m, rendering.alpha,
        )  # fmt: skip
        return CpuPass(rendering, splat, camera, T, projected, boxes, tiles)


def as_float32(array: ndarray) -> ndarray:
    return np.ascontiguousarray(array, np.float32)


def lens(camera: CameraModel) -> Float[ndarray, 4]:
    return np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px], np.float32)
