"""One picture file in; upright pixels, and what its EXIF says about camera, focal length and time, out.

Location (GPS) and every other tag stay behind: nothing but what `Photo` names leaves this module.
"""

from __future__ import annotations

import contextlib
import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from hardware.errors import BadInput

SUFFIXES = {".jpg", ".jpeg", ".png", ".heic", ".heif", ".webp", ".tif", ".tiff", ".bmp"}
HEIF_SUFFIXES = {".heic", ".heif"}
FULL_FRAME_DIAGONAL_MM = math.hypot(36, 24)
"""What "35 mm equivalent" refers to: CIPA DCG-001 compares the diagonals."""


@dataclass(frozen=True, eq=False)
class Photo:
    """Pixels as a person sees them (EXIF orientation applied, unless it was read raw)."""

    rgb: UInt8[ndarray, "H W 3"]
    focal_px: float | None
    """From EXIF, for this picture's size."""
    camera: str
    """Maker, model, lens setting and size: photos with one key share their intrinsics."""
    stamp_s: float | None
    """Seconds since 1970 of the camera's own clock (EXIF knows no time zone)."""


def read(file: Path, upright: bool = True) -> Photo:
    """Raises `BadInput` that says why the file is not a whole picture."""
    if file.suffix.lower() in HEIF_SUFFIXES:
        require_heif(file)
    try:
        with Image.open(file) as picture:
            picture.load()
            exif = picture.getexif()
            shown = ImageOps.exif_transpose(picture) if upright else picture
            rgb = as_rgb(shown)
    except UnidentifiedImageError as error:
        raise BadInput(f"{file} is not a picture, whatever its name says", "remove it from the folder") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{file} is damaged or cut off: {error}", "copy it from the phone again, or remove it"
        ) from error
    details = exif.get_ifd(ExifTags.IFD.Exif)
    return Photo(
        rgb, focal_px(details, rgb.shape[1], rgb.shape[0]), camera_key(exif, details, rgb), stamp_s(details)
    )


def as_rgb(picture: Image.Image) -> UInt8[ndarray, "H W 3"]:
    """Of 16-bit grey the upper byte: Pillow's own conversion would clip it to white."""
    if not picture.mode.startswith("I"):
        return np.asarray(picture.convert("RGB"))
    grey = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def require_heif(file: Path) -> None:
    try:
        import pillow_heif  # type: ignore[import-not-found]  # an optional extra
    except ImportError as error:
        fix = "install the extra (make setup EXTRAS=heif), or let the phone save JPEG (iOS: Camera → Formats)"
        raise BadInput(f"{file} is HEIC, and there is no decoder for it", fix) from error
    pillow_heif.register_heif_opener()


def number(value: Any) -> float | None:
    """An EXIF rational as a positive number; None for anything else (zero over zero is common)."""
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        plain = float(value)
        if math.isfinite(plain) and plain > 0:
            return plain
    return None


def focal_px(details: dict[int, Any], width_px: int, height_px: int) -> float | None:
    """From the 35 mm equivalent; else from the focal length and the sensor's pixel pitch; else None."""
    equivalent_mm = number(details.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if equivalent_mm:
        return equivalent_mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width_px, height_px)
    focal_mm = number(details.get(ExifTags.Base.FocalLength))
    per_unit = number(details.get(ExifTags.Base.FocalPlaneXResolution))
    taken_px = number(details.get(ExifTags.Base.ExifImageWidth))
    unit_mm = {2: 25.4, 3: 10.0, 4: 1.0}.get(details.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if not (focal_mm and per_unit and taken_px and unit_mm):
        return None
    return focal_mm * per_unit / unit_mm * max(width_px, height_px) / taken_px


def camera_key(exif: Image.Exif, details: dict[int, Any], rgb: UInt8[ndarray, "H W 3"]) -> str:
    maker, model = (str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    focal_mm = number(details.get(ExifTags.Base.FocalLength))
    lens = f"{focal_mm:.2f} mm" if focal_mm else ""
    return " ".join(word for word in (maker, model, lens, f"{rgb.shape[1]}×{rgb.shape[0]}") if word)


def stamp_s(details: dict[int, Any]) -> float | None:
    text = str(details.get(ExifTags.Base.DateTimeOriginal, ""))
    with contextlib.suppress(ValueError):
        taken = datetime.datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=datetime.UTC)
        part = str(details.get(ExifTags.Base.SubsecTimeOriginal, "")).strip("\0 ")
        return taken.timestamp() + (float(f"0.{part}") if part.isdigit() else 0.0)
    return None
