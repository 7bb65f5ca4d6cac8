"""An object's surface in, the convex pieces that collide for it out: a primitive where one fits, else CoACD's.

What they stick out of the splat's surface is measured on its opaque Gaussians and taken off: of convex pieces whole
(`shrunk`), of primitives face by face (`on_crust`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from hardware.errors import BadInput
from twin.mesh import TriangleMesh, open3d
from twin.object_asset import COLLISION, Convex, ObjectAsset
from twin.object_surface import (
    CRUST_OPACITY,
    SKIN_SIGMAS,
    outside_m,
    outward,
    require_volume,
    signed_volume_m3,
)
from twin.outline import _outer_peak, _quantile
from twin.splat import Splat

PRIMITIVE_FITS_M, FITS_SHARE = 5e-3, 0.9
"""A primitive stands for a surface of which this share lies this near to it: carved edges are that soft."""
SAMPLES = 3000
CONCAVITY, MOST_PIECES = 0.05, 48
"""With 24 pieces the walls of the demo's mug were chords of its round, up to 10 mm thicker than what the cameras see
(95 %: 10.5 mm); with 48, 8.7 mm. Solid things take 1 to 10."""
TRIANGLES = 3000
CRUST_M = 4e-3
FEWEST_ON_A_SIDE = 8
PATCH_M = 6e-3
"""Radius of the patches on which holes are measured: the half of such a patch shows surface, one floater does not."""
OUTER_SHARE = 0.9
"""So much of a side's crust lies within its outer layer, such as the rim of a lid or the lettering's edge."""
FOOT_M = 2e-3
"""Corners of pieces this close above the foot are put on it: an uneven foot rocks."""
LEAST_SHIFT_M = 2e-4
SEEDED = 0


@dataclass(frozen=True, eq=False)
class Collider:
    """Convex pieces in the object's frame. `meshes` are closed: one per piece, primitives as triangles too."""

    pieces: tuple[Convex, ...]
    meshes: tuple[TriangleMesh, ...]

    @property
    def volume_m3(self) -> float:
        return sum(signed_volume_m3(mesh) for mesh in self.meshes)

    def outside_m(self, points: Float[ndarray, "N 3"]) -> Float[ndarray, " N"]:
        """Signed distance to the union, negative inside."""
        return np.min([outside_m(mesh, points) for mesh in self.meshes], axis=0)


@dataclass(frozen=True)
class Fit:
    """Collision surface against the splat's, in mm: how far it sticks out, how far it stays behind."""

    inflation_mm: float
    holes_mm: float


@dataclass(frozen=True, eq=False)
class Crust:
    """Gaussians that show a surface: how far outside a shape each shows it, its weight, and its side (`_sides`)."""

    points: Float[ndarray, "N 3"]
    off_m: Float[ndarray, " N"]
    weights: Float[ndarray, " N"]
    side: Int[ndarray, " N"]

    def of(self, *sides: int) -> Crust:
        own = np.isin(self.side, sides)
        return Crust(self.points[own], self.off_m[own], self.weights[own], self.side[own])


def collider(asset: ObjectAsset, surface: TriangleMesh, splat: Splat) -> Collider:
    """Raises `BadInput` for a surface without volume."""
    require_volume(surface, asset.name)
    shape = primitive(asset, surface)
    return on_crust(shape, splat) if shape is not None else raised(shrunk(decomposed(surface), splat), splat)


def primitive(asset: ObjectAsset, surface: TriangleMesh) -> Collider | None:
    """The outline as a box or cylinder, where the surface agrees."""
    if asset.footprint == "free":
        return None
    half = tuple(side / 2 for side in asset.size_m)
    piece = Convex(kind="box", half_m=half) if asset.footprint == "box" else cylinder_piece(half[0], half[2])
    shape = Collider((piece,), (as_mesh(piece),))
    if not agrees(shape, surface):
        return None
    return shape


def cylinder_piece(radius_m: float, half_height_m: float) -> Convex:
    return Convex(kind="cylinder", half_m=(radius_m, half_height_m))


def agrees(shape: Collider, surface: TriangleMesh) -> bool:
    there = np.abs(shape.outside_m(samples(surface)))
    back = np.abs(outside_m(surface, samples(shape.meshes[0])))
    return bool(max(np.quantile(there, FITS_SHARE), np.quantile(back, FITS_SHARE)) < PRIMITIVE_FITS_M)


