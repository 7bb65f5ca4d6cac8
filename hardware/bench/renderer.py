# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""MuJoCo's own OpenGL renderer without a window: a model's state and a pinhole camera → rgb.

The camera's principal point is the picture's centre, and the picture's upper left *corner* is pixel (0, 0), as in
`CameraModel`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from types import TracebackType

import mujoco
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware.errors import BadInput
from hardware.spatial import Pose

INSTALL = "sudo apt-get install -y libegl1 libgl1-mesa-dri   (or, without EGL: sudo apt-get install -y libosmesa6)"
LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


class Renderer:
    """Draws one model at one size. Use it in the thread that made it, as a context manager."""

    def __init__(self, model: mujoco.MjModel, width_px: int, height_px: int) -> None:
        self._model = model
        self._width_px, self._height_px = width_px, height_px
        self._gl = open_gl(width_px, height_px)
        self._gl.make_current()
        model.vis.global_.offwidth, model.vis.global_.offheight = width_px, height_px
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._options = mujoco.MjvOption()
        self._rgb = np.empty((height_px, width_px, 3), np.uint8)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.free()
        self._gl.free()

    def rgb(self, data: mujoco.MjData, focal_px: float, T_world_cam: Pose) -> UInt8[ndarray, "H W 3"]:
        """The picture of an ideal pinhole at an optical frame in MuJoCo's world. A new array each time."""
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        aim(self._scene, self._model, (self._width_px, self._height_px), focal_px, T_world_cam)
        viewport = mujoco.MjrRect(0, 0, self._width_px, self._height_px)
        mujoco.mjr_render(viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, None, viewport, self._context)
        return np.ascontiguousarray(self._rgb[::-1])  # OpenGL's first row is the lowest


def aim(
    scene: mujoco.MjvScene, model: mujoco.MjModel, size_px: tuple[int, int], focal_px: float, T_world_cam: Pose
) -> None:
    """Makes the scene be seen by an ideal pinhole at an optical frame in MuJoCo's world."""
    near_m = model.vis.map.znear * model.stat.extent
    far_m = model.vis.map.zfar * model.stat.extent
    for eye in scene.camera:  # left and right eye: the same, this is no stereo
        eye.pos = T_world_cam.translation_m
        eye.forward, eye.up = T_world_cam.rotation[:, 2], -T_world_cam.rotation[:, 1]
        eye.frustum_center = 0.0
        eye.frustum_width = near_m * size_px[0] / (2 * focal_px)
        eye.frustum_top = near_m * size_px[1] / (2 * focal_px)
        eye.frustum_bottom = -eye.frustum_top
        eye.frustum_near, eye.frustum_far = near_m, far_m


def open_gl(width_px: int, height_px: int):
    """A context of $MUJOCO_GL; when that is unset, of EGL, else OSMesa. Raises `BadInput` with what to install."""
    backend = os.environ.get("MUJOCO_GL", "").lower().strip() or available_backend()
    try:
        module = importlib.import_module(f"mujoco.{backend}")
        return module.GLContext(width_px, height_px)
    except Exception as error:  # each backend has its own errors, down to AttributeError when a library is missing
        raise BadInput(f"cannot draw with MUJOCO_GL={backend}: {error}", INSTALL) from error


def available_backend() -> str:
    for backend, library in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return backend
    raise BadInput(f"no OpenGL without a window: neither {' nor '.join(LIBRARIES.values())} can be loaded", INSTALL)
