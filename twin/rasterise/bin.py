"""Projected Gaussians in; per tile the list of those whose pixel box touches it, nearest first, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from numpy import ndarray

from twin.rasterise.project import BOTTOM, DEPTH, KERNEL, LEFT, RIGHT, TOP
from twin.threads import run_chunks

TILE_PX = 32
DIGIT_BITS = 11
DIGITS = 1 << DIGIT_BITS
PARTS = 8
"""The visible Gaussians are counted and listed in this many runs, so that threads share the work."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """P (tile, Gaussian) pairs, tile by tile, nearest Gaussian first."""

    columns: int
    rows: int
    starts: Int[ndarray, " T"]
    """`members[starts[t] : starts[t + 1]]` are tile t's Gaussians (T is the number of tiles + 1)."""
    members: Int[ndarray, " P"]
    """Indices into the splat."""

    @property
    def count(self) -> int:
        return self.columns * self.rows


def bin_gaussians(
    projected: Float[ndarray, "N 11"], box: Int[ndarray, "N 4"], width_px: int, height_px: int
) -> Tiles:
    """Sorts by depth (stable, so ties keep the splat's order) and lists the Gaussians of each tile."""
    columns, rows = -(-width_px // TILE_PX), -(-height_px // TILE_PX)
    order = by_depth(np.flatnonzero(box[:, RIGHT]).astype(np.int32), projected)
    counts = np.zeros((PARTS, columns * rows), np.int64)
    run_chunks(count_pairs, PARTS, order, box, columns, counts)
    ends = np.cumsum(counts.T.ravel())  # tile by tile, within a tile part by part: depth order survives
    places = np.concatenate([[0], ends[:-1]]).reshape(columns * rows, PARTS)
    members = np.empty(int(ends[-1]), np.int32)
    starts = np.append(places[:, 0], ends[-1])
    run_chunks(list_pairs, PARTS, order, box, columns, np.ascontiguousarray(places.T), members)
    return Tiles(columns, rows, starts, members)


def pair_starts(box: Int[ndarray, "N 4"]) -> Int[ndarray, " N+1"]:
    """Where each Gaussian's run of pairs begins when pairs are numbered Gaussian by Gaussian."""
    starts = np.empty(len(box) + 1, np.int64)
    _number_pairs(box, starts)
    return starts


@njit(**KERNEL)
def _number_pairs(box, starts):
    starts[0] = 0
    for i in range(box.shape[0]):
        pairs = 0
        if box[i, RIGHT] > 0:
            wide = (box[i, RIGHT] - 1) // TILE_PX - box[i, LEFT] // TILE_PX + 1
            pairs = wide * ((box[i, BOTTOM] - 1) // TILE_PX - box[i, TOP] // TILE_PX + 1)
        starts[i + 1] = starts[i] + pairs


@njit(**KERNEL)
def by_depth(visible, projected):
    """Radix sort by the bits of the depth: positive floats order as their bits do."""
    count = visible.shape[0]
    depths = np.empty(count, np.float32)
    for k in range(count):
        depths[k] = projected[visible[k], DEPTH]
    keys, other_keys = depths.view(np.uint32), np.empty(count, np.uint32)
    items, other_items = visible, np.empty(count, np.int32)
    histogram = np.zeros((3, DIGITS), np.int64)
    mask = np.uint32(DIGITS - 1)
    for k in range(count):
        for digit in range(3):
            histogram[digit, (keys[k] >> np.uint32(DIGIT_BITS * digit)) & mask] += 1
    for digit in range(3):
        shift = np.uint32(DIGIT_BITS * digit)
        place = 0
        for value in range(DIGITS):
            here = histogram[digit, value]
            histogram[digit, value] = place
            place += here
        for k in range(count):
            value = (keys[k] >> shift) & mask
            at = histogram[digit, value]
            histogram[digit, value] = at + 1
            other_keys[at] = keys[k]
            other_items[at] = items[k]
        keys, other_keys = other_keys, keys
        items, other_items = other_items, items
    return items


@njit(**KERNEL)
def count_pairs(first, last, order, box, columns, counts):
    """How many Gaussians of each part touch each tile."""
    total = order.shape[0]
    for part in range(first, last):
        for k in range(total * part // PARTS, total * (part + 1) // PARTS):
            i = order[k]
            for row in range(box[i, TOP] // TILE_PX, (box[i, BOTTOM] - 1) // TILE_PX + 1):
                for column in range(box[i, LEFT] // TILE_PX, (box[i, RIGHT] - 1) // TILE_PX + 1):
                    counts[part, row * columns + column] += 1


@njit(**KERNEL)
def list_pairs(first, last, order, box, columns, places, members):
    """Writes each part's Gaussians behind those of the parts before it."""
    total = order.shape[0]
    for part in range(first, last):
        for k in range(total * part // PARTS, total * (part + 1) // PARTS):
            i = order[k]
            for row in range(box[i, TOP] // TILE_PX, (box[i, BOTTOM] - 1) // TILE_PX + 1):
                for column in range(box[i, LEFT] // TILE_PX, (box[i, RIGHT] - 1) // TILE_PX + 1):
                    tile = row * columns + column
                    members[places[part, tile]] = i
                    places[part, tile] += 1
