"""What every rasteriser refuses: a picture of it would look like one and be wrong."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.splat import Splat

LARGEST_PX = 32_767
"""Pixel boxes are 16-bit."""


def require_drawable(
    splat: Splat, camera: CameraModel, T_cam_world: Float[ndarray, "4 4"], background: Float[ndarray, 3] | None
) -> Float[ndarray, 3]:
    """Returns the background (black unless given). Raises `BadInput` that names what is wrong."""
    if not camera.is_pinhole:
        raise BadInput("the camera has lens distortion", "undistort the photo and use camera.pinhole()")
    if max(camera.width_px, camera.height_px) > LARGEST_PX:
        raise BadInput(
            f"{camera.width_px} × {camera.height_px} pixels are too many", f"at most {LARGEST_PX} a side"
        )
    if np.shape(T_cam_world) != (4, 4) or not np.isfinite(T_cam_world).all():
        raise BadInput(f"T_cam_world must be a finite 4×4 matrix, got\n{T_cam_world}")
    arrays = (splat.means_m, splat.quats_wxyz, splat.scales_m, splat.opacities, splat.sh)
    if not all(
        np.isfinite(array.sum(dtype=np.float64)) for array in arrays
    ):  # cheap; a NaN or infinity survives sums
        splat.require_finite()
    behind = np.zeros(3, np.float32) if background is None else np.asarray(background, np.float32)
    if behind.shape != (3,) or not np.isfinite(behind).all():
        raise BadInput(f"the background must be three finite values, got {background}")
    return behind
