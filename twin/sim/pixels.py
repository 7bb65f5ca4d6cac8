# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Body poses of N environments in, pictures out: background, objects and robot are all splats, so depth is right.

A camera that stands in the cell draws what never moves once, and lays what moves over it by depth, pixel by pixel;
what moves is drawn with as many Gaussians as its pixels can show. A camera on the hand draws everything in one pass.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.rasterise.choose import why_no_cuda
from twin.rasterise.cpu import CpuRasteriser, lens
from twin.rasterise.protocol import Rendering
from twin.sim import parts as scene_parts
from twin.sim.cameras import SimCamera, resized
from twin.sim.coarser import coarser
from twin.sim.draw import draw
from twin.sim.parts import Part
from twin.sim.protocol import checked_camera
from twin.sim.scene import SimScene
from twin.splat import Splat
from twin.threads import run_chunks

LARGEST_PX = 2048
DETAIL_PX = 0.5
"""Gaussians nearer to one another than this are drawn as one: 2.3 times as fast at 128², and 40 dB from all of them."""
_NO_STILL = Rendering(np.empty((0, 0, 3), np.float32), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class Carried:
    """The parts' Gaussians one after the other, as the kernels read them."""

    bodies: Int[ndarray, " P"]
    splats: tuple[ndarray, ...]
    """means, quats, scales, opacities, and coefficients as rows of three."""
    part_starts: Int[ndarray, " P+1"]
    sh_starts: Int[ndarray, " P+1"]
    coefficients: Int[ndarray, " P"]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Carried:
        splats = [part.splat for part in parts]
        counts, coefficients = [len(s) for s in splats], [s.sh.shape[1] for s in splats]
        names = ("means_m", "quats_wxyz", "scales_m", "opacities")
        joined = [np.concatenate([getattr(splat, name) for splat in splats]) for name in names]
        rows = np.multiply(counts, coefficients)
        return cls(
            bodies=np.array([part.body for part in parts]),
            splats=(*joined, np.concatenate([splat.sh.reshape(-1, 3) for splat in splats])),
            part_starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            sh_starts=np.concatenate([[0], np.cumsum(rows)]).astype(np.int64),
            coefficients=np.array(coefficients, np.int64),
        )

    def __len__(self) -> int:
        return int(self.part_starts[-1])


@dataclass(frozen=True, eq=False)
class Layers:
    """What never moves, drawn already, and what moves over it."""

    still: Rendering
    moving: Carried


def open_pixels(scene: SimScene, model: mujoco.MjModel) -> SplatPixels:
    """On a CUDA device where gsplat runs there, on the CPU elsewhere."""
    if why_no_cuda() is None:
        from twin.sim.pixels_cuda import GsplatPixels

        return GsplatPixels(scene, model)
    return SplatPixels(scene, model)


class SplatPixels:
    """Draws a scene on the CPU, an environment per thread at a time."""

    def __init__(
        self, scene: SimScene, model: mujoco.MjModel, layered: bool = True, detail_px: float = DETAIL_PX
    ) -> None:
        """Without `layered`, standing cameras too draw all in one pass: exact, and ten times slower."""
        moving = scene_parts.moving(scene, model)
        still = scene_parts.still(scene, model)
        for part in moving:
            part.splat.require_finite(part.name)
        still.require_finite("the background")
        self.scene, self.layered, self.detail_px = scene, layered, detail_px
        self.still: Splat = still
        self.moving: Sequence[Part] = moving
        self.everything = Carried.of([*moving, Part("world", 0, still)])
        self._layers: dict[tuple[str, int, int], Layers] = {}
        self._tool_body = model.body(scene.hand.prefix + scene.hand.tool_body).id

    def redressed(self, still: Splat, moving: Sequence[Part], cameras: Mapping[str, SimCamera]) -> SplatPixels:
        """The same bodies with other Gaussians, seen from other places: a look for domain randomisation."""
        other = copy.copy(self)
        other.scene = replace(self.scene, cameras=dict(cameras))
        other.still, other.moving = still, moving
        other.everything = Carried.of([*moving, Part("world", 0, still)])
        other._layers = {}
        return other

    def render(
        self, camera: str, width_px: int, height_px: int, Ts_world_body: Float[ndarray, "M B 4 4"]
    ) -> UInt8[ndarray, "M H W 3"]:
        """Raises `BadInput` for an unknown camera and a size that is none."""
        placed = self.scene.cameras[checked_camera(camera, tuple(self.scene.cameras))]
        if not (1 <= width_px <= LARGEST_PX and 1 <= height_px <= LARGEST_PX):
            raise BadInput(f"a picture of {width_px} × {height_px} pixels", f"1 … {LARGEST_PX} a side")
        model = resized(placed.camera, width_px, height_px)
        stands = placed.mount == "base" and self.layered
        layers = self.layers(camera, model) if stands else Layers(_NO_STILL, self.everything)
        behind, carried = layers.still, layers.moving
        Ts_cam_world = np.linalg.inv(self.Ts_world_cam(placed, Ts_world_body))
        Ts_cam_part = (Ts_cam_world[:, None] @ Ts_world_body[:, carried.bodies])[:, :, :3]
        return self.drawn(carried, behind, np.ascontiguousarray(Ts_cam_part, np.float32), model)

    def drawn(
        self, carried: Carried, behind: Rendering, Ts_cam_part: Float[ndarray, "M P 3 4"], camera: CameraModel
    ) -> UInt8[ndarray, "M H W 3"]:
        """What is carried, over what is behind it."""
        pictures = np.empty((len(Ts_cam_part), camera.height_px, camera.width_px, 3), np.uint8)
        run_chunks(
            draw, len(pictures), *carried.splats, carried.part_starts, carried.sh_starts, carried.coefficients,
            Ts_cam_part, lens(camera), behind.rgb, behind.depth_m, behind.alpha, pictures,
        )  # fmt: skip
        return pictures

    def Ts_world_cam(self, placed: SimCamera, Ts_world_body: Float[ndarray, "M B 4 4"]) -> Float[ndarray, "M 4 4"]:
        T_mount_cam = placed.pose.matrix
        if placed.mount == "base":
            return np.tile(self.scene.T_world_base.matrix @ T_mount_cam, (len(Ts_world_body), 1, 1))
        return Ts_world_body[:, self._tool_body] @ self.scene.hand.T_body_tool @ T_mount_cam

    def layers(self, camera: str, model: CameraModel) -> Layers:
        """What a standing camera needs of a scene. Made once for each size."""
        key = camera, model.width_px, model.height_px
        if key not in self._layers:
            T_world_cam = self.scene.T_world_base.matrix @ self.scene.cameras[camera].pose.matrix
            still = CpuRasteriser().render(self.still, model, np.linalg.inv(T_world_cam))
            things = np.array([asset.pose.translation_m for asset in self.scene.objects])
            nearest_m = np.linalg.norm(things - T_world_cam[:3, 3], axis=1).min()
            cell_m = self.detail_px * float(nearest_m) / max(model.fx_px, model.fy_px)
            parts = self.moving
            if cell_m > 0:
                parts = [Part(part.name, part.body, coarser(part.splat, cell_m)) for part in parts]
            self._layers[key] = Layers(still, Carried.of(parts))
        return self._layers[key]
