"""Scores a splat on photos that it was not trained on, and draws photo, render and error side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.dataset.picture import write_png
from twin.image_quality import ViewQuality, compare
from twin.photos import Photo
from twin.rasterise.protocol import Rasteriser
from twin.splat import Splat

FULL_ERROR = 0.25
"""The error that the map draws brightest."""


def render(rasteriser: Rasteriser, splat: Splat, photo: Photo, level: int = -1) -> Float[ndarray, "H W 3"]:
    return rasteriser.render(splat, photo.levels[level].camera, photo.T_cam_world).rgb


def score(rasteriser: Rasteriser, splat: Splat, photos: Sequence[Photo]) -> list[ViewQuality]:
    """At the finest level."""
    levels = [photo.levels[-1] for photo in photos]
    return [
        compare(photo.name, render(rasteriser, splat, photo), level.rgb, level.valid)
        for photo, level in zip(photos, levels, strict=True)
    ]


def write_pictures(folder: Path, rasteriser: Rasteriser, splat: Splat, photos: Sequence[Photo]) -> None:
    """`NAME.photo.png`, `NAME.render.png` and `NAME.error.png` for each photo."""
    for photo in photos:
        rgb, level = render(rasteriser, splat, photo), photo.levels[-1]
        stem = Path(photo.name).stem
        write_png(folder / f"{stem}.photo.png", level.rgb)
        write_png(folder / f"{stem}.render.png", as_uint8(rgb))
        error = np.abs(np.clip(rgb, 0, 1) - level.rgb / np.float32(255)).mean(-1)
        if level.valid is not None:
            error = np.where(level.valid, error, 0)
        heat = cv2.applyColorMap(as_uint8(error / FULL_ERROR), cv2.COLORMAP_INFERNO)
        write_png(folder / f"{stem}.error.png", heat[..., ::-1])


def write_preview(file: Path, rasteriser: Rasteriser, splat: Splat, photo: Photo) -> None:
    """Photo beside render."""
    write_png(file, np.hstack([photo.levels[-1].rgb, as_uint8(render(rasteriser, splat, photo))]))


def as_uint8(values: Float[ndarray, ...]) -> UInt8[ndarray, ...]:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
