"""Gaussians of something that stands on a table in, its upright box, cylinder or smallest rectangle out.

Coordinates are the table's: x, y, and the height above it. The opaque Gaussians lie in a thin crust on the surface
and faint ones behind it, so a face is where their density peaks on the outside, not where their mean is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import KDTree

from hardware.errors import BadInput

FEWEST = 12
"""Gaussians, below which an outline is a guess."""
BANDS_M = (8e-3, 6e-3, 4e-3, 4e-3, 3e-3, 3e-3)
"""How far from its face a Gaussian may lie to have a say, step by step."""
KERNEL_M = 0.5e-3
THICKEST_M = 2.5e-3
"""A Gaussian thicker than this shows no surface; it counts as this thick."""
OUTER_PEAK = 0.5
"""The outermost peak that is at least this share of the highest is the face."""
SKIN_SIGMAS = 1.3
"""A surface lies this many standard deviations outside the centres of the Gaussians that show it (measured on the
bench's boxes, whose faces came out 0.5 to 1.5 mm too far in without)."""
STICKING_OUT_M, STICKING_OUT_SHARE = 2e-3, 0.015
"""Where more of the weight lies further outside than this, the shape does not fit."""
SMALLEST_M = 4e-3
COMPANY_M = 5e-3
"""Crusts of the bench's scans have a Gaussian every 2 to 3 mm; strays lie 8 mm and more from them."""


@dataclass(frozen=True)
class Outline:
    """Upright, from the table up. `half_m` of the rectangle round it; a cylinder's are its radius, twice."""

    kind: Literal["box", "cylinder", "free"]
    centre_m: tuple[float, float]
    yaw_rad: float
    half_m: tuple[float, float]
    height_m: float

    def outside_m(self, xy: Float[ndarray, "N 2"]) -> Float[ndarray, " N"]:
        """Distance to the outline, negative within it."""
        away = self.local(xy)
        if self.kind == "cylinder":
            return np.linalg.norm(away, axis=1) - self.half_m[0]
        over = np.abs(away) - np.array(self.half_m)
        return np.linalg.norm(np.maximum(over, 0), axis=1) + np.minimum(over.max(1), 0)

    def local(self, xy: Float[ndarray, "N 2"]) -> Float[ndarray, "N 2"]:
        """In the axes of the rectangle, from its centre."""
        c, s = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return (xy - np.array(self.centre_m)) @ np.array([[c, -s], [s, c]])


def read(
    points: Float[ndarray, "N 3"], weights: Float[ndarray, " N"], covariances: Float[ndarray, "N 3 3"]
) -> Outline:
    """The one of box and cylinder that explains more of the crust, where it fits; else the smallest rectangle.

    Raises `BadInput` for too few points, or points without extent.
    """
    if len(points) < FEWEST:
        raise BadInput(
            f"only {len(points)} opaque Gaussians: too few for an outline", "a larger box, a better scan"
        )
    xy, spreads = points[:, :2], covariances[:, :2, :2]
    in_company = _in_company(xy)
    start = rectangle(xy[in_company])
    heights = points[:, 2] + SKIN_SIGMAS * np.sqrt(np.minimum(covariances[:, 2, 2], THICKEST_M**2))
    upper = heights > 0.5 * np.quantile(points[:, 2], 0.95)
    height_m = max(_outer_peak(heights[upper], None), _quantile(points[:, 2], weights, 0.97))
    if min(*start.half_m, height_m / 2) < SMALLEST_M / 2:
        raise BadInput("the Gaussians in the box have no volume", "draw the box round the whole object")
    shapes = (_box(xy, weights, spreads, start), _cylinder(xy, weights, spreads, start))
    best = max(shapes, key=lambda shape: _explained(shape, xy, weights))
    fits = _sticking_out(best, xy[in_company], weights[in_company]) < STICKING_OUT_SHARE
    return _with_height(best if fits else start, height_m)


def _with_height(shape: Outline, height_m: float) -> Outline:
    return Outline(shape.kind, shape.centre_m, shape.yaw_rad, shape.half_m, height_m)


def _in_company(xy: Float[ndarray, "N 2"]) -> Bool[ndarray, " N"]:
    """Of which points two others lie within 5 mm; all of them where hardly one does. Strays decide no shape."""
    near = KDTree(xy).query_ball_point(xy, COMPANY_M, return_length=True)
    kept = near >= 3
    return kept if kept.sum() >= 3 else np.ones(len(xy), bool)


def rectangle(xy: Float[ndarray, "N 2"]) -> Outline:
    """The smallest round the points."""
    centre, sides, angle_deg = cv2.minAreaRect((xy * 1e3).astype(np.float32))
    half = sides[0] / 2e3, sides[1] / 2e3
    return Outline("free", (centre[0] / 1e3, centre[1] / 1e3), math.radians(angle_deg), half, 0.0)


def _box(
    xy: Float[ndarray, "N 2"], weights: Float[ndarray, " N"], spreads: Float[ndarray, "N 2 2"], start: Outline
) -> Outline:
    """Four faces moved to their crusts and turned along them, with ever narrower bands."""
    shape = start
    for band_m in BANDS_M:
        away, ends, slopes, masses = shape.local(xy), [[0.0, 0.0], [0.0, 0.0]], [], []
        c, s = math.cos(shape.yaw_rad), math.sin(shape.yaw_rad)
        for axis in (0, 1):
            for side, sign in enumerate((-1.0, 1.0)):
                normal = np.array([c, s] if axis == 0 else [-s, c])
                out = sign * away[:, axis] - shape.half_m[axis] + _skin_m(spreads, normal)
                along = away[:, 1 - axis]
                held = (np.abs(out) < band_m) & (np.abs(along) < 0.92 * shape.half_m[1 - axis])
                peak = _outer_peak(out[held], weights[held]) if held.sum() >= 3 else 0.0
                ends[axis][side] = sign * (shape.half_m[axis] + peak)
                on = held & (np.abs(out - peak) < min(band_m, 2e-3))
                if on.sum() >= 4:
                    centred = along[on] - np.average(along[on], weights=weights[on])
                    mass = float((weights[on] * centred**2).sum())
                    turn = float((weights[on] * centred * (out[on] - peak)).sum())
                    slopes.append((-sign if axis == 0 else sign) * turn)
                    masses.append(mass)
        yaw = shape.yaw_rad + (math.atan(sum(slopes) / sum(masses)) if sum(masses) > 0 else 0.0)
        middle = np.array([sum(pair) / 2 for pair in ends])
        half = tuple(max((pair[1] - pair[0]) / 2, SMALLEST_M / 4) for pair in ends)
        centre = np.array(shape.centre_m) + np.array([[c, -s], [s, c]]) @ middle
        shape = Outline("box", (float(centre[0]), float(centre[1])), yaw, (half[0], half[1]), 0.0)
    return shape


def _cylinder(
    xy: Float[ndarray, "N 2"], weights: Float[ndarray, " N"], spreads: Float[ndarray, "N 2 2"], start: Outline
) -> Outline:
    """A circle through the outer crust: Gauss-Newton on centre and radius, narrower bands in turn."""
    centre, radius = np.array(start.centre_m), sum(start.half_m) / 2
    for band_m in BANDS_M:
        away = xy - centre
        reach = np.linalg.norm(away, axis=1)
        outward = away / np.maximum(reach, 1e-9)[:, None]
        reach = reach + _skin_m(spreads, outward)
        held = np.abs(reach - radius) < band_m
        if held.sum() < 6:
            break
        radius += _outer_peak(reach[held] - radius, weights[held])
        on = np.abs(reach - radius) < min(band_m, 2.5e-3)
        if on.sum() < 6:
            break
        root = np.sqrt(weights[on])
        design = np.column_stack([outward[on], np.ones(on.sum())])
        step = np.linalg.lstsq(design * root[:, None], (reach[on] - radius) * root, rcond=None)[0]
        centre = centre + step[:2]
        radius += float(step[2])
    radius = max(radius, SMALLEST_M / 4)
    return Outline("cylinder", (float(centre[0]), float(centre[1])), 0.0, (radius, radius), 0.0)


def _skin_m(
    spreads: Float[ndarray, "N 2 2"], normals: Float[ndarray, "N 2"] | Float[ndarray, " 2"]
) -> Float[ndarray, " N"]:
    """How far outside its centre each Gaussian shows the surface, along the normals."""
    normals = np.broadcast_to(normals, (len(spreads), 2))
    along = np.einsum("ni,nij,nj->n", normals, spreads, normals)
    return SKIN_SIGMAS * np.sqrt(np.clip(along, 0, THICKEST_M**2))


def _outer_peak(values: Float[ndarray, " N"], weights: Float[ndarray, " N"] | None) -> float:
    """Where the density has its outermost (largest) high peak; 0 without values."""
    if not len(values):
        return 0.0
    weights = np.ones(len(values)) if weights is None else weights
    grid = np.arange(values.min() - 2 * KERNEL_M, values.max() + 3 * KERNEL_M, KERNEL_M / 4)
    near = np.exp(-0.5 * ((grid[:, None] - values[None]) / KERNEL_M) ** 2)
    density = near @ weights
    inner = density[1:-1]
    peaks = np.flatnonzero((inner >= density[:-2]) & (inner > density[2:]) & (inner >= OUTER_PEAK * density.max()))
    return float(grid[1 + (peaks[-1] if len(peaks) else int(inner.argmax()))])


def _sticking_out(shape: Outline, xy: Float[ndarray, "N 2"], weights: Float[ndarray, " N"]) -> float:
    return float(weights[shape.outside_m(xy) > STICKING_OUT_M].sum() / weights.sum())


def _explained(shape: Outline, xy: Float[ndarray, "N 2"], weights: Float[ndarray, " N"]) -> float:
    """Weight of the crust within 1 mm of the outline."""
    return float(weights[np.abs(shape.outside_m(xy)) < 1e-3].sum())


def _quantile(values: Float[ndarray, " N"], weights: Float[ndarray, " N"], share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(np.interp(share * total[-1], total, values[order]))