def decomposed(surface: TriangleMesh) -> Collider:
    """CoACD (Wei et al. 2022) of the surface with fewer triangles; the pieces' feet are flat."""
    import coacd

    light = surface.simplify_quadric_decimation(TRIANGLES)
    vertices: Any = np.asarray(light.vertices)
    triangles: Any = np.asarray(light.triangles)
    coacd.set_log_level("error")
    parts = coacd.run_coacd(
        coacd.Mesh(vertices, triangles),
        threshold=CONCAVITY,
        max_convex_hull=MOST_PIECES,
        resolution=1000,
        mcts_nodes=12,
        mcts_iterations=30,
        max_ch_vertex=64,
        seed=SEEDED,
    )
    foot_m = float(np.asarray(surface.vertices)[:, 2].min())
    meshes = []
    for corners, _ in parts:
        points = np.array(corners, np.float64)
        points[points[:, 2] < foot_m + FOOT_M, 2] = foot_m
        mesh = hull(points)
        if mesh is not None:
            meshes.append(mesh)
    if not meshes:
        raise BadInput("the convex decomposition is empty", "look at the object's visual.ply")
    return as_collider(meshes)


def as_collider(meshes: Sequence[TriangleMesh]) -> Collider:
    pieces = [Convex(kind="mesh", file=f"{COLLISION}/{number:03d}.obj") for number in range(len(meshes))]
    return Collider(tuple(pieces), tuple(meshes))


def hull(points: Float[ndarray, "N 3"]) -> TriangleMesh | None:
    """Closed and outward; None for what is flat."""
    o3d = open3d()

    try:
        mesh, _ = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points)).compute_convex_hull()
    except RuntimeError:  # qhull's, for flat input
        return None
    return outward(mesh) if abs(signed_volume_m3(mesh)) > 1e-9 else None


def shrunk(shape: Collider, splat: Splat) -> Collider:
    """Without what its pieces stick out of the crust that is near them; the foot stays."""
    crust = _crust(shape, splat)
    near = [layers for number in range(5) if (layers := _layers_m(crust.of(number))) is not None]
    excess_m = max((-densest for densest, _ in near), default=0.0)
    if excess_m < LEAST_SHIFT_M:
        return shape
    foot_m = min(float(np.asarray(mesh.vertices)[:, 2].min()) for mesh in shape.meshes)
    meshes = []
    for mesh in shape.meshes:
        points = np.asarray(mesh.vertices)
        low, high = points.min(0), points.max(0)
        middle, half = (low + high) / 2, (high - low) / 2
        if low[2] < foot_m + 1e-6:
            middle[2], half[2] = low[2], high[2] - low[2]
        factor = np.maximum(half - excess_m, 0.5 * half) / np.maximum(half, 1e-9)
        smaller = hull(middle + (points - middle) * factor)
        if smaller is not None:
            meshes.append(smaller)
    return as_collider(meshes)


def raised(shape: Collider, splat: Splat) -> Collider:
    """Pieces stretched upward from their foot until the top lies on the crust's: carving takes the edge off rims.

    The top of a mug's rim was 2.2 mm above the carved one, of a bottle's cap 3 mm (bench, seed 0).
    """
    shift_m = _shift_m(_crust(shape, splat).of(0))
    heights_m = np.concatenate([np.asarray(mesh.vertices)[:, 2] for mesh in shape.meshes])
    foot_m, high_m = float(heights_m.min()), float(heights_m.max() - heights_m.min())
    if shift_m < LEAST_SHIFT_M:
        return shape
    meshes = []
    for mesh in shape.meshes:
        points = np.asarray(mesh.vertices).copy()
        points[:, 2] = foot_m + (points[:, 2] - foot_m) * (1 + shift_m / high_m)
        taller = hull(points)
        assert taller is not None
        meshes.append(taller)
    return as_collider(meshes)


def on_crust(shape: Collider, splat: Splat) -> Collider:
    """A primitive whose faces lie midway between the densest and the outer layer of the crust; the foot stays.

    What lies outside and what stays behind are then alike: a lid 2 mm below its rim costs 1 mm of either. On the
    bench (seed 0) the heights of five boxes came within 0.2 mm of the truth; the outlines' were up to 0.8 mm off.
    """
    (piece,) = shape.pieces
    crust = _crust(shape, splat)
    if piece.kind == "box":
        top, right, left, back, front = (_shift_m(crust.of(number)) for number in range(5))
        x, y, z = piece.half_m
        moved = Convex(
            kind="box",
            half_m=(x + (right + left) / 2, y + (back + front) / 2, z + top / 2),
            at_m=((right - left) / 2, (back - front) / 2, top / 2),
        )
    else:
        top, out = _shift_m(crust.of(0)), _shift_m(crust.of(1, 2, 3, 4))
        radius, z = piece.half_m
        moved = Convex(kind="cylinder", half_m=(radius + out, z + top / 2), at_m=(0.0, 0.0, top / 2))
    return Collider((moved,), (as_mesh(moved),))


def _shift_m(side: Crust) -> float:
    """How far outward a face goes; 0 where too little of the crust is its own."""
    layers = _layers_m(side)
    return 0.0 if layers is None else sum(layers) / 2


