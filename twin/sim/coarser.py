"""A splat and a cell size in, fewer Gaussians that look the same from so far that a cell is less than a pixel out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hardware.spatial import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from twin.splat import Splat

MOST_OPAQUE = 0.999
THINNEST_M = 1e-4


def coarser(splat: Splat, cell_m: float) -> Splat:
    """All Gaussians of a cell become one with their mean, covariance, colour and optical depth.

    They weigh by opacity × area. Gaussians wider than a cell stay as they are.
    """
    wide = splat.scales_m.max(1) > cell_m
    small = splat.select(~wide)
    if len(small) < 2:
        return splat
    cells = np.floor(small.means_m.astype(np.float64) / cell_m).astype(np.int64)
    _, group = np.unique(cells, axis=0, return_inverse=True)
    return Splat.concatenate([splat.select(wide), _merged(small, group.ravel())])


def _merged(splat: Splat, group: Int[ndarray, " N"]) -> Splat:
    count = int(group.max()) + 1
    area = np.partition(splat.scales_m.astype(np.float64), 1, axis=1)[:, 1:].prod(1)
    weight = splat.opacities * area
    share = weight / _sums(weight, group, count)[group]
    means = _sums(share[:, None] * splat.means_m, group, count)
    axes = rotation_from_quat_wxyz(splat.quats_wxyz.astype(np.float64)) * splat.scales_m[:, None, :]
    apart = splat.means_m - means[group]
    own = axes @ axes.transpose(0, 2, 1) + apart[:, :, None] * apart[:, None, :]
    squares, turns = np.linalg.eigh(_sums(share[:, None, None] * own, group, count))
    turns[np.linalg.det(turns) < 0, :, 0] *= -1
    scales = np.sqrt(np.maximum(squares, THINNEST_M**2))
    depth = -np.log1p(-np.minimum(splat.opacities.astype(np.float64), MOST_OPAQUE)) * area
    covered = _sums(depth, group, count) / scales[:, 1:].prod(1)
    return Splat(
        means_m=means,
        quats_wxyz=quat_wxyz_from_rotation(turns),
        scales_m=scales,
        opacities=np.minimum(-np.expm1(-covered), MOST_OPAQUE),
        sh=_sums(share[:, None, None] * splat.sh, group, count),
    )


def _sums(values: ndarray, group: Int[ndarray, " N"], count: int) -> ndarray:
    """Rows of `values` (N …) added up by group."""
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, group, values)
    return total
