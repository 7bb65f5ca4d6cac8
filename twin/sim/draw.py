"""Kernels that draw many environments: each Gaussian in the frame of what carries it, one camera pose per carrier.

Nothing is moved: a part's Gaussians are projected with T_cam_part, which is the same as moving them, harmonics too.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twin.rasterise.bin import PARTS, TILE_PX, by_depth, count_pairs, list_pairs
from twin.rasterise.project import KERNEL, ONE, RIGHT, ZERO, F, project
from twin.rasterise.raster import raster


@njit(**KERNEL)
def bin_alone(projected, boxes, width, height):
    """`bin_gaussians` in one thread: where each tile's Gaussians start, and the Gaussians, nearest first."""
    columns, tiles = -(-width // TILE_PX), -(-width // TILE_PX) * -(-height // TILE_PX)
    visible = np.empty(boxes.shape[0], np.int32)
    seen = 0
    for i in range(boxes.shape[0]):
        if boxes[i, RIGHT] > 0:
            visible[seen] = i
            seen += 1
    order = by_depth(visible[:seen], projected)
    counts = np.zeros((PARTS, tiles), np.int64)
    count_pairs(0, PARTS, order, boxes, columns, counts)
    places, starts = np.empty((PARTS, tiles), np.int64), np.empty(tiles + 1, np.int64)
    total = 0
    for tile in range(tiles):
        starts[tile] = total
        for part in range(PARTS):
            places[part, tile] = total
            total += counts[part, tile]
    starts[tiles] = total
    members = np.empty(total, np.int32)
    list_pairs(0, PARTS, order, boxes, columns, places, members)
    return starts, members


@njit(**KERNEL)
def project_parts(
    means, quats, scales, opacities, sh, part_starts, sh_starts, coefficients, Ts_cam_part, lens, width, height,
    projected, boxes,
):  # fmt: skip
    """Fills `projected` and `boxes`. `sh` holds the parts' coefficients one after the other, as rows of three."""
    for part in range(Ts_cam_part.shape[0]):
        a, b = part_starts[part], part_starts[part + 1]
        own_sh = sh[sh_starts[part] : sh_starts[part + 1]].reshape((b - a, coefficients[part], 3))
        project(
            0, b - a, means[a:b], quats[a:b], scales[a:b], opacities[a:b], own_sh, Ts_cam_part[part], lens,
            width, height, projected[a:b], boxes[a:b],
        )  # fmt: skip


@njit(**KERNEL)
def draw(
    first, last, means, quats, scales, opacities, sh, part_starts, sh_starts, coefficients, Ts_cam_part, lens,
    still_rgb, still_depths, still_alphas, pictures,
):  # fmt: skip
    """Fills `pictures` (N H W 3, uint8) of environments first … last.

    `Ts_cam_part` is N P 3 4. `still_…` is what never moves, drawn already, or empty (0 0): then all is in the parts.
    """
    height, width = pictures.shape[1], pictures.shape[2]
    count = means.shape[0]
    columns, tiles = -(-width // TILE_PX), -(-width // TILE_PX) * -(-height // TILE_PX)
    projected, boxes = np.empty((count, 11), np.float32), np.empty((count, 4), np.int16)
    rgb = np.empty((height, width, 3), np.float32)
    depths, alphas = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    nothing = np.zeros(3, np.float32)
    for env in range(first, last):
        project_parts(
            means, quats, scales, opacities, sh, part_starts, sh_starts, coefficients, Ts_cam_part[env], lens,
            width, height, projected, boxes,
        )  # fmt: skip
        starts, members = bin_alone(projected, boxes, width, height)
        raster(0, tiles, projected, boxes, starts, members, columns, nothing, rgb, depths, alphas)
        if still_alphas.size > 0:
            lay_over(rgb, depths, alphas, still_rgb, still_depths, still_alphas)
        to_bytes(rgb, pictures[env])


@njit(**KERNEL)
def lay_over(rgb, depths, alphas, still_rgb, still_depths, still_alphas):
    """Where what moves is nearer (by its mean depth), it covers what does not; elsewhere it is covered."""
    for y in range(alphas.shape[0]):
        for x in range(alphas.shape[1]):
            alpha, still = alphas[y, x], still_alphas[y, x]
            nearer = depths[y, x] * still <= still_depths[y, x] * alpha
            front = ONE if nearer else ONE - still
            behind = ONE - alpha if nearer else ONE
            for channel in range(3):
                rgb[y, x, channel] = rgb[y, x, channel] * front + still_rgb[y, x, channel] * behind


@njit(**KERNEL)
def to_bytes(rgb, picture):
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            for channel in range(3):
                value = min(max(rgb[y, x, channel], ZERO), ONE)
                picture[y, x, channel] = np.uint8(value * F(255) + F(0.5))
