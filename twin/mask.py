"""2D masks of an object in the scan's photos, and the Gaussians that the masks agree on.

A provider says, for one photo and the picture of the object's box in it, which pixels are the object. The one here
needs no weights: GrabCut (Rother et al. 2004, OpenCV's) started from the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput
from hardware.progress import progress
from twin.posed_images import PosedImages, View

LONG_SIDE_PX = 200
"""Of the patch that GrabCut works on: finer costs much and moves the edge by less than a Gaussian."""
ROUNDS = 4
AROUND = 0.35
"""The patch is this share of the box's picture larger on every side: GrabCut learns what is *not* the object there."""
MOST_VIEWS = 16
AGREED = 0.55
"""A Gaussian whose centre falls into the mask in this share of the views that look at it is the object's."""


@runtime_checkable
class MaskProvider(Protocol):
    """Pluggable: a network that segments by a box (SAM and its kin) fits here."""

    @property
    def name(self) -> str: ...

    def mask(self, rgb: UInt8[ndarray, "H W 3"], inside: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
        """True where the object is. `inside`: the pixels that the object's box covers; beyond there is none."""
        ...


class GrabCut:
    """Two colour mixtures, for the object and for what is round it, and a cut along the picture's edges."""

    name = "grabcut"

    def mask(self, rgb: UInt8[ndarray, "H W 3"], inside: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
        shrink = min(1.0, LONG_SIDE_PX / max(rgb.shape[:2]))
        size = max(4, round(rgb.shape[1] * shrink)), max(4, round(rgb.shape[0] * shrink))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        covered = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        if covered.all() or covered.sum() < 30:
            return inside
        label = np.where(covered, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        cv2.setRNGSeed(0)
        cv2.grabCut(small, label, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
        found = ((label == cv2.GC_FGD) | (label == cv2.GC_PR_FGD)).astype(np.uint8)
        return cv2.resize(found, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def agreed(
    provider: MaskProvider,
    posed: PosedImages,
    frames: Path,
    corners: Float[ndarray, "8 3"],
    points: Float[ndarray, "N 3"],
) -> Bool[ndarray, " N"]:
    """Which points the masks of the views, lifted along their rays, put into the object.

    Raises `BadInput` where the photos are gone or no photo shows the whole box.
    """
    views = [view for view in posed.training if _sees(posed, view, corners)]
    if not views:
        raise BadInput(
            "no photo shows the whole box", "check --box: centre and size in metres, in the twin's world"
        )
    views = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, MOST_VIEWS).round().astype(int))]
    votes, seen = np.zeros(len(points)), np.zeros(len(points))
    with progress(f"masks by {provider.name}", len(views)) as advance:
        for view in views:
            hit, looked = _votes(provider, posed, view, frames, corners, points)
            votes += hit
            seen += looked
            advance(view.image)
    return votes > AGREED * np.maximum(seen, 1)


def _votes(
    provider: MaskProvider,
    posed: PosedImages,
    view: View,
    frames: Path,
    corners: Float[ndarray, "8 3"],
    points: Float[ndarray, "N 3"],
) -> tuple[Bool[ndarray, " N"], Bool[ndarray, " N"]]:
    """In the mask; in the patch at all."""
    rgb = _photo(frames / view.image)
    outline_px = project(posed, view, corners)[0].astype(np.float32)
    inside = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(outline_px).astype(np.int32), 1)
    low, high = _patch(outline_px, rgb.shape[:2])
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(rgb.shape[:2], bool)
    mask[window] = provider.mask(np.ascontiguousarray(rgb[window]), inside[window] > 0)
    pixels, front = project(posed, view, points)
    at = np.floor(pixels).astype(int)
    looked = front & (at >= low).all(1) & (at < high).all(1)
    hit = np.zeros(len(points), bool)
    hit[looked] = mask[at[looked, 1], at[looked, 0]]
    return hit, looked


def _patch(outline_px: Float[ndarray, "N 2"], size: tuple[int, ...]) -> tuple[ndarray, ndarray]:
    margin = AROUND * np.ptp(outline_px, axis=0)
    low = np.clip(np.floor(outline_px.min(0) - margin), 0, None).astype(int)
    high = np.clip(np.ceil(outline_px.max(0) + margin), None, np.array(size[1::-1])).astype(int)
    return low, high


def project(
    posed: PosedImages, view: View, points: Float[ndarray, "N 3"]
) -> tuple[Float[ndarray, "N 2"], Bool[ndarray, " N"]]:
    """World points → pixels of the photo, lens distortion included, and whether they lie in the picture."""
    T_cam_world = view.pose.inverse()
    return posed.cameras[view.camera].project(T_cam_world.apply(points))


def _sees(posed: PosedImages, view: View, corners: Float[ndarray, "8 3"]) -> bool:
    return bool(project(posed, view, corners)[1].all())


def _photo(file: Path) -> UInt8[ndarray, "H W 3"]:
    bgr = cv2.imread(str(file))
    if bgr is None:
        raise BadInput(f"there is no photo {file}", "masks need the photos in the bundle's `work` folder")
    return np.ascontiguousarray(bgr[..., ::-1])


PROVIDERS: dict[str, type[GrabCut]] = {"grabcut": GrabCut}


def names() -> Sequence[str]:
    return tuple(PROVIDERS)
