"""Tiles with their Gaussians in; pixels out, and gradients of pixels back to projected Gaussians.

A tile's pixels lie in planes of 32 × 32 values that stay in the core's first cache. Each Gaussian visits the rows
that its 1/255 ellipse crosses, in blocks of eight neighbouring pixels (`lanes`). A pixel that is opaque keeps its
transmittance with a minus sign, which masks it from then on; every 64 Gaussians a tile asks whether all of it is.

The backward pass walks front to back again. It needs no per-pixel memory of the forward pass: what lies behind a
Gaussian is the final colour minus what has been added so far. Each (tile, Gaussian) pair has a row of its own for
its sums, so tiles run in any order on any thread and the result is the same.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from twin.rasterise.bin import TILE_PX
from twin.rasterise.lanes import any_lane, broadcast, load, maximum, minimum, select, store, total
from twin.rasterise.project import (
    ALPHA_LEAST,
    BLUE,
    BOTTOM,
    DEPTH,
    GREEN,
    HALF,
    INLINE,
    KERNEL,
    LEFT,
    ONE,
    OPACITY,
    REACH,
    RED,
    RIGHT,
    ROUND_UP,
    TOP,
    TWO,
    ZERO,
    A,
    B,
    C,
    F,
    X,
    Y,
)

ALPHA_MOST = F(0.999)
LEFT_LEAST = F(1e-4)
EXP_STEP = F(1 / 16)
AREA = TILE_PX * TILE_PX
PLANE = AREA + 16
"""Planes 4 kB apart would fall on the same places of the cache."""
BLOCK = 8
CHECK_EVERY = 64
LANE = np.arange(BLOCK, dtype=np.float32)

index = np.uint64
"""Unsigned indices spare the compiler Python's wrap-around of negative ones."""

S, SX, SY, SXX, SXY, SYY, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH = range(10)
PAIR_COLUMNS = 10
"""A pair's sums over its pixels: s, s dx, s dy, s dx², s dx dy, s dy² where s = d loss / d (½ dᵀ Σ⁻¹ d) and
d = (dx, dy) points from the Gaussian's centre to the pixel's; then d loss / d red, green, blue and depth."""


@njit(**INLINE)
def exp_sixteenth(r):
    """exp(16 r) for lanes r in −0.4 … 0, to 6e-6 relative: the Taylor polynomial of exp(r), squared four times.

    Below −6.5/16 it stays at exp(−6.5), which no opacity lifts to 1/255.
    """
    r = minimum(maximum(r, broadcast(F(-6.5 / 16))), broadcast(ZERO))
    p = broadcast(F(1 / 720)) * r + broadcast(F(1 / 120))
    p = p * r + broadcast(F(1 / 24))
    p = p * r + broadcast(F(1 / 6))
    p = p * r + broadcast(HALF)
    p = p * r + broadcast(ONE)
    p = p * r + broadcast(ONE)
    p = p * p
    p = p * p
    p = p * p
    return p * p


@njit(**INLINE)
def is_narrow(box, x0, x1):
    """Whether the columns of the tile that a pixel box covers lie in at most two blocks."""
    return min(box[RIGHT], x1) - x0 - (max(box[LEFT] - x0, 0) & ~(BLOCK - 1)) <= 2 * BLOCK


@njit(**INLINE)
def columns_of(dy, narrow, box, ellipse, x0, x1):
    """First column (of a block) and end in a row of the tile; a narrow box is taken whole: asking costs more."""
    if narrow:
        return max(box[LEFT] - x0, 0) & ~(BLOCK - 1), min(box[RIGHT], x1) - x0
    centre, inverse_a, spread, reach2, slope = ellipse
    inside = spread * dy * dy + reach2
    if inside <= ZERO:
        return 0, 0
    half_width = math.sqrt(inside) * inverse_a
    middle = centre - slope * dy
    begin = int(max(middle - half_width, ZERO) + ROUND_UP)
    return begin & ~(BLOCK - 1), int(min(middle + half_width, F(x1 - x0) - ONE)) + 1


@njit(**INLINE)
def ellipse_of(g, x0):
    """What `columns_of` needs of a Gaussian: its centre's column in the tile, and the solution for dx at a dy."""
    inverse_a = ONE / g[A]
    return g[X] - HALF - F(x0), inverse_a, g[B] * g[B] - g[A] * g[C], TWO * g[REACH] * g[A], g[B] * inverse_a


@njit(**INLINE)
def is_opaque(planes):
    """Whether no pixel of the tile lets light through (pixels beyond the picture's edge never do)."""
    most = broadcast(ZERO)
    for i in range(0, AREA, BLOCK):
        most = maximum(most, load(planes, index(i)))
    return not any_lane(most > broadcast(ZERO))