def _layers_m(side: Crust) -> tuple[float, float] | None:
    """(densest, outer) layer near the shape, as distances off it; None for too few Gaussians."""
    held = np.abs(side.off_m) < CRUST_M
    if held.sum() < FEWEST_ON_A_SIDE:
        return None
    off_m, weights = side.off_m[held], side.weights[held]
    densest = _outer_peak(off_m, weights)
    return densest, max(densest, _quantile(off_m, weights, OUTER_SHARE))


def fit(shape: Collider, splat: Splat) -> Fit:
    """On the opaque Gaussians, side by side (top and four flanks): where each side's crust lies off the pieces.

    Inflation is over a side's densest layer, however deep that lies; holes are below its outer layer, and below the
    surface of any patch of it, however far that is from the pieces.
    """
    crust = _crust(shape, splat)
    sides = [crust.of(number) for number in range(5)]
    depths_m = [-densest for side in sides if (densest := _densest_m(side)) is not None]
    if not depths_m:
        raise BadInput(
            "no opaque Gaussians on the object's surface: nothing to measure the collision shape against"
        )
    outer_m = [layers[1] for side in sides if (layers := _layers_m(side)) is not None]
    holes_m = max(0.0, _deepest_patch_m(crust), *outer_m)
    return Fit(inflation_mm=1e3 * max(0.0, *depths_m), holes_mm=1e3 * holes_m)


def _densest_m(side: Crust) -> float | None:
    """Its densest layer near the shape; where too little of it is near, of all that the side has."""
    layers = _layers_m(side)
    if layers is not None:
        return layers[0]
    return _outer_peak(side.off_m, side.weights) if len(side.off_m) >= FEWEST_ON_A_SIDE else None


def _deepest_patch_m(crust: Crust) -> float:
    """The largest median distance outside the shape of the Gaussians round one of them."""
    outside = crust.points[crust.off_m > 0]
    around = KDTree(crust.points).query_ball_point(outside, PATCH_M) if len(outside) else ()
    patches = [patch for patch in around if len(patch) >= FEWEST_ON_A_SIDE]
    return max((_quantile(crust.off_m[patch], crust.weights[patch], 0.5) for patch in patches), default=0.0)


def _crust(shape: Collider, splat: Splat) -> Crust:
    """The opaque Gaussians, clear of the table at the foot."""
    means = splat.means_m.astype(np.float64)
    foot_m = min(float(np.asarray(mesh.vertices)[:, 2].min()) for mesh in shape.meshes)
    opaque = (splat.opacities > CRUST_OPACITY) & (means[:, 2] > foot_m + 5e-3)
    points, weights = means[opaque], splat.opacities[opaque].astype(np.float64)
    off_m = shape.outside_m(points) + SKIN_SIGMAS * np.minimum(splat.scales_m[opaque].min(1), 1.5e-3)
    return Crust(points, off_m, weights, _sides(shape, points))


def _sides(shape: Collider, points: Float[ndarray, "N 3"]) -> Int[ndarray, " N"]:
    """0 the top, 1 … 4 the flanks: by which face of the bounding box is nearest."""
    corners = np.concatenate([np.asarray(mesh.vertices) for mesh in shape.meshes])
    low, high = corners.min(0), corners.max(0)
    gaps = np.stack(
        [
            high[2] - points[:, 2],
            high[0] - points[:, 0],
            points[:, 0] - low[0],
            high[1] - points[:, 1],
            points[:, 1] - low[1],
        ]
    )
    return np.abs(gaps).argmin(0)


def samples(mesh: TriangleMesh) -> Float[ndarray, "N 3"]:
    open3d().utility.random.seed(SEEDED)
    return np.asarray(mesh.sample_points_uniformly(SAMPLES).points)


def as_mesh(piece: Convex) -> TriangleMesh:
    """A primitive as closed triangles, in the object's frame."""
    o3d = open3d()

    if piece.kind == "box":
        x, y, z = (2 * half for half in piece.half_m)
        mesh = o3d.geometry.TriangleMesh.create_box(x, y, z)
        mesh.translate((-x / 2, -y / 2, -z / 2))
    elif piece.kind == "cylinder":
        mesh = o3d.geometry.TriangleMesh.create_cylinder(piece.half_m[0], 2 * piece.half_m[1], 48, 4)
    else:
        raise ValueError("a mesh is a mesh already")
    c, s = math.cos(piece.yaw_rad), math.sin(piece.yaw_rad)
    mesh.rotate(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), (0, 0, 0))
    mesh.translate(piece.at_m)
    return outward(mesh)


def write(folder: Path, shape: Collider) -> None:
    """The mesh pieces as .obj files in an object's folder."""
    for piece, mesh in zip(shape.pieces, shape.meshes, strict=True):
        if piece.file is None:
            continue
        file = folder / piece.file
        file.parent.mkdir(exist_ok=True)
        rows = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in np.asarray(mesh.vertices)]
        rows += [f"f {a} {b} {c}" for a, b, c in np.asarray(mesh.triangles) + 1]
        file.write_text("\n".join(rows) + "\n", encoding="ascii")
