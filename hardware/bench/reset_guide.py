# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The bench's own guide to its resets: the starts that it will draw, seen by its front camera, whose pose it knows."""

from __future__ import annotations

import mujoco
import numpy as np

from hardware.bench import workcell
from hardware.bench.live_camera import camera_model
from hardware.bench.plant_config import PlantConfig
from hardware.bench.props import Prop
from hardware.bench.scene import TABLE_Z_M
from hardware.page.ghost import Guide
from hardware.spatial import Pose

CAMERA = "cam_front"
SAMPLES = 12
"""Along each side of a picture."""
OPTICAL = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's camera looks along −z with y up."""


def guide(config: PlantConfig, seed: int, episodes: int) -> Guide:
    """Of the episodes that a run with this seed resets to."""
    cell = workcell.build(config)
    thing = cell.things[0]
    starts = [
        cell.task.layout.draw(config.starts, np.random.default_rng([config.seed, seed + episode]))
        for episode in range(episodes)
    ]
    return Guide(
        object_name=thing.name,
        size_m=thing.size_m,
        centre_z_m=TABLE_Z_M + thing.size_m[2] / 2,
        camera=CAMERA,
        intrinsics=camera_model(CAMERA, config.cameras[CAMERA]),
        T_base_cam=tuple(tuple(row) for row in front_camera(cell).matrix.tolist()),
        starts=tuple(starts),
        colours=colours(thing),
    )


def colours(thing: Prop) -> tuple[tuple[int, int, int], ...]:
    """Samples of its surfaces' pictures, in even steps; the cell's light is not in them."""
    found = []
    for part in thing.parts:
        step = max(1, min(part.picture.shape[:2]) // SAMPLES)
        found += part.picture[::step, ::step].reshape(-1, 3).tolist()
    return tuple((red, green, blue) for red, green, blue in found)


def front_camera(cell: workcell.Workcell) -> Pose:
    """T_base_cam of the optical frame."""
    data = mujoco.MjData(cell.model)
    mujoco.mj_forward(cell.model, data)
    camera = cell.model.camera(workcell.camera_name(CAMERA, cell.arm)).id
    rotation = data.cam_xmat[camera].reshape(3, 3) @ OPTICAL
    return Pose.from_parts("base", "cam", rotation, data.cam_xpos[camera])
