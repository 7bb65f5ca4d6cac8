"""Where an object is: a box that a person drew, or what a second scan lacks; and the Gaussians that are in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from hardware.errors import BadInput
from twin.object_asset import Plane
from twin.splat import Splat

SMALLEST_SIDE_M, LARGEST_SIDE_M = 5e-3, 1.5
GONE_M = 8e-3
"""A Gaussian further than this from all of the other scan's is something that the other scan lacks."""
OPAQUE = 0.2
VOXEL_M = 0.01
FEWEST = 25
"""Gaussians of a thing that a second scan lacks; fewer are specks."""
CLEARANCE_M = 4e-3
"""Things begin this far above the table: lower down the two cannot be told apart."""
MARGIN_M = 0.012
STANDING_OPACITY, STANDING_M, STANDING_REACH_M = 0.3, 8e-3, 0.6
"""What is opaque, this far above the table and this near to the origin stands on the table."""


@dataclass(frozen=True)
class Box:
    """Upright in the world: centre and full sides in metres, turned by `yaw_rad` about z."""

    centre_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    yaw_rad: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Box:
        """`cx,cy,cz,sx,sy,sz[,yaw_deg]`. Raises `BadInput` that says what is wrong with it."""
        fix = "--box cx,cy,cz,sx,sy,sz[,yaw_deg]: centre and sides in metres in the twin's world, turned about z"
        try:
            numbers = [float(word) for word in text.replace(" ", "").split(",")]
        except ValueError as error:
            raise BadInput(f"'{text}' is no box", fix) from error
        if len(numbers) not in (6, 7) or not all(map(math.isfinite, numbers)):
            raise BadInput(f"'{text}' has {len(numbers)} numbers, not 6 or 7 finite ones", fix)
        sides = numbers[3], numbers[4], numbers[5]
        if min(sides) < SMALLEST_SIDE_M or max(sides) > LARGEST_SIDE_M:
            raise BadInput(
                f"a box of {' × '.join(f'{side:g}' for side in sides)} m: sides must be {SMALLEST_SIDE_M} … "
                f"{LARGEST_SIDE_M} m",
                fix,
            )
        return cls((numbers[0], numbers[1], numbers[2]), sides, math.radians(numbers[6] if numbers[6:] else 0.0))

    def holds(self, points: Float[ndarray, "N 3"]) -> Bool[ndarray, " N"]:
        return np.all(np.abs(self._local(points)) <= np.array(self.size_m) / 2, axis=1)

    @property
    def corners(self) -> Float[ndarray, "8 3"]:
        signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
        return (signs * np.array(self.size_m) / 2) @ self._rotation.T + np.array(self.centre_m)

    def _local(self, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
        return (points - np.array(self.centre_m)) @ self._rotation

    @property
    def _rotation(self) -> Float[ndarray, "3 3"]:
        c, s = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def lacking(splat: Splat, without: Splat, table: Plane) -> list[Box]:
    """Boxes round what `splat` shows above the table and `without` does not, the largest thing first.

    Both in the same world (the board must not have moved). Raises `BadInput` where nothing is lacking.
    """
    means = splat.means_m.astype(np.float64)
    others = without.means_m[without.opacities > OPAQUE / 2].astype(np.float64)
    heights = table.heights_m(means)
    near = (splat.opacities > OPAQUE) & (heights > CLEARANCE_M) & (heights < 0.6)
    near &= np.linalg.norm(means[:, :2], axis=1) < 1.0
    points = means[near]
    if len(others) and len(points):
        distance, _ = KDTree(others).query(points)
        points = points[distance > GONE_M]
    clusters = [cluster for cluster in _clusters(points) if len(cluster) >= FEWEST]
    if not clusters:
        raise BadInput(
            "the second scan lacks nothing that the first one shows above the table",
            "scan once with the object and once without, the board and all else unmoved",
        )
    return [_round(cluster) for cluster in sorted(clusters, key=len, reverse=True)]


def standing(splat: Splat, table: Plane, taken: Int[ndarray, " M"]) -> list[Box]:
    """Boxes round all that stands on the table near the world's origin, the largest thing first.

    `taken`: Gaussians that are known to be something else, the robot's. What touches counts as one thing. Raises
    `BadInput` where nothing stands there.
    """
    means = splat.means_m.astype(np.float64)
    heights = table.heights_m(means)
    near = (splat.opacities > STANDING_OPACITY) & (heights > STANDING_M) & (heights < 0.4)
    near &= (np.linalg.norm(means[:, :2], axis=1) < STANDING_REACH_M) & (splat.scales_m.max(1) < 0.03)
    near[taken] = False
    if len(taken) and near.any():
        distance, _ = KDTree(means[taken]).query(means[near])
        near[np.flatnonzero(near)[distance < VOXEL_M]] = False
    clusters = [cluster for cluster in _clusters(means[near]) if len(cluster) >= 2 * FEWEST]
    if not clusters:
        raise BadInput("nothing stands on the table near the board", "draw boxes: --object NAME --box …")
    return [_round(cluster) for cluster in sorted(clusters, key=len, reverse=True)]


def _clusters(points: Float[ndarray, "N 3"]) -> list[Float[ndarray, "M 3"]]:
    """Connected through filled voxels that touch, also at corners."""
    if not len(points):
        return []
    cell = np.floor((points - points.min(0)) / VOXEL_M).astype(int)
    filled = np.zeros(cell.max(0) + 1, bool)
    filled[tuple(cell.T)] = True
    label = np.empty(filled.shape, np.int32)
    scipy.ndimage.label(filled, np.ones((3, 3, 3)), output=label)
    of_point = label[tuple(cell.T)]
    return [points[of_point == number] for number in range(1, int(label.max()) + 1)]


def _round(cluster: Float[ndarray, "N 3"]) -> Box:
    low, high = cluster.min(0) - MARGIN_M, cluster.max(0) + MARGIN_M
    centre, size = (low + high) / 2, high - low
    return Box(tuple(centre.tolist()), tuple(size.tolist()))
