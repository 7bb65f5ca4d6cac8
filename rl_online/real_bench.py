"""What the bench knows of itself for a guided run: how its front camera stands, and the colours of the object."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware.bench import reset_guide
from hardware.bench.plant import Plant
from hardware.bench.plant_config import LiveCamera, PlantConfig
from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from hardware.page.silhouette import outline, standing
from hardware.spatial import Pose
from rl_online.real_config import Colours

SAMPLES = 600
VIEWS = 4
"""Starts at which the object is looked at, so that its sides are all seen in the light."""


def plant_of(cell: CellConfig) -> PlantConfig:
    """The plant that this cell's processes will run, seen by its own cameras."""
    if cell.bench is None or not isinstance(cell.arm, BenchArm):
        raise BadInput(f"'{cell.name}' is no bench", "--guide and --colours say what its camera sees")
    camera = cell.cameras[reset_guide.CAMERA]
    live = LiveCamera(width_px=camera.width_px, height_px=camera.height_px)
    return PlantConfig(
        task=cell.bench.task, arm_model=cell.arm.model, seed=cell.bench.seed, cameras={reset_guide.CAMERA: live}
    )


def look(config: PlantConfig) -> tuple[Guide, Colours]:
    """The guide, and the object's colours where it stands at a few known starts."""
    guide = reset_guide.guide(config, 0, VIEWS)
    plant = Plant(config)
    try:
        pixels = [
            inside(guide, start, _seen(plant, start))
            for start in (plant.draw_start("ood" if number % 2 else "id", number) for number in range(VIEWS))
        ]
    finally:
        plant.close()
    every = np.concatenate(pixels)
    chosen = every[np.random.default_rng(0).permutation(len(every))[:SAMPLES]]
    return guide, Colours(rgb=tuple((int(r), int(g), int(b)) for r, g, b in chosen))


def inside(guide: Guide, start: TaskStart, rgb: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "N 3"]:
    """The pixels well within the object's silhouette."""
    eye = Pose("base", "cam", np.array(guide.T_base_cam))
    line = outline(guide.intrinsics, eye, standing(start, guide.centre_z_m), np.array(guide.size_m))
    if line is None:
        return np.zeros((0, 3), np.uint8)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(line).astype(np.int32), 1)
    return rgb[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0]


def _seen(plant: Plant, start: TaskStart) -> UInt8[ndarray, "H W 3"]:
    plant.reset(start)
    return plant.glance(reset_guide.CAMERA)
