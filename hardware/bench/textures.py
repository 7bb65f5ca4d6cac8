"""Procedural surfaces of the bench as rgb pictures: wood, concrete, plaster, cardboard and wear on top of them.

Every function is deterministic in its generator. Colours are sRGB, 0 … 255; a picture's row 0 is its upper edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from numpy.random import Generator

Number = int | float
Colour = tuple[Number, Number, Number]

OAK: tuple[Colour, ...] = ((128, 84, 50), (176, 126, 82), (205, 160, 112), (222, 182, 136))
"""Dark late wood to light early wood."""


def noise(
    rng: Generator, size_px: tuple[int, int], cells: tuple[Number, Number], octaves: int = 4, fall: float = 0.5
) -> Float32[ndarray, "H W"]:
    """Fractal value noise of (height, width), about −1 … 1; the first octave has `cells` (down, across)."""
    height, width = size_px
    total = np.zeros((height, width), np.float32)
    weight, amplitude = 0.0, 1.0
    for octave in range(octaves):
        rows, columns = (max(2, min(round(n * 2**octave) + 1, 4096)) for n in cells)
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += amplitude
        amplitude *= fall
        if rows >= height and columns >= width:
            break
    return total / np.float32(weight)


def graded(value: Float32[ndarray, "H W"], colours: Sequence[Colour]) -> Float32[ndarray, "H W 3"]:
    """`value` 0 … 1 (clipped) through evenly spaced colours."""
    stops = np.linspace(0, 1, len(colours))
    table = np.array(colours, np.float32)
    lookup = np.stack([np.interp(np.linspace(0, 1, 1024), stops, channel) for channel in table.T], -1)
    return lookup.astype(np.float32)[(np.clip(value, 0, 1) * 1023).astype(np.int32)]


def as_rgb(picture: Float32[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _plank(rng: Generator, height: int, width: int, px_per_m: float) -> Float32[ndarray, "H W 3"]:
    """One board, its length across the picture: growth rings cut at a slant, fibres, pores, sometimes a knot."""
    across_m, along_m = np.meshgrid(
        np.arange(height, dtype=np.float32) / px_per_m,
        np.arange(width, dtype=np.float32) / px_per_m,
        indexing="ij",
    )
    metres = (height / px_per_m, width / px_per_m)
    wander_m = 0.022 * noise(rng, (height, width), (1, max(1.0, 2.5 * metres[1])), 3)
    heart_m = rng.uniform(-0.05, 0.14)
    depth_m = rng.uniform(0.01, 0.05) + rng.uniform(-0.05, 0.05) * along_m
    offset_m = across_m - heart_m + wander_m
    radius_m = np.hypot(offset_m, depth_m)
    if rng.random() < 0.5:
        knot = (rng.uniform(0.25, 0.75) * metres[0], rng.uniform(0.1, 0.9) * metres[1])
        distance_m = np.hypot(across_m - knot[0], (along_m - knot[1]) * 0.55)
        radius_m = radius_m + 0.016 * np.exp(-((distance_m / 0.013) ** 2))
    phase = radius_m * rng.uniform(70, 140) + 0.5 * noise(rng, (height, width), (4, 12), 3)
    ring = phase - np.floor(phase)
    late = np.clip(1 - np.abs(ring - 0.72) / 0.28, 0, 1) * 0.5 + ring * 0.2
    fibre = noise(rng, (height, width), (metres[0] * 220, metres[1] * 12), 3)
    pores = np.clip(noise(rng, (height, width), (metres[0] * 500, metres[1] * 40), 1) - 0.62, 0, 1) * 1.6
    tone = 0.72 + rng.uniform(-0.12, 0.12)
    value = tone - 0.34 * late + 0.12 * fibre - 0.3 * pores + 0.12 * noise(rng, (height, width), (2, 6), 3)
    return graded(value, OAK) * np.float32(rng.uniform(0.93, 1.05))


def planks(
    rng: Generator, size_m: tuple[float, float], px_per_m: float, plank_m: tuple[float, float]
) -> UInt8[ndarray, "H W 3"]:
    """A glued top of (height, width): boards about (`plank_m` wide, long), their length across the picture."""
    height, width = round(size_m[0] * px_per_m), round(size_m[1] * px_per_m)
    top = np.zeros((height, width, 3), np.float32)
    row = 0
    while row < height:
        rows = min(round(plank_m[0] * rng.uniform(0.85, 1.15) * px_per_m), height - row)
        column = 0
        while column < width:
            columns = min(round(plank_m[1] * rng.uniform(0.4, 1.2) * px_per_m), width - column)
            if width - column - columns < 0.3 * plank_m[1] * px_per_m:
                columns = width - column  # no stub at the edge
            board = _plank(rng, rows, columns, px_per_m)
            board[:1] *= 0.55
            board[:, :1] *= 0.6
            top[row : row + rows, column : column + columns] = board
            column += columns
        row += rows
    return as_rgb(top)


def concrete(
    rng: Generator, size_m: tuple[float, float], px_per_m: float, colours: Sequence[Colour]
) -> UInt8[ndarray, "H W 3"]:
    """A poured floor of (height, width): clouds, trowel marks, pits and a few cracks."""
    shape = round(size_m[0] * px_per_m), round(size_m[1] * px_per_m)
    clouds = noise(rng, shape, (3 * size_m[0], 3 * size_m[1]), 5, 0.6)
    trowel = noise(rng, shape, (40 * size_m[0], 8 * size_m[1]), 3)
    pits = np.clip(noise(rng, shape, (90 * size_m[0], 90 * size_m[1]), 2) - 0.45, 0, 1)
    floor = as_rgb(graded(0.5 + 0.55 * clouds + 0.12 * trowel - 0.5 * pits, colours))
    for _ in range(round(1.5 * size_m[0] * size_m[1] ** 0.5)):
        start = rng.uniform(0, 1, 2) * [shape[1], shape[0]]
        crack(floor, rng, start, rng.uniform(0.3, 1.2) * px_per_m, colours[0])
    return floor


def plaster(
    rng: Generator, size_m: tuple[float, float], px_per_m: float, colour: Colour
) -> UInt8[ndarray, "H W 3"]:
    """A painted wall of (height, width): roller marks and a slow change of tone."""
    shape = round(size_m[0] * px_per_m), round(size_m[1] * px_per_m)
    tone = 1 + 0.05 * noise(rng, shape, (2, 3), 4, 0.6) + 0.02 * noise(rng, shape, (60, 25), 2)
    return as_rgb(tone[..., None] * np.array(colour, np.float32))


def crack(
    picture: UInt8[ndarray, "H W 3"], rng: Generator, start_px: Float[ndarray, 2], length_px: float, colour: Colour
) -> None:
    """Draws a wandering thin line into the picture."""
    steps = max(4, int(length_px / 12))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, steps))
    points = start_px + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * 12, 0)
    cv2.polylines(picture, [points.astype(np.int32)[:, None]], False, colour, 1, cv2.LINE_AA)


def scratches(picture: UInt8[ndarray, "H W 3"], rng: Generator, count: int, px_per_m: float) -> None:
    """Draws knife cuts and rubs: light and dark, straight or a little bent, 1 … 15 cm long."""
    height, width = picture.shape[:2]
    overlay = picture.copy()
    for _ in range(count):
        start = rng.uniform(0, 1, 2) * [width, height]
        angle, length = rng.uniform(0, np.pi), rng.gamma(2.0, 0.025) * px_per_m
        bend = rng.normal(0, 0.05)
        along = np.linspace(0, 1, 8)
        heading = angle + bend * along
        points = start + length * np.stack([along * np.cos(heading), along * np.sin(heading)], -1)
        shade = rng.choice([60.0, 90.0, 235.0], p=[0.3, 0.3, 0.4])
        colour = (shade, shade * 0.9, shade * 0.78)
        cv2.polylines(overlay, [points.astype(np.int32)[:, None]], False, colour, 1, cv2.LINE_AA)
    cv2.addWeighted(overlay, 0.5, picture, 0.5, 0, dst=picture)


def stain(
    picture: UInt8[ndarray, "H W 3"],
    rng: Generator,
    centre_px: tuple[float, float],
    radius_px: float,
    colour: Colour,
    ring: Number,
) -> None:
    """Darkens a blot by `colour` (factors 0 … 1); `ring` 0 is a full blot, 1 only its rim, as a cup leaves it."""
    reach = int(radius_px * 1.4)
    x0, y0 = (max(0, int(c) - reach) for c in centre_px)
    patch = picture[y0 : int(centre_px[1]) + reach, x0 : int(centre_px[0]) + reach]
    if patch.size == 0:
        return
    rows, columns = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    distance = np.hypot(columns + x0 - centre_px[0], rows + y0 - centre_px[1]) / radius_px
    distance += 0.09 * noise(rng, (patch.shape[0], patch.shape[1]), (3, 3), 4)
    blot = np.clip((1 - distance) * 12, 0, 1) * (1 - ring) * 0.5
    rim = np.exp(-(((distance - 0.95) / 0.045) ** 2)) * (0.4 + 0.6 * ring)
    strength = np.clip(blot + rim, 0, 1)[..., None] * np.float32(0.7 + 0.3 * rng.random())
    patch[:] = as_rgb(patch * (1 - strength * (1 - np.array(colour, np.float32))))


def specks(picture: UInt8[ndarray, "H W 3"], rng: Generator, count: int, colours: Sequence[Colour]) -> None:
    """Draws small drops (paint, solder, ink), 1 … 4 pixels."""
    height, width = picture.shape[:2]
    for _ in range(count):
        at = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        colour = colours[int(rng.integers(len(colours)))]
        axes = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
        cv2.ellipse(picture, at, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)


def contact_shade(
    picture: UInt8[ndarray, "H W 3"],
    centre_px: tuple[float, float],
    half_px: tuple[float, float],
    angle_rad: float,
    spread_px: float,
) -> None:
    """Darkens the surface round a standing object's footprint (an ellipse), as the missing sky light does."""
    reach_px = int(max(half_px) + 5 * spread_px)
    top, left = (max(0, int(centre) - reach_px) for centre in centre_px[::-1])
    patch = picture[top : int(centre_px[1]) + reach_px, left : int(centre_px[0]) + reach_px]
    rows, columns = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    dx, dy = columns + left - centre_px[0], rows + top - centre_px[1]
    u = (dx * np.cos(angle_rad) + dy * np.sin(angle_rad)) / half_px[0]
    v = (-dx * np.sin(angle_rad) + dy * np.cos(angle_rad)) / half_px[1]
    beyond_px = np.maximum(np.hypot(u, v) - 1, 0) * min(half_px)
    patch[:] = as_rgb((patch * (1 - 0.45 * np.exp(-beyond_px / spread_px))[..., None]).astype(np.float32))
