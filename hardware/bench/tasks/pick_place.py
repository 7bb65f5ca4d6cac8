# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Pick-and-place: a wooden block from anywhere in the start regions into the tray."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.random import Generator

from hardware.bench import props
from hardware.bench.arm_models import ArmName
from hardware.bench.props import Prop
from hardware.bench.scene import ARM_PREFIX, DRAWN_GROUP
from hardware.bench.tasks.start import StartRegion, TaskStart
from hardware.bench.tasks.task import (
    Layout,
    Stateless,
    arm_geoms,
    body_pose,
    geoms_of,
    layout_for,
    on_table,
    solid_box,
    touches,
)
from hardware.spatial import Pose

BLOCK_M = 0.032
TRAY_HALF_M = 0.05
WALL_M, RIM_M, FLOOR_M = 0.004, 0.014, 0.003
BLUE = (0.16, 0.33, 0.62, 1.0)
QUARTER = (-math.pi / 4, math.pi / 4)

LAYOUTS: dict[ArmName, Layout] = {
    "so101": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.17, -0.15), upper_m=(0.25, -0.05), yaw_rad=QUARTER),),
            "ood": (
                StartRegion(name="middle", lower_m=(0.17, -0.04), upper_m=(0.25, 0.04), yaw_rad=QUARTER),
                StartRegion(name="far_right", lower_m=(0.12, -0.19), upper_m=(0.16, -0.12), yaw_rad=QUARTER),
            ),
        },
        goal=TaskStart(x_m=0.185, y_m=0.13, yaw_rad=0.3),
    ),
    "panda": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.38, -0.32), upper_m=(0.54, -0.18), yaw_rad=QUARTER),),
            "ood": (
                StartRegion(name="near_right", lower_m=(0.26, -0.32), upper_m=(0.36, -0.18), yaw_rad=QUARTER),
                StartRegion(name="far", lower_m=(0.56, -0.1), upper_m=(0.64, 0.04), yaw_rad=QUARTER),
            ),
        },
        goal=TaskStart(x_m=0.42, y_m=0.24, yaw_rad=0.3),
    ),
}


class PickPlace(Stateless):
    """Done when the block lies in the tray, at rest, and the arm has let go of it."""

    name = "pick_place"
    instruction = "put the block into the blue tray"
    object_name = "block"
    time_limit_s = 20.0

    def __init__(self, arm: ArmName) -> None:
        self.layout = layout_for(arm, LAYOUTS, self.name)
        self._T_base_tray = on_table("tray", self.layout.goal, 0.0)

    def props(self, rng: Generator) -> tuple[Prop, ...]:
        return (props.block(rng, self.object_name, BLOCK_M, "T", (72, 138, 84)),)

    def add_fixtures(self, world: mujoco.MjSpec) -> None:
        pose = self._T_base_tray
        tray = world.worldbody.add_body(name="tray", pos=pose.translation_m, quat=pose.quat_wxyz)
        solid_box(tray, (TRAY_HALF_M, TRAY_HALF_M, FLOOR_M / 2), (0.0, 0.0, FLOOR_M / 2), BLUE, DRAWN_GROUP)
        for side in range(4):
            angle = side * math.pi / 2
            out = TRAY_HALF_M - WALL_M / 2
            at = (out * math.cos(angle), out * math.sin(angle), RIM_M / 2)
            solid_box(tray, (WALL_M / 2, TRAY_HALF_M, RIM_M / 2), at, BLUE, DRAWN_GROUP, angle)

    def bind(self, model: mujoco.MjModel) -> None:
        self._block = model.body(self.object_name).id
        self._velocity_at = model.joint(self.object_name).dofadr[0]
        self._block_geoms = geoms_of(model, self._block)
        self._arm_geoms = arm_geoms(model, ARM_PREFIX)

    def success(self, data: mujoco.MjData) -> bool:
        at_rest = np.abs(data.qvel[self._velocity_at : self._velocity_at + 3]).max() < 0.02
        return bool(self._in_tray(data) and at_rest and not touches(data, self._block_geoms, self._arm_geoms))

    def progress(self, data: mujoco.MjData) -> float:
        """0 at 30 cm from the tray's centre or further, 1 in the tray."""
        if self._in_tray(data):
            return 1.0
        away_m = np.linalg.norm(data.xpos[self._block][:2] - self._T_base_tray.translation_m[:2])
        return float(np.clip(1 - away_m / 0.3, 0.0, 0.99))

    def landmarks(self) -> dict[str, Pose]:
        return {"tray": self._T_base_tray}

    def _in_tray(self, data: mujoco.MjData) -> bool:
        """The block's centre is over the tray's floor, no higher than when it stands there on an edge."""
        T_tray_block = self._T_base_tray.inverse() @ body_pose(data, self._block, self.object_name)
        x_m, y_m, z_m = T_tray_block.translation_m
        room_m = TRAY_HALF_M - WALL_M - BLOCK_M / 2 + 0.004
        return bool(max(abs(x_m), abs(y_m)) <= room_m and z_m <= FLOOR_M + 0.75 * BLOCK_M)
