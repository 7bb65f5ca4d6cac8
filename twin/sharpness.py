"""How blurred, bright and different pictures are: what the capture's gates read."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

MEASURED_PX = 640
"""Blur is measured at one size, so that a limit holds for every camera."""
REBLUR_TAPS = 9
SKETCH_PX = (32, 24)


def grey(rgb: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "h w"]:
    """Grey, long side 640 px, 0 … 255."""
    factor = MEASURED_PX / max(rgb.shape[:2])
    size = max(16, round(rgb.shape[1] * factor)), max(16, round(rgb.shape[0] * factor))
    shrunk = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY).astype(np.float32)


def blur(picture: Float[ndarray, "h w"]) -> float:
    """0 sharp … 1 blurred, whatever the content: how much of the detail a further blur leaves.

    Crété et al. 2007, "The blur effect: perception and estimation with a new no-reference perceptual blur metric";
    the worse of the two directions, so that a smear along one axis counts.
    """
    worst = 0.0
    for axis, taps in ((1, (REBLUR_TAPS, 1)), (0, (1, REBLUR_TAPS))):
        detail = np.abs(np.diff(picture, axis=axis))
        left = np.abs(np.diff(cv2.blur(picture, taps), axis=axis))
        total = float(detail.sum())
        worst = max(worst, 1 - float(np.maximum(detail - left, 0).sum()) / total if total > 0 else 1.0)
    return worst


def sketch(picture: Float[ndarray, "h w"]) -> Float[ndarray, "24 32"]:
    """A tiny picture with its mean and contrast removed, to tell near-copies."""
    small = cv2.resize(picture, SKETCH_PX, interpolation=cv2.INTER_AREA)
    return (small - small.mean()) / max(float(small.std()), 1.0)


def likeness(a: Float[ndarray, "24 32"], b: Float[ndarray, "24 32"]) -> float:
    """Correlation of two sketches; 1 for copies."""
    return float((a * b).mean())
