"""Pictures with detail everywhere, and scans made of them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image


def detail(width_px: int = 640, height_px: int = 480, seed: int = 0) -> np.ndarray:
    """Sharp patches of random size and colour."""
    rng = np.random.default_rng(seed)
    rgb = np.full((height_px, width_px, 3), 128, np.uint8)
    for _ in range(500):
        x, y = rng.integers(0, width_px), rng.integers(0, height_px)
        w, h = rng.integers(4, 60, 2)
        cv2.rectangle(rgb, (int(x), int(y)), (int(x + w), int(y + h)), rng.integers(20, 236, 3).tolist(), -1)
    return rgb


def smeared(rgb: np.ndarray, length_px: int = 25) -> np.ndarray:
    """As by a camera that moved sideways."""
    return cv2.blur(rgb, (length_px, 1))


def exif(focal_mm: float = 4.2, equivalent_mm: int = 26, orientation: int = 1, **more) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "Maker", "Phone 1"
    tags[ExifTags.Base.Orientation] = orientation
    details = tags.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.FocalLength] = focal_mm
    details[ExifTags.Base.FocalLengthIn35mmFilm] = equivalent_mm
    details[ExifTags.Base.DateTimeOriginal] = more.get("taken", "2025:03:04 05:06:07")
    if "part" in more:
        details[ExifTags.Base.SubsecTimeOriginal] = more["part"]
    gps = tags.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (48.0, 8.0, 1.25)
    return tags


def save(file: Path, rgb: np.ndarray, tags: Image.Exif | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(file, quality=92, **({"exif": tags} if tags is not None else {}))
    return file


def photos(folder: Path, count: int, width_px: int = 320, height_px: int = 240) -> Path:
    """As many different sharp photos, all from one phone."""
    for number in range(count):
        save(folder / f"IMG_{number}.jpg", detail(width_px, height_px, number), exif())
    return folder
