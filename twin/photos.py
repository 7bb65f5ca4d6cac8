"""Posed photos, undistorted once and held at a few sizes, from coarse to fine."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.posed_images import PosedImages, View
from twin.threads import thread_count

SHRINKS = (4, 2, 1)
"""Each level's size is the working size divided by this."""
NOWHERE_PX = -1e6


@dataclass(frozen=True, eq=False)
class Level:
    """One photo at one size, as a camera without distortion would have taken it."""

    camera: CameraModel
    rgb: UInt8[ndarray, "H W 3"]
    valid: Bool[ndarray, "H W"] | None
    """Pixels that the photo has seen; None where that is all of them."""


@dataclass(frozen=True, eq=False)
class Photo:
    """One registered photo."""

    name: str
    T_cam_world: Float[ndarray, "4 4"]
    levels: tuple[Level, ...]
    """Coarse to fine."""


def load(frames: Path, posed: PosedImages, views: Iterable[View], long_side_px: int) -> list[Photo]:
    """Reads, shrinks and undistorts. Raises `BadInput` that names a photo that is missing or does not fit."""

    @functools.cache
    def lens(key: str) -> Lens:
        if key not in posed.cameras:
            raise BadInput(f"no camera '{key}'; have: {', '.join(posed.cameras)}")
        return Lens.of(posed.cameras[key], long_side_px)

    def one(view: View) -> Photo:
        T_world_cam = np.array(view.T_world_cam)
        if T_world_cam.shape != (4, 4) or not np.isfinite(T_world_cam).all():
            raise BadInput(f"{view.image} has a pose that is not a finite 4×4 matrix", "run the `sfm` stage again")
        levels = lens(view.camera).levels(view.image, read(frames / view.image))
        return Photo(view.image, np.linalg.inv(T_world_cam), levels)

    views = list(views)
    for view in views:  # the cache is filled here, so that the threads below only read it
        lens(view.camera)
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(one, views))


def read(file: Path) -> UInt8[ndarray, "H W 3"]:
    """RGB. Raises `BadInput` for a file that is absent or not an image."""
    if not file.is_file():
        raise BadInput(f"there is no photo {file}", "the frames folder and the poses must belong together")
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise BadInput(f"{file} is not a readable image", "remove it, or copy it again from the phone")
    return np.ascontiguousarray(bgr[..., ::-1])


@dataclass(frozen=True, eq=False)
class Lens:
    """How photos of one camera become pictures without distortion at the working size."""

    original: CameraModel
    shrunk: CameraModel
    where_px: Float[ndarray, "H W 2"] | None
    """Where in the shrunk photo each undistorted pixel lies (OpenCV's convention); None for a pinhole."""

    @classmethod
    def of(cls, camera: CameraModel, long_side_px: int) -> Lens:
        shrunk = camera.scaled(min(1.0, long_side_px / max(camera.width_px, camera.height_px)))
        if camera.is_pinhole:
            return cls(camera, shrunk, None)
        centres = np.stack(np.meshgrid(np.arange(shrunk.width_px), np.arange(shrunk.height_px)), -1) + 0.5
        focal_px, centre_px = [shrunk.fx_px, shrunk.fy_px], [shrunk.cx_px, shrunk.cy_px]
        ideal = (centres - centre_px) / focal_px
        seen_px = shrunk.distort(ideal) * focal_px + centre_px
        seen_px[~shrunk.is_one_to_one(ideal)] = NOWHERE_PX
        return cls(camera, shrunk, (seen_px - 0.5).astype(np.float32))

    def levels(self, name: str, rgb: UInt8[ndarray, "H W 3"]) -> tuple[Level, ...]:
        if rgb.shape[:2] != (self.original.height_px, self.original.width_px):
            raise BadInput(
                f"{name} is {rgb.shape[1]} × {rgb.shape[0]} pixels, "
                f"but its camera {self.original.width_px} × {self.original.height_px}",
                "the frames folder and the poses must belong together",
            )
        size = self.shrunk.width_px, self.shrunk.height_px
        fine = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if size != rgb.shape[1::-1] else rgb
        seen = np.full(fine.shape[:2], 255, np.uint8)
        if self.where_px is not None:
            x, y = self.where_px[..., 0], self.where_px[..., 1]
            fine = cv2.remap(fine, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            seen = cv2.remap(seen, x, y, cv2.INTER_LINEAR, borderValue=0)
        return tuple(self.level(fine, seen, shrink) for shrink in SHRINKS)

    def level(self, rgb: UInt8[ndarray, "H W 3"], seen: UInt8[ndarray, "H W"], shrink: int) -> Level:
        camera = self.shrunk.pinhole().scaled(1 / shrink)
        if shrink > 1:
            size = camera.width_px, camera.height_px
            rgb, seen = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (rgb, seen))
        valid = seen == 255
        return Level(camera, np.ascontiguousarray(rgb), None if valid.all() else valid)
