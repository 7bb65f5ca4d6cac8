"""Pictures as another camera might have seen them: shifted by a few pixels, with other light."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import Field

from hardware.config import Config


class Augmentation(Config):
    """Of training pictures; 0 leaves that part out."""

    shift_px: int = Field(default=1, ge=0)
    """Random crop after padding by this many pixels, at the size the encoder sees. HIL-SERL's 4 at 128 are 16 mm on the
    bench's table: further than a grasp may be off."""
    brightness: float = Field(default=0.15, ge=0, lt=1)
    contrast: float = Field(default=0.15, ge=0, lt=1)
    tint: float = Field(default=0.05, ge=0, lt=1)
    """Each channel's gain."""
    late_steps: int = Field(default=1, ge=0)
    """Pictures may be up to this many steps older than the joints, as those that a cell's cameras send are."""


def augmented(
    rgb: UInt8[ndarray, "N H W 3"], augmentation: Augmentation, rng: np.random.Generator
) -> UInt8[ndarray, "N H W 3"]:
    """Every picture by its own draw."""
    shifted = _shifted(rgb, augmentation.shift_px, rng)
    size = (len(rgb), 1, 1)
    gain = 1 + rng.uniform(-augmentation.contrast, augmentation.contrast, (*size, 1))
    offset = 255 * rng.uniform(-augmentation.brightness, augmentation.brightness, (*size, 1))
    tint = 1 + rng.uniform(-augmentation.tint, augmentation.tint, (*size, 3))
    coloured = (shifted.astype(np.float32) - 127.5) * (gain * tint).astype(np.float32) + np.float32(127.5)
    return np.clip(coloured + offset.astype(np.float32), 0, 255).astype(np.uint8)


def _shifted(rgb: UInt8[ndarray, "N H W 3"], most: int, rng: np.random.Generator) -> UInt8[ndarray, "N H W 3"]:
    """Padded with the edge's colours and cropped."""
    if most == 0:
        return rgb
    padded = np.pad(rgb, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    height, width = rgb.shape[1:3]
    corners = rng.integers(0, 2 * most + 1, (len(rgb), 2))
    return np.stack([padded[n, y : y + height, x : x + width] for n, (y, x) in enumerate(corners)])
