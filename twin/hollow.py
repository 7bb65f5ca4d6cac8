"""What the cameras see of a thing's inside, in; which voxels of its carved hull are air after all, out.

A veil of faint Gaussians over the mouth of a cup stops a fifth of the light, and carving by it fills the cup. So the
inside is looked at through the opaque Gaussians alone. On the bench's mug (seed 0) a ray into it then ends 1 mm
before the wall (median), not 32 mm before; outside, where the veil is no trouble, the hull stays as it is. What no
camera sees, such as the bottom of a deep cup, stays filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float
from numpy import ndarray

OPAQUE = 0.25
"""Of the Gaussians that end a look inside; fainter ones are the veil."""
SHARE = 0.06
"""Of the steepest views, that see past a point: into a deep cup only few do."""
DEEP_M = 0.012
"""Where so much more is seen behind a point, it is no wall that a depth picture was a little wrong about."""
SHY_M = 3e-3
"""Along a ray; the inner wall stands this much before where it is seen, since a veil may be left."""
WALL_M, FEWEST_IN_WALL = 4e-3, 2.5
"""A thing's walls are at least so thick, in metres and in voxels: thinner ones would get holes."""
MOUTH_M = 5e-3
"""What is outside the hull this near to the deep of the hollow is its mouth, behind which no wall stands."""
SMALLEST_SHARE = 0.05
"""Of the hull; less is noise. On the bench (seed 0) a mug's is 0.26, of seven solid things at most 0.005."""


def air(
    inside_m: Float[ndarray, "X Y Z"], past_m: Float[ndarray, "X Y Z"], voxel_m: float
) -> Float[ndarray, "X Y Z"] | None:
    """How deep each voxel is in the hollow, metres, negative in the wall; None where nothing is hollow.

    `inside_m`: depth in the hull. `past_m`: how far past each voxel enough cameras see, in opaque Gaussians alone.
    """
    hull = inside_m > 0
    core = largest(opened(hull & (past_m > DEEP_M), voxel_m))
    if core.sum() <= SMALLEST_SHARE * hull.sum():
        return None
    wall_m = max(WALL_M, FEWEST_IN_WALL * voxel_m)
    mouth = ~hull & scipy.ndimage.binary_dilation(core, iterations=round(MOUTH_M / voxel_m))
    wall = voxels_in(np.pad(hull | mouth, 1))[1:-1, 1:-1, 1:-1] * voxel_m <= wall_m
    seen = hull & (past_m > SHY_M) & ~wall
    grown = scipy.ndimage.binary_dilation(core, iterations=round(DEEP_M / voxel_m), mask=seen) | mouth
    depth = voxels_in(grown) - voxels_in(~grown)
    return (depth - 0.5 * np.sign(depth)) * voxel_m


def voxels_in(mask: Bool[ndarray, "X Y Z"]) -> Float[ndarray, "X Y Z"]:
    """How far from the nearest voxel without the mask; 0 there."""
    return np.asarray(scipy.ndimage.distance_transform_edt(mask), np.float64)


def opened(mask: Bool[ndarray, "X Y Z"], voxel_m: float) -> Bool[ndarray, "X Y Z"]:
    """Without what is thinner than two walls."""
    return scipy.ndimage.binary_opening(mask, iterations=max(1, round(WALL_M / voxel_m)))


def largest(mask: Bool[ndarray, "X Y Z"]) -> Bool[ndarray, "X Y Z"]:
    labelled: Any = scipy.ndimage.label(mask)
    labels, count = labelled
    if not count:
        return mask
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
