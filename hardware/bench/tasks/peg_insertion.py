# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Peg insertion: a square peg that stands on the table into the socket, with 2 mm of room on each side."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.random import Generator

from hardware.bench import shapes, textures
from hardware.bench.arm_models import ArmName
from hardware.bench.props import Collider, Part, Prop
from hardware.bench.scene import DRAWN_GROUP
from hardware.bench.tasks.start import StartRegion, TaskStart
from hardware.bench.tasks.task import Layout, Stateless, body_pose, layout_for, on_table, solid_box
from hardware.spatial import Pose

PEG_M = (0.022, 0.022, 0.07)
ROOM_M = 0.002
"""Between peg and socket, on each side."""
SOCKET_HALF_M, SOCKET_HEIGHT_M = 0.042, 0.028
LEFT_OUT_M = 0.006
"""A peg that lacks no more than this of its whole way is in."""
UPRIGHT_RAD = 0.15
GREY = (0.34, 0.35, 0.38, 1.0)
RED = (176, 52, 44)
QUARTER = (-math.pi / 4, math.pi / 4)

LAYOUTS: dict[ArmName, Layout] = {
    "so101": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.17, -0.14), upper_m=(0.23, -0.05), yaw_rad=QUARTER),),
            "ood": (
                StartRegion(name="middle", lower_m=(0.18, -0.04), upper_m=(0.23, 0.03), yaw_rad=QUARTER),
                StartRegion(name="far_right", lower_m=(0.13, -0.18), upper_m=(0.16, -0.12), yaw_rad=QUARTER),
            ),
        },
        goal=TaskStart(x_m=0.185, y_m=0.12, yaw_rad=0.3),
    ),
    "panda": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.38, -0.32), upper_m=(0.54, -0.18), yaw_rad=QUARTER),),
            "ood": (StartRegion(name="near_right", lower_m=(0.28, -0.32), upper_m=(0.36, -0.2), yaw_rad=QUARTER),),
        },
        goal=TaskStart(x_m=0.42, y_m=0.24, yaw_rad=0.3),
    ),
}


class PegInsertion(Stateless):
    """Done when the peg stands in the socket down to its bottom."""

    name = "peg_insertion"
    instruction = "put the red peg into the grey socket"
    object_name = "peg"
    time_limit_s = 25.0

    def __init__(self, arm: ArmName) -> None:
        self.layout = layout_for(arm, LAYOUTS, self.name)
        self._T_base_socket = on_table("socket", self.layout.goal, 0.0)

    def props(self, rng: Generator) -> tuple[Prop, ...]:
        size_px = (96, 96)
        picture = textures.as_rgb(
            np.array(RED, np.float32) * (1 + 0.05 * textures.noise(rng, size_px, (6, 6), 3)[..., None])
        )
        half = (PEG_M[0] / 2, PEG_M[1] / 2, PEG_M[2] / 2)
        parts = (Part(shapes.plain_box(PEG_M), picture, 0.2),)
        return (Prop(self.object_name, PEG_M, parts, (Collider("box", half),), 0.034, (0.3, 0.005, 0.0001)),)

    def add_fixtures(self, world: mujoco.MjSpec) -> None:
        pose = self._T_base_socket
        body = world.worldbody.add_body(name="socket", pos=pose.translation_m, quat=pose.quat_wxyz)
        inner = PEG_M[0] / 2 + ROOM_M
        wall = (SOCKET_HALF_M - inner) / 2
        for side in range(4):
            angle = side * math.pi / 2
            out = inner + wall
            # Each wall covers one corner: together they leave the square hole.
            along = wall
            at = (
                out * math.cos(angle) - along * math.sin(angle),
                out * math.sin(angle) + along * math.cos(angle),
                SOCKET_HEIGHT_M / 2,
            )
            half = (wall, SOCKET_HALF_M - wall, SOCKET_HEIGHT_M / 2)
            geom = solid_box(body, half, at, GREY, DRAWN_GROUP, angle)
            geom.friction = (0.3, 0.005, 0.0001)
        for geom in world.body(self.object_name).geoms:
            geom.priority = 1  # its own low friction counts on the table, the jaws' on the jaws

    def bind(self, model: mujoco.MjModel) -> None:
        self._peg = model.body(self.object_name).id

    def success(self, data: mujoco.MjData) -> bool:
        return self._in_socket(data) and self._height_m(data) < LEFT_OUT_M

    def progress(self, data: mujoco.MjData) -> float:
        """0 … 0.5 on the way to the socket (from 30 cm), 0.5 … 1 on the way down in it."""
        if self._in_socket(data):
            return float(1 - 0.5 * np.clip(self._height_m(data) / SOCKET_HEIGHT_M, 0, 1))
        away_m = np.linalg.norm(data.xpos[self._peg][:2] - self._T_base_socket.translation_m[:2])
        return float(0.5 * np.clip(1 - away_m / 0.3, 0.0, 1.0))

    def landmarks(self) -> dict[str, Pose]:
        return {"socket": self._T_base_socket}

    def _in_socket(self, data: mujoco.MjData) -> bool:
        """Upright over the hole, its foot below the rim."""
        T_socket_peg = self._T_base_socket.inverse() @ body_pose(data, self._peg, self.object_name)
        sideways_m = np.abs(T_socket_peg.translation_m[:2]).max()
        upright = T_socket_peg.rotation[2, 2] > math.cos(UPRIGHT_RAD)
        return bool(sideways_m < 2 * ROOM_M and upright and self._height_m(data) < SOCKET_HEIGHT_M)

    def _height_m(self, data: mujoco.MjData) -> float:
        """Of the peg's foot over the socket's bottom."""
        return float(data.xpos[self._peg][2] - PEG_M[2] / 2 - self._T_base_socket.translation_m[2])
