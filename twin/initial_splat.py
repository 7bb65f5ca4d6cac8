"""Where training starts: a Gaussian on every SfM point, and coloured ones scattered along the photos' rays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import KDTree

from twin.photos import Photo
from twin.posed_images import SparsePoints
from twin.splat import Splat

SH_BASE = 0.28209479177387814  # Y₀₀ = 1 / (2 √π)
NEIGHBOURS = 3  # as 3DGS: a Gaussian reaches to its three nearest neighbours
FIRST_OPACITY = 0.1
FEWEST_POINTS = 50
"""With fewer the scene's depth is guessed from the cameras alone."""


def scene_extent_m(photos: Sequence[Photo], points: SparsePoints | None) -> float:
    """The median depth at which the cameras see the points: the length that step sizes are measured in.

    Without points: the mean distance of the cameras from their centre. Always > 0.
    """
    centres = np.array([np.linalg.inv(photo.T_cam_world)[:3, 3] for photo in photos])
    if points is not None and len(points.xyz) >= FEWEST_POINTS:
        depths = np.concatenate([_depths_m(photo, points.xyz) for photo in photos])
        if len(depths):
            return float(np.median(depths))
    spread = float(np.linalg.norm(centres - centres.mean(0), axis=1).mean())
    return spread if spread > 1e-9 * float(np.abs(centres).max()) else 1.0


def initial_splat(
    photos: Sequence[Photo], points: SparsePoints | None, extent_m: float, scattered: int, rng: np.random.Generator
) -> Splat:
    """One Gaussian per point plus `scattered` ones; SH degree 0."""
    xyz, rgb = _scatter(photos, points, extent_m, scattered, rng)
    if points is not None:
        xyz = np.concatenate([points.xyz, xyz])
        rgb = np.concatenate([points.rgb / 255.0, rgb])
    reach_m = KDTree(xyz).query(xyz, k=min(NEIGHBOURS + 1, len(xyz)))[0].reshape(len(xyz), -1)[:, 1:]
    size_m = np.sqrt((reach_m**2).mean(1)) if reach_m.size else np.full(len(xyz), 0.01 * extent_m)
    size_m = np.clip(size_m, 1e-4 * extent_m, 0.2 * extent_m)
    return Splat(
        means_m=xyz,
        quats_wxyz=np.tile([1.0, 0, 0, 0], (len(xyz), 1)),
        scales_m=np.repeat(size_m[:, None], 3, 1),
        opacities=np.full(len(xyz), FIRST_OPACITY),
        sh=((rgb - 0.5) / SH_BASE)[:, None],
    )


def _scatter(
    photos: Sequence[Photo], points: SparsePoints | None, extent_m: float, count: int, rng: np.random.Generator
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Positions and colours of random pixels, put at random depths from half the extent to beyond the points."""
    far_m = 4 * extent_m
    if points is not None and len(points.xyz) >= FEWEST_POINTS:
        depths = np.concatenate([_depths_m(photo, points.xyz) for photo in photos])
        far_m = max(far_m, 2 * float(np.percentile(depths, 99))) if len(depths) else far_m
    xyz, rgb = np.empty((count, 3)), np.empty((count, 3))
    chosen = rng.integers(len(photos), size=count)
    for index in np.unique(chosen):
        photo, mine = photos[index], np.flatnonzero(chosen == index)
        level = photo.levels[0]
        x = rng.integers(level.camera.width_px, size=len(mine))
        y = rng.integers(level.camera.height_px, size=len(mine))
        depth_m = 1 / rng.uniform(1 / far_m, 2 / extent_m, len(mine))
        rays = level.camera.rays(np.stack([x, y], -1) + 0.5)
        T_world_cam = np.linalg.inv(photo.T_cam_world)
        xyz[mine] = (rays * depth_m[:, None]) @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]
        rgb[mine] = level.rgb[y, x] / 255.0
    return xyz, rgb


def _depths_m(photo: Photo, xyz: Float[ndarray, "N 3"]) -> Float[ndarray, " M"]:
    """Of those points that lie inside the picture."""
    in_camera = xyz @ photo.T_cam_world[:3, :3].T + photo.T_cam_world[:3, 3]
    _, inside = photo.levels[-1].camera.project(in_camera)
    return in_camera[inside, 2]
