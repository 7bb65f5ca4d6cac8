"""The arm's surface as a scan saw it and as its model has it, in; where the arm's base stands, out, by geometry alone.

Point-to-plane ICP (Chen & Medioni 1992) from what was seen to the model: nobody saw all of the model, but all that was
seen of the arm is on it. Gates narrow, Tukey's biweight leaves out what is no arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.object_asset import Plane
from twin.posed_images import PosedImages, View
from twin.splat import Splat
from twin.surface_depth import surface

GATES_M = (0.05,) * 6 + (0.04,) * 4 + (0.03,) * 4 + (0.02,) * 6 + (0.012,) * 6 + (0.008,) * 8
"""How far from the model a point may lie to have a say, step by step."""
FACING = 0.3
"""Cosine between the two normals of a pair, at least."""
MOST_POINTS = 12_000
ABOVE_TABLE_M = 6e-3
EDGE_SHARE = 0.02
"""Relative jump of depth over two pixels at an edge, where there is no surface."""
MOST_VIEWS, PICTURE_PX = 16, 220
MARGIN_M = 0.06
"""How far beyond the arm, as it is guessed, its surface is looked for."""
FEWEST = 300
NEAR_M = 3e-3
"""A point of the model that has a seen one this near is explained."""
LEAST_EXPLAINED = 0.2
"""Of the model's points, hidden ones too. On the bench 0.39 at the true place."""
SHIFTS_M = ((0.0, 0.0, 0.0), (0, 0, 0.02), (0, 0, -0.02), (0.02, 0, 0), (-0.02, 0, 0), (0, 0.02, 0), (0, -0.02, 0))
"""ICP starts there from a guess; whichever explains most of the model wins."""
FREE, STANDING = np.eye(6), np.eye(6)[:, [0, 1, 5]]
"""Twists [v, ω] in the base's frame that a descent may take: all; those that leave it on the plane it stands on."""


@dataclass(frozen=True, eq=False)
class Points:
    """A surface as points with unit normals, and which view each was seen in (0 for a model)."""

    xyz: Float[ndarray, "N 3"]
    normals: Float[ndarray, "N 3"]
    view: Int[ndarray, " N"]

    def select(self, index: ndarray) -> Points:
        return Points(self.xyz[index], self.normals[index], self.view[index])


@dataclass(frozen=True, eq=False)
class Fit:
    """`residual_m` is the median distance of the matched points from the model's surface."""

    T_world_base: Float[ndarray, "4 4"]
    matched: int
    residual_m: float
    explained: float
    """Share of the model that a seen point lies on."""


def seen_surface(splat: Splat, posed: PosedImages, table: Plane, guessed: Float[ndarray, "N 3"]) -> Points:
    """What the scan's cameras see round the arm as it is guessed to stand, in the world.

    Raises `BadInput` where no camera sees that place, or nothing stands there.
    """
    low, high = guessed.min(0) - MARGIN_M, guessed.max(0) + MARGIN_M
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, 3)
    views = sighted(posed, corners)
    found = [_seen(splat, posed, view, corners) for view in views]
    points = Points(
        np.concatenate([xyz for xyz, _ in found]),
        np.concatenate([normals for _, normals in found]),
        np.concatenate([np.full(len(xyz), number) for number, (xyz, _) in enumerate(found)]),
    )
    inside = ((points.xyz > low) & (points.xyz < high)).all(1) & (table.heights_m(points.xyz) > ABOVE_TABLE_M)
    if inside.sum() < FEWEST:
        raise _no_overlap(f"only {inside.sum()} points of a surface lie where the arm should be")
    chosen = np.flatnonzero(inside)
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
    return points.select(chosen)


def sighted(posed: PosedImages, points: Float[ndarray, "N 3"], most: int = MOST_VIEWS) -> list[View]:
    """Training views with most of the points in the picture, spread over the capture."""
    views = []
    for view in posed.training:
        inside = posed.cameras[view.camera].project(view.pose.inverse().apply(points))[1]
        if inside.mean() > 0.6:
            views.append(view)
    if not views:
        raise _no_overlap("no camera of the scan looks at where the arm should be")
    return [views[i] for i in np.unique(np.linspace(0, len(views) - 1, most).round().astype(int))]


def close_up(
    camera: CameraModel, T_cam_world: Float[ndarray, "4 4"], points: Float[ndarray, "N 3"], long_side_px: int
) -> CameraModel:
    """The camera without its lens's distortion, cropped to the points and scaled to that size."""
    lens = camera.pinhole()
    in_cam = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    in_cam = in_cam[in_cam[:, 2] > 0.05]
    pixels = in_cam[:, :2] / in_cam[:, 2:] * [lens.fx_px, lens.fy_px] + [lens.cx_px, lens.cy_px]
    low = np.clip(pixels.min(0) - 8, 0, [lens.width_px - 2, lens.height_px - 2])
    high = np.clip(pixels.max(0) + 8, low + 2, [lens.width_px, lens.height_px])
    zoom = min(long_side_px / float((high - low).max()), 2.0)
    size = np.ceil((high - low) * zoom).astype(int)
    return CameraModel(
        width_px=int(size[0]),
        height_px=int(size[1]),
        fx_px=lens.fx_px * zoom,
        fy_px=lens.fy_px * zoom,
        cx_px=(lens.cx_px - low[0]) * zoom,
        cy_px=(lens.cy_px - low[1]) * zoom,
    )


