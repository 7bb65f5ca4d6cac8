"""A twin in, its table out: the plane that things stand on, and the crust of Gaussians that shows it.

A trained splat is a sharp crust of opaque Gaussians with faint ones below it. Its rendered *depth* lies behind the
crust (on our bench by centimetres, on the table); the opaque Gaussians' centres lie near it: to half a millimetre after
a long training, after a short one they hover (on our bench by up to 3 mm, with a lean of 0.3°). The points that SfM
triangulated hover in no training: where the table shows enough of them, they say where it is
(`benchmarks/alignment.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hardware.errors import BadInput
from twin.object_asset import Plane
from twin.posed_images import SparsePoints
from twin.splat import Splat

log = logging.getLogger(__name__)

REACH_M = 0.7
"""The table is looked for this far round the world's origin, …"""
STEP_M = 0.1
"""… and this far above and below it: the board, or the arm's base, stands on it."""
MOST_TILT_DEG = 12.0
OPAQUE = 0.2
BAND_M = 1.5e-3
CELL_M = 0.02
"""Planes are ranked by how many cells of this size they fill: a printed board is dense, a table is wide."""
TRIES = 400
FEWEST_CELLS = 12
TUKEY_M = 2.5e-3
TRIANGULATED = Path("work") / "alignment" / "points.npz"
"""Of a bundle: SfM's points in the twin's world."""
HOVER_M, HOVER_DEG = 8e-3, 2.0
"""The table is looked for this near to its crust, and so level with it."""
LEAST_TRACK, FEWEST_POINTS = 3, 200
LEAST_SHARE = 0.25
"""Of the crust's cells: points on the board alone, or in a corner, say nothing of the table."""


@dataclass(frozen=True)
class Ground:
    """`plane`: where things stand; `crust`: the Gaussians that show it, and what is above them is no table's."""

    plane: Plane
    crust: Plane


def ground(bundle: Path, splat: Splat) -> Ground:
    """Raises `BadInput` where the splat shows no table. Without SfM's points on it, the plane is the crust's."""
    crust, file = fit(splat), bundle / TRIANGULATED
    plane = triangulated(SparsePoints.load(file), crust, splat) if file.is_file() else None
    log.info("the table is where %s are", "SfM's points" if plane else "its Gaussians")
    return Ground(plane or crust, crust)


def triangulated(points: SparsePoints, crust: Plane, splat: Splat) -> Plane | None:
    """The plane of SfM's points near the crust of `splat`; None where too few are on it, or none level with it."""
    xyz = points.xyz[points.track_length >= LEAST_TRACK].astype(np.float64)
    near = (np.linalg.norm(xyz[:, :2], axis=1) < REACH_M) & (np.abs(crust.heights_m(xyz)) < HOVER_M)
    xyz = xyz[near]
    found = _consensus(xyz, np.random.default_rng(0))
    if found is None:
        return None
    _, cell, count = np.unique(_cells(xyz), return_inverse=True, return_counts=True)
    plane = _plane(xyz, *_refined(xyz, 1 / count[cell], *found)).but(source="triangulated")
    level = float(np.array(plane.normal) @ np.array(crust.normal)) > np.cos(np.radians(HOVER_DEG))
    on_it = xyz[np.abs(plane.heights_m(xyz)) < 2 * BAND_M]
    shown = _candidates(splat)[0]
    shown = shown[np.abs(crust.heights_m(shown)) < 2 * BAND_M]
    wide = len(np.unique(_cells(on_it))) >= LEAST_SHARE * len(np.unique(_cells(shown)))
    return plane if level and wide and len(on_it) >= FEWEST_POINTS else None


def fit(splat: Splat, seed: int = 0) -> Plane:
    """The crust, in the splat's world, whose z is up. Raises `BadInput` where no plane fills 12 cells of 2 cm."""
    points, weights = _candidates(splat)
    best = _consensus(points, np.random.default_rng(seed))
    if best is None:
        raise BadInput(
            f"no table within {REACH_M} m of the world's origin: no level plane of opaque Gaussians",
            "the board must lie on the table that the objects stand on; is the twin trained and metric?",
        )
    return _plane(points, *_refined(points, weights, *best))


def _plane(points: Float[ndarray, "N 3"], normal: Float[ndarray, 3], offset_m: float) -> Plane:
    residual = np.abs(points @ normal - offset_m)
    near = residual < 2 * BAND_M
    return Plane(
        normal=(float(normal[0]), float(normal[1]), float(normal[2])),
        offset_m=float(offset_m),
        spread_mm=float(1e3 * np.median(residual[near])) if near.any() else 0.0,
    )


def _candidates(splat: Splat) -> tuple[Float[ndarray, "N 3"], Float[ndarray, " N"]]:
    """Opaque Gaussians near the origin, and their opacities."""
    means = splat.means_m.astype(np.float64)
    near = (np.linalg.norm(means[:, :2], axis=1) < REACH_M) & (np.abs(means[:, 2]) < STEP_M)
    kept = near & (splat.opacities > OPAQUE)
    return means[kept], splat.opacities[kept].astype(np.float64)


def _consensus(points: Float[ndarray, "N 3"], rng: np.random.Generator) -> tuple[Float[ndarray, 3], float] | None:
    """RANSAC: the plane through three points that fills most cells. Every cell is drawn as often, however dense."""
    best, most = None, FEWEST_CELLS - 1
    if len(points) < 3:
        return None
    cell = _cells(points)
    by_cell = np.argsort(cell, kind="stable")
    _, first, count = np.unique(cell[by_cell], return_index=True, return_counts=True)
    drawn = rng.integers(0, len(first), (TRIES, 3))
    for three in by_cell[first[drawn] + rng.integers(0, count[drawn])]:
        normal = np.cross(points[three[1]] - points[three[0]], points[three[2]] - points[three[0]])
        length = np.linalg.norm(normal)
        if length < 1e-9:
            continue
        normal = normal / length * np.sign(normal[2] or 1.0)
        if normal[2] < np.cos(np.radians(MOST_TILT_DEG)):
            continue
        offset_m = float(normal @ points[three[0]])
        filled = len(np.unique(cell[np.abs(points @ normal - offset_m) < BAND_M]))
        if filled > most:
            best, most = (normal, offset_m), filled
    return best


def _cells(points: Float[ndarray, "N 3"]) -> Int[ndarray, " N"]:
    """A number for the cell over which each point lies."""
    cells = np.floor(points[:, :2] / CELL_M).astype(np.int64)
    return (cells[:, 0] + 100_000) * 1_000_000 + cells[:, 1]


def _refined(
    points: Float[ndarray, "N 3"], weights: Float[ndarray, " N"], normal: Float[ndarray, 3], offset_m: float
) -> tuple[Float[ndarray, 3], float]:
    """Least squares of height over x and y, reweighted with Tukey's biweight: what lies off the plane has no say."""
    slope = np.array([-normal[0] / normal[2], -normal[1] / normal[2], offset_m / normal[2]])
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    for _ in range(20):
        residual = points[:, 2] - design @ slope
        share = np.clip(1 - (residual / TUKEY_M) ** 2, 0, None) ** 2 * weights
        root = np.sqrt(share)
        slope = np.linalg.lstsq(design * root[:, None], points[:, 2] * root, rcond=None)[0]
    up = np.array([-slope[0], -slope[1], 1.0])
    return up / np.linalg.norm(up), float(slope[2] / np.linalg.norm(up))
