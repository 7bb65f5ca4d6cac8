"""The scene that rasterisers are timed on: Gaussians as training leaves them on a table top in a room."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from hardware.camera_model import CameraModel
from twin.camera_path import looking
from twin.splat import Splat

BOXES = 12


def splat(count: int, seed: int = 0, sh_degree: int = 0) -> Splat:
    """Flat Gaussians on a table (half), on boxes upon it and on the walls, of a size that covers the surfaces."""
    rng = np.random.default_rng(seed)
    on_table, on_walls = count // 2, count // 5
    table = np.column_stack([rng.uniform(-0.6, 0.6, (on_table, 2)), rng.normal(0, 1e-3, on_table)])
    angle = rng.uniform(0, 2 * np.pi, on_walls)
    walls = np.column_stack([2 * np.cos(angle), 2 * np.sin(angle), rng.uniform(-0.7, 1.2, on_walls)])
    rest = count - on_table - on_walls
    boxes = box_surfaces(rng, rest)
    area_m2 = np.concatenate([np.full(on_table, 1.44), np.full(on_walls, 24.0), np.full(rest, 0.75)])
    counts = np.concatenate([np.full(on_table, on_table), np.full(on_walls, on_walls), np.full(rest, rest)])
    spacing_m = np.sqrt(area_m2 / counts)
    scales = spacing_m[:, None] * np.exp(rng.normal(-0.3, 0.5, (count, 3))) * np.array([1.0, 0.7, 0.2])
    sh = rng.normal(0, 0.1, (count, (sh_degree + 1) ** 2, 3))
    sh[:, 0] = rng.normal(0, 0.8, (count, 3))
    opacities = 1 / (1 + np.exp(-rng.normal(1.0, 2.0, count)))
    means = np.concatenate([table, walls, boxes])
    return Splat(means, rng.normal(size=(count, 4)), scales, opacities, sh)


def box_surfaces(rng: np.random.Generator, count: int) -> ndarray:
    """Points on the sides and tops of boxes of 5 to 15 cm that stand on the table."""
    centre, half = rng.uniform(-0.45, 0.45, (BOXES, 2)), rng.uniform(0.025, 0.075, (BOXES, 3))
    which, unit = rng.integers(0, BOXES, count), rng.uniform(-1, 1, (count, 3))
    side = rng.integers(0, 3, count)
    unit[np.arange(count), side] = np.where(side == 2, 1.0, np.sign(unit[np.arange(count), side]))
    return np.column_stack([centre, half[:, 2]])[which] + unit * half[which]


def camera(width_px: int, height_px: int) -> CameraModel:
    """A horizontal field of view of 62°."""
    focal_px = width_px / 1.2
    return CameraModel(
        width_px=width_px,
        height_px=height_px,
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=width_px / 2,
        cy_px=height_px / 2,
    )


def T_cam_world(number: int) -> ndarray:
    """View `number` of a round at 0.9 m."""
    angle_rad = 0.7 * number
    eye = np.array([0.8 * np.cos(angle_rad), 0.8 * np.sin(angle_rad), 0.55])
    return np.linalg.inv(looking(eye, np.array([0, 0, 0.03]), np.array([0, 0, 1.0])))
