# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A camera of the running cell: what it sees of one exposure, with its noise. MuJoCo's own OpenGL, no shadows.

The picture of one exposure is always the same, whoever draws it and when. A camera that is fixed to the world draws
what never moves only once and lays what moves over it, by depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8
from numpy import ndarray

from hardware.bench import renderer, workcell
from hardware.bench.plant_config import CameraName, LiveCamera
from hardware.bench.tasks.task import Decal
from hardware.bench.workcell import Workcell
from hardware.camera_model import CameraModel
from hardware.spatial import Pose

NOISE_SPARE_PX = 64
"""The stored noise is this much larger than a picture; each picture takes another window of it."""
DECAL_HALF_M = 0.0002
_FLIP = np.diag([1.0, -1.0, -1.0])  # MuJoCo's camera looks along −z with y up
_STATIC, _MOVING = mujoco.mjtCatBit.mjCAT_STATIC.value, mujoco.mjtCatBit.mjCAT_DYNAMIC.value


@dataclass(frozen=True, eq=False)
class Exposure:
    """The cell at the moment when a camera's shutter opened."""

    number: int
    stamp_ns: int
    qpos: Float[ndarray, " Q"]
    decals: Sequence[Decal]


@dataclass(frozen=True, eq=False)
class Layer:
    """Drawn pixels with their depth (0 near … 1 far), the lowest row first, as OpenGL has it."""

    rgb: UInt8[ndarray, "H W 3"]
    depth: Float32[ndarray, "H W"]


class LiveCameraView:
    """Draws one camera's exposures. Make, use and close it in one thread; `cell` may be shared between threads."""

    def __init__(self, cell: Workcell, camera: CameraName, settings: LiveCamera, seed: int) -> None:
        self._cell = cell
        self._settings = settings
        self._seed = [seed, len(camera)]
        self._data = mujoco.MjData(cell.model)
        self._camera = cell.model.camera(workcell.camera_name(camera, cell.arm)).id
        self._focal_px = focal_px(camera, settings)
        self._canvas = Canvas(cell.model, settings.width_px, settings.height_px)
        self._noise = _noise(settings, np.random.default_rng(self._seed))
        self._is_fixed = cell.model.body_weldid[cell.model.cam_bodyid[self._camera]] == 0
        self._background: Layer | None = None

    def rgb(self, exposure: Exposure) -> UInt8[ndarray, "H W 3"]:
        data, model = self._data, self._cell.model
        data.qpos[:] = exposure.qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        rotation = data.cam_xmat[self._camera].reshape(3, 3) @ _FLIP
        pose = Pose.from_parts("base", "cam", rotation, data.cam_xpos[self._camera])
        rgb = self._over_background(pose, exposure) if self._is_fixed else self._whole(pose, exposure)
        return self._noisy(np.ascontiguousarray(rgb[::-1]), exposure.number)

    def close(self) -> None:
        self._canvas.close()

    def _whole(self, pose: Pose, exposure: Exposure) -> UInt8[ndarray, "H W 3"]:
        return self._canvas.rgb(self._data, self._focal_px, pose, _STATIC | _MOVING, exposure.decals)

    def _over_background(self, pose: Pose, exposure: Exposure) -> UInt8[ndarray, "H W 3"]:
        if self._background is None:
            self._background = self._canvas.layer(self._data, self._focal_px, pose, _STATIC, ())
        moving = self._canvas.layer(self._data, self._focal_px, pose, _MOVING, exposure.decals)
        nearer = cv2.compare(moving.depth, self._background.depth, cv2.CMP_LT)
        return cv2.copyTo(moving.rgb, nearer, self._background.rgb.copy())

    def _noisy(self, rgb: UInt8[ndarray, "H W 3"], number: int) -> UInt8[ndarray, "H W 3"]:
        if self._settings.noise == 0:
            return rgb
        rng = np.random.default_rng([*self._seed, number])
        top, left = rng.integers(0, NOISE_SPARE_PX, 2)
        window = self._noise[top : top + rgb.shape[0], left : left + rgb.shape[1]]
        return cv2.add(rgb, window, dtype=cv2.CV_8U)


class Canvas:
    """An OpenGL buffer of one size for one model, without shadows and reflections."""

    def __init__(self, model: mujoco.MjModel, width_px: int, height_px: int) -> None:
        self._model = model
        self._size_px = width_px, height_px
        self._gl = renderer.open_gl(width_px, height_px)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_resizeOffscreen(width_px, height_px, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = False
        self._options = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, width_px, height_px)

    def rgb(
        self, data: mujoco.MjData, focal_px: float, T_world_cam: Pose, categories: int, decals: Sequence[Decal]
    ) -> UInt8[ndarray, "H W 3"]:
        """The lowest row first."""
        self._draw(data, focal_px, T_world_cam, categories, decals)
        rgb = np.empty((*self._size_px[::-1], 3), np.uint8)
        mujoco.mjr_readPixels(rgb, None, self._viewport, self._context)
        return rgb

    def layer(
        self, data: mujoco.MjData, focal_px: float, T_world_cam: Pose, categories: int, decals: Sequence[Decal]
    ) -> Layer:
        self._draw(data, focal_px, T_world_cam, categories, decals)
        rgb = np.empty((*self._size_px[::-1], 3), np.uint8)
        depth = np.empty(self._size_px[::-1], np.float32)
        mujoco.mjr_readPixels(rgb, depth, self._viewport, self._context)
        return Layer(rgb, depth)

    def close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def _draw(
        self, data: mujoco.MjData, focal_px: float, T_world_cam: Pose, categories: int, decals: Sequence[Decal]
    ) -> None:
        self._gl.make_current()
        scene = self._scene
        mujoco.mjv_updateScene(self._model, data, self._options, None, mujoco.MjvCamera(), categories, scene)
        for decal in decals:
            _add_decal(scene, decal)
        renderer.aim(scene, self._model, self._size_px, focal_px, T_world_cam)
        mujoco.mjr_render(self._viewport, scene, self._context)


def _add_decal(scene: mujoco.MjvScene, decal: Decal) -> None:
    cos, sin = math.cos(decal.yaw_rad), math.sin(decal.yaw_rad)
    turn = np.array([cos, -sin, 0.0, sin, cos, 0.0, 0.0, 0.0, 1.0])
    size = np.array([*decal.half_m, DECAL_HALF_M])
    geom = scene.geoms[scene.ngeom]
    rgba = np.array(decal.rgba, np.float32)
    mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_BOX, size, np.array(decal.centre_m), turn, rgba)
    scene.ngeom += 1


def focal_px(camera: CameraName, settings: LiveCamera) -> float:
    return settings.height_px / 2 / math.tan(workcell.CAMERAS[camera] / 2)


def camera_model(camera: CameraName, settings: LiveCamera) -> CameraModel:
    """The ideal pinhole that the live camera is."""
    focal = focal_px(camera, settings)
    return CameraModel(
        width_px=settings.width_px,
        height_px=settings.height_px,
        fx_px=focal,
        fy_px=focal,
        cx_px=settings.width_px / 2,
        cy_px=settings.height_px / 2,
    )


def _noise(settings: LiveCamera, rng: np.random.Generator) -> Int16[ndarray, "h w 3"]:
    shape = (settings.height_px + NOISE_SPARE_PX, settings.width_px + NOISE_SPARE_PX, 3)
    return np.rint(rng.normal(0.0, settings.noise, shape)).astype(np.int16)
