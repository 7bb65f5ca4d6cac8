"""The silhouette of a box that stands on a plane, in a camera's picture."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.spatial import Pose, rotation_from_rotvec

NEAREST_M = 0.01
"""An object that is nearer to the camera than this has no outline."""


def standing(start: TaskStart, centre_z_m: float) -> Pose:
    """T_base_obj, the object's frame in the middle of its box."""
    turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad]))
    return Pose.from_parts("base", "obj", turn, np.array([start.x_m, start.y_m, centre_z_m]))


def corners(size_m: Float[ndarray, " 3"]) -> Float[ndarray, "8 3"]:
    """Of the box, in its own frame."""
    return np.array(list(product((-0.5, 0.5), repeat=3))) * size_m


def outline(
    camera: CameraModel, T_base_cam: Pose, T_base_obj: Pose, size_m: Float[ndarray, " 3"]
) -> Float[ndarray, "N 2"] | None:
    """The silhouette of a box in pixels, in order round it; None where it is behind the camera or out of the picture.

    The straight edges of a box are bent by a lens that distorts; between corners that is left out.
    """
    return hull(camera, (T_base_cam.inverse() @ T_base_obj).apply(corners(size_m)))


def hull(camera: CameraModel, in_cam_m: Float[ndarray, "N 3"]) -> Float[ndarray, "M 2"] | None:
    """Round the pixels of points in the optical frame; None as `outline`."""
    if in_cam_m[:, 2].min() < NEAREST_M:
        return None
    pixels, inside = camera.project(in_cam_m)
    if not inside.any():
        return None
    return cv2.convexHull(pixels.astype(np.float32)).reshape(-1, 2).astype(np.float64)