def _seen(
    splat: Splat, posed: PosedImages, view: View, corners: Float[ndarray, "8 3"]
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """One view's surface points with their normals, edges left out."""
    T_cam_world = np.linalg.inv(np.array(view.T_world_cam))
    camera = close_up(posed.cameras[view.camera], T_cam_world, corners, PICTURE_PX)
    z = surface(splat, camera, T_cam_world).depth_m.astype(np.float64)
    v, u = np.mgrid[: camera.height_px, : camera.width_px] + 0.5
    points = np.stack([(u - camera.cx_px) / camera.fx_px * z, (v - camera.cy_px) / camera.fy_px * z, z], -1)
    across, down = np.zeros_like(points), np.zeros_like(points)
    across[:, 1:-1], down[1:-1] = points[:, 2:] - points[:, :-2], points[2:] - points[:-2]
    normals = np.cross(across, down)
    length = np.linalg.norm(normals, axis=-1)
    normals *= -np.sign((normals * points).sum(-1) / np.maximum(length, 1e-15))[..., None]
    smooth = (np.abs(across[..., 2]) < EDGE_SHARE * z) & (np.abs(down[..., 2]) < EDGE_SHARE * z)
    kept = (z > 0) & smooth & (length > 0)
    turn, shift = T_cam_world[:3, :3], T_cam_world[:3, 3]
    return (points[kept] - shift) @ turn, (normals[kept] / length[kept][:, None]) @ turn


def align(
    seen: Points, model: Points, T_world_base: Float[ndarray, "4 4"], freedom: Float[ndarray, "6 K"] = FREE
) -> Fit:
    """From a guess within some 30 mm and 5°; the model is in the base frame. Raises `BadInput` without overlap."""
    tree = KDTree(model.xyz)
    fits = []
    may = T_world_base[:3, :3] @ freedom[:3] @ freedom[:3].T @ T_world_base[:3, :3].T
    shifts = np.unique(np.round(np.array(SHIFTS_M) @ may, 6), axis=0)  # those that leave the plane are none
    for shift in shifts:
        start = T_world_base.copy()
        start[:3, 3] += shift
        fits.append(descend(seen, model, tree, start, freedom=freedom))
    best = max(fits, key=lambda fit: fit.explained)
    if best.matched < FEWEST or best.explained < LEAST_EXPLAINED:
        raise _no_overlap(f"the scan's surface explains {100 * best.explained:.0f} % of the arm")
    return best


def descend(
    seen: Points,
    model: Points,
    tree: KDTree,
    T_world_base: Float[ndarray, "4 4"],
    gates_m: Sequence[float] = GATES_M,
    freedom: Float[ndarray, "6 K"] = FREE,
) -> Fit:
    """One descent from one start, along the twists that the columns of `freedom` span."""
    T, matched, residual_m = T_world_base.copy(), 0, np.inf
    for gate_m in gates_m:
        T_base_world = np.linalg.inv(T)
        xyz = seen.xyz @ T_base_world[:3, :3].T + T_base_world[:3, 3]
        facing = seen.normals @ T_base_world[:3, :3].T
        distance, nearest = tree.query(xyz, distance_upper_bound=gate_m)
        near = np.flatnonzero(np.isfinite(distance))
        nearest = np.asarray(nearest)
        near = near[(model.normals[nearest[near]] * facing[near]).sum(1) > FACING]
        if len(near) < FEWEST // 10:
            break
        x, p, n = xyz[near], model.xyz[nearest[near]], model.normals[nearest[near]]
        off_m = ((x - p) * n).sum(1)
        reach_m = min(4 * max(1e-3, 1.4826 * float(np.median(np.abs(off_m)))), gate_m)
        weight = np.clip(1 - (off_m / reach_m) ** 2, 0, None) ** 2
        design = np.column_stack([n, np.cross(x, n)]) @ freedom
        normal = design.T @ (design * weight[:, None]) + len(x) * 1e-9 * np.eye(design.shape[1])
        step = freedom @ np.linalg.solve(normal, -design.T @ (weight * off_m))
        T = T @ np.linalg.inv(Pose.exp("base", "base", step).matrix)
        matched, residual_m = len(near), float(np.median(np.abs(off_m)))
    return Fit(T, matched, residual_m, explained(seen, model, T))


def explained(seen: Points, model: Points, T_world_base: Float[ndarray, "4 4"]) -> float:
    """Share of the model's points with a seen one nearby."""
    placed = model.xyz[::4] @ T_world_base[:3, :3].T + T_world_base[:3, 3]
    distance, _ = KDTree(seen.xyz).query(placed, distance_upper_bound=NEAR_M)
    return float(np.isfinite(distance).mean())


def spread(
    seen: Points, model: Points, fit: Fit, freedom: Float[ndarray, "6 K"] = FREE, rounds: int = 12
) -> tuple[float, float]:
    """(metres, radians) by which the answer varies when views are drawn with replacement: one standard deviation."""
    rng, tree = np.random.default_rng(0), KDTree(model.xyz)
    views = np.unique(seen.view)
    of_view = {view: np.flatnonzero(seen.view == view) for view in views}
    moves = []
    for _ in range(rounds):
        drawn = np.concatenate([of_view[view] for view in rng.choice(views, len(views))])
        again = descend(seen.select(drawn[::3]), model, tree, fit.T_world_base, GATES_M[-5:], freedom)
        moves.append(Pose("base", "base", np.linalg.inv(fit.T_world_base) @ again.T_world_base).log())
    deviation = np.std(np.array(moves), axis=0)
    return float(np.linalg.norm(deviation[:3])), float(np.linalg.norm(deviation[3:]))


def _no_overlap(found: str) -> BadInput:
    return BadInput(
        f"the scan does not overlap with the robot: {found}",
        "is the arm in the photos, are the joint angles those of the scan, and is the guess within 30 mm and 5°?",
    )