@njit(**INLINE)
def clear(planes, width, height):
    """Zero everywhere, with transmittance 1 on the tile's width × height pixels."""
    planes[:] = ZERO
    for y in range(height):
        for x in range(width):
            planes[index(y * TILE_PX + x)] = ONE


@njit(**KERNEL)
def raster(first, last, projected, boxes, starts, members, tile_columns, background, rgb, depths, alphas):
    """Draws tiles first … last into `rgb` (H W 3), `depths` and `alphas` (H W)."""
    height, width = alphas.shape
    planes = np.empty(5 * PLANE, np.float32)
    lane, nothing = load(LANE, index(0)), broadcast(ZERO)
    alpha_most, alpha_least, left_least = broadcast(ALPHA_MOST), broadcast(ALPHA_LEAST), broadcast(LEFT_LEAST)
    for tile in range(first, last):
        x0, y0 = (tile % tile_columns) * TILE_PX, (tile // tile_columns) * TILE_PX
        x1, y1 = min(x0 + TILE_PX, width), min(y0 + TILE_PX, height)
        clear(planes, x1 - x0, y1 - y0)
        until_check = CHECK_EVERY
        for q in range(starts[tile], starts[tile + 1]):
            until_check -= 1
            if until_check == 0:
                until_check = CHECK_EVERY
                if is_opaque(planes):
                    break
            g, box = projected[members[q]], boxes[members[q]]
            ellipse, narrow = ellipse_of(g, x0), is_narrow(box, x0, x1)
            quadratic = broadcast(-HALF * EXP_STEP * g[A])
            opacity, depth = broadcast(g[OPACITY]), broadcast(g[DEPTH])
            red, green, blue = broadcast(g[RED]), broadcast(g[GREEN]), broadcast(g[BLUE])
            for y in range(max(box[TOP], y0), min(box[BOTTOM], y1)):
                dy = F(y) + HALF - g[Y]
                begin, end = columns_of(dy, narrow, box, ellipse, x0, x1)
                linear = broadcast(-EXP_STEP * g[B] * dy)
                constant = broadcast(-HALF * EXP_STEP * g[C] * dy * dy)
                row = (y - y0) * TILE_PX
                for x in range(begin, end, BLOCK):
                    at = index(row + x)
                    dx = lane + broadcast(F(x) - ellipse[0])
                    alpha = minimum(opacity * exp_sixteenth((quadratic * dx + linear) * dx + constant), alpha_most)
                    before = load(planes, at)
                    weight = alpha * before
                    counts = (alpha >= alpha_least) & (before > nothing)
                    drawn = counts & (before - weight > left_least)
                    # an opaque pixel changes sign: by subtraction, as LLVM makes a slow masked store of a choice
                    store(planes, at, before - select(drawn, weight, select(counts, before + before, nothing)))
                    weight = select(drawn, weight, nothing)
                    at += index(PLANE)
                    store(planes, at, load(planes, at) + weight * red)
                    at += index(PLANE)
                    store(planes, at, load(planes, at) + weight * green)
                    at += index(PLANE)
                    store(planes, at, load(planes, at) + weight * blue)
                    at += index(PLANE)
                    store(planes, at, load(planes, at) + weight * depth)
        for y in range(y0, y1):
            for x in range(x0, x1):
                i = index((y - y0) * TILE_PX + x - x0)
                left = abs(planes[i])
                for channel in range(3):
                    rgb[y, x, channel] = planes[i + index((channel + 1) * PLANE)] + left * background[channel]
                depths[y, x] = planes[i + index(4 * PLANE)]
                alphas[y, x] = ONE - left


@njit(**INLINE)
def load_gradient(planes, rgb, depths, alphas, grad_rgb, grad_depths, grad_alphas, x0, y0, x1, y1):
    """Planes 1 … 5: what comes from behind (remainder), then d loss / d red, green, blue, depth."""
    for y in range(y0, y1):
        for x in range(x0, x1):
            i = index((y - y0) * TILE_PX + x - x0)
            remainder = ZERO
            for channel in range(3):
                grad = grad_rgb[y, x, channel]
                planes[i + index((channel + 2) * PLANE)] = grad
                remainder += grad * rgb[y, x, channel]
            if grad_depths.size > 0:
                planes[i + index(5 * PLANE)] = grad_depths[y, x]
                remainder += grad_depths[y, x] * depths[y, x]
            if grad_alphas.size > 0:
                remainder -= grad_alphas[y, x] * (ONE - alphas[y, x])
            planes[i + index(PLANE)] = remainder


@njit(**KERNEL)
def raster_backward(
    first, last, projected, boxes, starts, members, pair_starts, tile_columns,
    rgb, depths, alphas, grad_rgb, grad_depths, grad_alphas, sums,
):  # fmt: skip
    """Fills the rows of `sums` (P 10) of all pairs of tiles first … last.

    `grad_…` is d loss / d what `raster` drew; those of depth and alpha may be empty (0 0): none.
    """
    height, width = alphas.shape
    planes = np.empty(6 * PLANE, np.float32)
    lane, one, nothing = load(LANE, index(0)), broadcast(ONE), broadcast(ZERO)
    alpha_most, alpha_least, left_least = broadcast(ALPHA_MOST), broadcast(ALPHA_LEAST), broadcast(LEFT_LEAST)
    for tile in range(first, last):
        column, line = tile % tile_columns, tile // tile_columns
        x0, y0 = column * TILE_PX, line * TILE_PX
        x1, y1 = min(x0 + TILE_PX, width), min(y0 + TILE_PX, height)
        clear(planes, x1 - x0, y1 - y0)
        load_gradient(planes, rgb, depths, alphas, grad_rgb, grad_depths, grad_alphas, x0, y0, x1, y1)
        until_check, opaque = CHECK_EVERY, False
        for q in range(starts[tile], starts[tile + 1]):
            g, box = projected[members[q]], boxes[members[q]]
            tiles_wide = (box[RIGHT] - 1) // TILE_PX - box[LEFT] // TILE_PX + 1
            pair = (line - box[TOP] // TILE_PX) * tiles_wide + column - box[LEFT] // TILE_PX
            row_sums = sums[pair_starts[members[q]] + pair]
            until_check -= 1
            if until_check == 0:
                until_check = CHECK_EVERY
                opaque = opaque or is_opaque(planes)
            if opaque:
                row_sums[:] = ZERO
                continue
            ellipse, narrow = ellipse_of(g, x0), is_narrow(box, x0, x1)
            quadratic = broadcast(-HALF * EXP_STEP * g[A])
            opacity, depth = broadcast(g[OPACITY]), broadcast(g[DEPTH])
            red, green, blue = broadcast(g[RED]), broadcast(g[GREEN]), broadcast(g[BLUE])
            s, sx, sy, sxx, sxy, syy = nothing, nothing, nothing, nothing, nothing, nothing
            sum_red, sum_green, sum_blue, sum_depth = nothing, nothing, nothing, nothing
            for y in range(max(box[TOP], y0), min(box[BOTTOM], y1)):
                dy = F(y) + HALF - g[Y]
                begin, end = columns_of(dy, narrow, box, ellipse, x0, x1)
                linear = broadcast(-EXP_STEP * g[B] * dy)
                constant = broadcast(-HALF * EXP_STEP * g[C] * dy * dy)
                down = broadcast(dy)
                row = (y - y0) * TILE_PX
                for x in range(begin, end, BLOCK):
                    at = index(row + x)
                    dx = lane + broadcast(F(x) - ellipse[0])
                    raw = opacity * exp_sixteenth((quadratic * dx + linear) * dx + constant)
                    alpha = minimum(raw, alpha_most)
                    before = load(planes, at)
                    weight = alpha * before
                    counts = (alpha >= alpha_least) & (before > nothing)
                    drawn = counts & (before - weight > left_least)
                    store(planes, at, before - select(drawn, weight, select(counts, before + before, nothing)))
                    weight = select(drawn, weight, nothing)
                    grad_red, grad_green = load(planes, at + index(2 * PLANE)), load(planes, at + index(3 * PLANE))
                    grad_blue, grad_depth = load(planes, at + index(4 * PLANE)), load(planes, at + index(5 * PLANE))
                    gain = grad_red * red + grad_green * green + grad_blue * blue + grad_depth * depth
                    behind = load(planes, at + index(PLANE)) - weight * gain
                    store(planes, at + index(PLANE), behind)
                    by_alpha = before * gain - behind / (one - alpha)
                    here = select(drawn & (alpha_most >= raw), -alpha * by_alpha, nothing)
                    across = here * dx
                    s, sx, sy = s + here, sx + across, sy + here * down
                    sxx, sxy, syy = sxx + across * dx, sxy + across * down, syy + here * down * down
                    sum_red, sum_green = sum_red + weight * grad_red, sum_green + weight * grad_green
                    sum_blue, sum_depth = sum_blue + weight * grad_blue, sum_depth + weight * grad_depth
            row_sums[S], row_sums[SX], row_sums[SY] = total(s), total(sx), total(sy)
            row_sums[SXX], row_sums[SXY], row_sums[SYY] = total(sxx), total(sxy), total(syy)
            row_sums[SUM_RED], row_sums[SUM_GREEN] = total(sum_red), total(sum_green)
            row_sums[SUM_BLUE], row_sums[SUM_DEPTH] = total(sum_blue), total(sum_depth)
