"""What to do with the object, by the truth: for each task the steps to grip it and the steps to bring it to its goal.

Tip poses point straight down; the tip's x is the closing direction. Everything in the arm's base frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmModel
from hardware.bench.motion import Step
from hardware.bench.tasks import pick_place
from hardware.spatial import Pose, rotation_from_rotvec

Truth = Mapping[str, Pose]

ABOVE_M = 0.055
"""How far above the grip the arm comes before it goes down, and goes up after."""
JAW_ROOM_M = 0.004
"""Between the fixed jaw and the object's side before the gripper closes."""


class Script(Protocol):
    """One task as steps. `T_tip_obj` is where the object really is in the gripper."""

    object_name: str

    def grips(self, truth: Truth) -> list[Pose]:
        """T_base_tip with the jaws round the object; any of them will do. The first is preferred."""
        ...

    def nominal_T_tip_obj(self) -> Pose:
        """Where the object is in the tip's frame when the jaws have closed on it."""
        ...

    def deliver(self, truth: Truth, T_tip_obj: Pose) -> list[Step]:
        """From the lifted object to the end of the task, the arm's way home left out."""
        ...

    def is_done(self, truth: Truth) -> bool:
        """Whether the object is where it belongs, as far as poses tell."""
        ...


@dataclass(frozen=True)
class Grip:
    """How an arm takes hold of an object: the width between the jaws, the tip's height over the object's centre."""

    width_m: float
    height_m: float

    def shift_m(self, arm: ArmModel) -> float:
        """Along the tip's x, from the object's centre to the tip."""
        return 0.0 if arm.fixed_jaw_m is None else self.width_m / 2 + JAW_ROOM_M - arm.fixed_jaw_m

    def T_tip_obj(self, arm: ArmModel, T_base_tip: Pose, T_base_obj: Pose) -> Pose:
        """Once closed: the fixed jaw touches, or the object is centred."""
        T_tip_obj = T_base_tip.inverse() @ T_base_obj
        shift = [0.0 if arm.fixed_jaw_m is None else JAW_ROOM_M, 0.0, 0.0]
        return Pose.from_parts("tip", T_tip_obj.child, T_tip_obj.rotation, T_tip_obj.translation_m + shift)


def tip_down(yaw_rad: float, at_m: Float[ndarray, 3]) -> Pose:
    """T_base_tip with z straight down and x along `yaw_rad` in the table's plane."""
    flip = np.diag([1.0, -1.0, -1.0])
    return Pose.from_parts("base", "tip", rotation_from_rotvec(np.array([0.0, 0.0, yaw_rad])) @ flip, at_m)


def yaw_of(pose: Pose) -> float:
    """Of an upright body: the direction of that horizontal axis of it which is nearest to its x."""
    return math.atan2(pose.rotation[1, 0], pose.rotation[0, 0])


def square_grips(arm: ArmModel, grip: Grip, T_base_obj: Pose, turns: int = 4) -> list[Pose]:
    """Tip poses for a body that looks the same after a part of a turn about its vertical axis."""
    upright = _upright_yaw(T_base_obj)
    poses = []
    for turn in range(turns):
        yaw = upright + turn * 2 * math.pi / turns
        along = np.array([math.cos(yaw), math.sin(yaw), 0.0])
        up = np.array([0.0, 0.0, grip.height_m])
        poses.append(tip_down(yaw, T_base_obj.translation_m + grip.shift_m(arm) * along + up))
    return poses


def _upright_yaw(T_base_obj: Pose) -> float:
    """Of a box that may stand on any of its sides: the direction of an axis that lies flat."""
    rotation = T_base_obj.rotation
    flat = int(np.argmin(np.abs(rotation[2])))
    return math.atan2(rotation[1, flat], rotation[0, flat])


def raised(pose: Pose, by_m: float) -> Pose:
    return Pose.from_parts(pose.parent, pose.child, pose.rotation, pose.translation_m + np.array([0.0, 0.0, by_m]))


class PickPlaceScript:
    """Block into the tray."""

    object_name = "block"

    def __init__(self, arm: ArmModel) -> None:
        self._arm = arm
        self._grip = Grip(pick_place.BLOCK_M, -0.003)

    def grips(self, truth: Truth) -> list[Pose]:
        return square_grips(self._arm, self._grip, truth[self.object_name])

    def nominal_T_tip_obj(self) -> Pose:
        T_base_obj = Pose.identity("base", self.object_name)
        return self._grip.T_tip_obj(self._arm, square_grips(self._arm, self._grip, T_base_obj)[0], T_base_obj)

    def deliver(self, truth: Truth, T_tip_obj: Pose) -> list[Step]:
        tray = truth["tray"].translation_m
        yaw = math.atan2(tray[1], tray[0])
        over = tip_down(yaw, tray) @ T_tip_obj
        shift = tray[:2] - over.translation_m[:2]
        lowest = tray[2] + pick_place.FLOOR_M + pick_place.BLOCK_M / 2 + 0.004
        height = lowest - (over.translation_m[2] - tray[2])
        low = tip_down(yaw, np.array([*(tray[:2] + shift), height]))
        high = raised(low, ABOVE_M)
        open_again = self._arm.approach_open
        return [
            Step("hold", high, 0.0),
            Step("hold", low, 0.0, "straight", 0.6, 0.1),
            Step("release", None, open_again, wait_s=0.1),
            Step("release", high, open_again, "straight"),
        ]

    def is_done(self, truth: Truth) -> bool:
        T_tray_block = truth["tray"].inverse() @ truth[self.object_name]
        x_m, y_m, z_m = np.abs(T_tray_block.translation_m)
        room_m = pick_place.TRAY_HALF_M - pick_place.WALL_M - pick_place.BLOCK_M / 2 + 0.004
        return bool(max(x_m, y_m) < room_m and z_m < pick_place.FLOOR_M + 0.75 * pick_place.BLOCK_M)


SCRIPTS: dict[str, Callable[[ArmModel], Script]] = {"pick_place": PickPlaceScript}
