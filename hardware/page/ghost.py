"""Where the object of the next episode belongs, as an outline on the live picture of a camera that stands still.

A guide file says which starts come, what is placed, and how the camera stands; `Guide.ghost` gives one start's outline.
"""

from __future__ import annotations

import math
from itertools import product

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, PositiveFloat

from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.spatial import Pose, rotation_from_rotvec

Matrix = tuple[tuple[float, float, float, float], ...]
NEAREST_M = 0.01
"""An object that is nearer to the camera than this has no outline."""


class Ghost(Config):
    """For the page: the outline in shares of the picture's width and height, and the place in words."""

    camera: str
    outline: tuple[tuple[float, float], ...]
    words: str
    number: int
    total: int


class Guide(Config):
    """Starts in the order of the episodes. The object stands on a plane, its frame in the middle of its box."""

    object_name: str
    size_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    centre_z_m: float
    """Of the object as it stands, in the arm's base frame."""
    camera: str
    intrinsics: CameraModel
    T_base_cam: Matrix
    starts: tuple[TaskStart, ...] = Field(min_length=1)

    def ghost(self, episode: int) -> Ghost | None:
        """None: all starts of the plan have been used, or this one is not in the picture."""
        if episode >= len(self.starts):
            return None
        start = self.starts[episode]
        outline_px = outline(self.intrinsics, Pose("base", "cam", np.array(self.T_base_cam)), *self.placed(start))
        if outline_px is None:
            return None
        shares = outline_px / [self.intrinsics.width_px, self.intrinsics.height_px]
        return Ghost(
            camera=self.camera,
            outline=tuple((round(float(x), 5), round(float(y), 5)) for x, y in shares),
            words=f"{self.object_name}: x {1e3 * start.x_m:.0f} mm, y {1e3 * start.y_m:.0f} mm, "
            f"turned {math.degrees(start.yaw_rad):.0f}°",
            number=episode,
            total=len(self.starts),
        )

    def placed(self, start: TaskStart) -> tuple[Pose, Float[ndarray, 3]]:
        """(T_base_obj, size)."""
        turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad]))
        T_base_obj = Pose.from_parts("base", "obj", turn, np.array([start.x_m, start.y_m, self.centre_z_m]))
        return T_base_obj, np.array(self.size_m)


def outline(
    camera: CameraModel, T_base_cam: Pose, T_base_obj: Pose, size_m: Float[ndarray, 3]
) -> Float[ndarray, "N 2"] | None:
    """The silhouette of a box in pixels, in order round it; None where it is behind the camera or out of the picture.

    The straight edges of a box are bent by a lens that distorts; between corners that is left out.
    """
    corners_m = np.array(list(product((-0.5, 0.5), repeat=3))) * size_m
    in_cam_m = (T_base_cam.inverse() @ T_base_obj).apply(corners_m)
    pixels, inside = camera.project(in_cam_m)
    if in_cam_m[:, 2].min() < NEAREST_M or not inside.any():
        return None
    return cv2.convexHull(pixels.astype(np.float32)).reshape(-1, 2).astype(np.float64)
