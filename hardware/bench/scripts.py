"""What to do with the object, by the truth: for each task the steps to grip it and the steps to bring it to its goal.

Tip poses point straight down; the tip's x is the closing direction. Everything in the arm's base frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmModel
from hardware.bench.motion import Step
from hardware.bench.tasks import peg_insertion, pick_place, wiping
from hardware.bench.tasks.start import TaskStart
from hardware.bench.tasks.task import on_table
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec

Truth = Mapping[str, Pose]

ABOVE_M = 0.055
"""How far above the grip the arm comes before it goes down, and goes up after."""


@runtime_checkable
class Script(Protocol):
    """One task as steps. `T_tip_obj` is where the object really is in the gripper."""

    object_name: str

    def grips(self, truth: Truth) -> list[Pose]:
        """T_base_tip with the jaws round the object; any of them will do. The first is preferred."""
        ...

    def nominal_T_tip_obj(self) -> Pose:
        """Where the object is in the tip's frame when the jaws have closed on it."""
        ...

    def deliver(self, truth: Truth, T_tip_obj: Pose, T_base_tip: Pose) -> list[Step]:
        """From the object lifted at `T_base_tip` to the end of the task, the arm's way home left out."""
        ...

    def goal(self, truth: Truth) -> Pose:
        """Where the object has to go next."""
        ...

    def is_done(self, truth: Truth) -> bool:
        """Whether the object is where it belongs, as far as poses tell."""
        ...


@dataclass(frozen=True)
class Grip:
    """How an arm takes hold of an object: the width between the jaws, the tip's height over the object's centre."""

    width_m: float
    height_m: float
    room_m: float = 0.004
    """Between the fixed jaw and the object's side before the gripper closes."""

    def shift_m(self, arm: ArmModel) -> float:
        """Along the tip's x, from the object's centre to the tip."""
        return 0.0 if arm.fixed_jaw_m is None else self.width_m / 2 + self.room_m - arm.fixed_jaw_m

    def T_tip_obj(self, arm: ArmModel, T_base_tip: Pose, T_base_obj: Pose) -> Pose:
        """Once closed: the fixed jaw touches, or the object is centred."""
        T_tip_obj = T_base_tip.inverse() @ T_base_obj
        shift = [0.0 if arm.fixed_jaw_m is None else self.room_m, 0.0, 0.0]
        return Pose.from_parts("tip", T_tip_obj.child, T_tip_obj.rotation, T_tip_obj.translation_m + shift)


def nominal(arm: ArmModel, grip: Grip, name: str) -> Pose:
    """T_tip_obj when all goes as planned."""
    T_base_obj = Pose.identity("base", name)
    return grip.T_tip_obj(arm, square_grips(arm, grip, T_base_obj)[0], T_base_obj)


def tip_down(yaw_rad: float, at_m: Float[ndarray, 3]) -> Pose:
    """T_base_tip with z straight down and x along `yaw_rad` in the table's plane."""
    flip = np.diag([1.0, -1.0, -1.0])
    return Pose.from_parts("base", "tip", rotation_from_rotvec(np.array([0.0, 0.0, yaw_rad])) @ flip, at_m)


def yaw_of(pose: Pose) -> float:
    """Of an upright body: the direction of that horizontal axis of it which is nearest to its x."""
    return math.atan2(pose.rotation[1, 0], pose.rotation[0, 0])


def square_grips(arm: ArmModel, grip: Grip, T_base_obj: Pose, turns: int = 4) -> list[Pose]:
    """Tip poses for a body that looks the same after a part of a turn about its vertical axis."""
    upright = _upright_yaw(T_base_obj) if turns == 4 else yaw_of(T_base_obj)
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


def bearing_turn(T_base_tip: Pose, to_m: Float[ndarray, 3]) -> float:
    """How far the arm turns about its base from where its tip is to there."""
    here = T_base_tip.translation_m
    return math.atan2(to_m[1], to_m[0]) - math.atan2(here[1], here[0])


def tip_for(yaw_rad: float, object_at_m: Float[ndarray, 3], T_tip_obj: Pose) -> Pose:
    """T_base_tip, straight down, that brings the held object's centre there."""
    centre = tip_down(yaw_rad, np.zeros(3)).apply(T_tip_obj.translation_m)
    return tip_down(yaw_rad, object_at_m - centre)


def nearest_turn(yaw_rad: float, to_rad: float, turns: int) -> float:
    """Of the yaws that look the same (`turns` in a whole turn), the one nearest to `to_rad`."""
    step = 2 * math.pi / turns
    return yaw_rad + round((to_rad - yaw_rad) / step) * step


def above(at_m: Float[ndarray, 3], by_m: float) -> Float[ndarray, 3]:
    return at_m + np.array([0.0, 0.0, by_m])


def raised(pose: Pose, by_m: float) -> Pose:
    return Pose.from_parts(pose.parent, pose.child, pose.rotation, above(pose.translation_m, by_m))


def put_down(low: Pose, arm: ArmModel) -> list[Step]:
    """What is held goes over `low` (T_base_tip), straight down and out of the jaws; the arm goes up again."""
    high = raised(low, ABOVE_M)
    return [
        Step("hold", high, 0.0),
        Step("hold", low, 0.0, "straight", 0.6, 0.1),
        Step("release", None, arm.approach_open, wait_s=0.1),
        Step("release", high, arm.approach_open, "straight"),
    ]


class PickPlaceScript:
    """Block into the tray."""

    object_name = "block"

    def __init__(self, arm: ArmModel) -> None:
        self._arm = arm
        self._grip = Grip(
            pick_place.BLOCK_M, -0.003, 0.011
        )  # in the middle of the open jaws: 12 mm off still grips

    def grips(self, truth: Truth) -> list[Pose]:
        return square_grips(self._arm, self._grip, truth[self.object_name])

    def nominal_T_tip_obj(self) -> Pose:
        return nominal(self._arm, self._grip, self.object_name)

    def deliver(self, truth: Truth, T_tip_obj: Pose, T_base_tip: Pose) -> list[Step]:
        tray = truth["tray"].translation_m
        height = pick_place.FLOOR_M + pick_place.BLOCK_M / 2 + 0.004
        yaw = yaw_of(T_base_tip) + bearing_turn(T_base_tip, tray)
        low = tip_for(yaw, above(tray, height), T_tip_obj)
        return put_down(low, self._arm)

    def goal(self, truth: Truth) -> Pose:
        return truth["tray"]

    def is_done(self, truth: Truth) -> bool:
        T_tray_block = truth["tray"].inverse() @ truth[self.object_name]
        x_m, y_m, z_m = np.abs(T_tray_block.translation_m)
        room_m = pick_place.TRAY_HALF_M - pick_place.WALL_M - pick_place.BLOCK_M / 2 + 0.004
        return bool(max(x_m, y_m) < room_m and z_m < pick_place.FLOOR_M + 0.75 * pick_place.BLOCK_M)


class PegScript:
    """Peg into the socket."""

    object_name = "peg"

    def __init__(self, arm: ArmModel) -> None:
        self._arm = arm
        self._grip = Grip(peg_insertion.PEG_M[0], 0.008, 0.0035)

    def grips(self, truth: Truth) -> list[Pose]:
        return square_grips(self._arm, self._grip, truth[self.object_name])

    def nominal_T_tip_obj(self) -> Pose:
        return nominal(self._arm, self._grip, self.object_name)

    def deliver(self, truth: Truth, T_tip_obj: Pose, T_base_tip: Pose) -> list[Step]:
        socket = truth["socket"]
        turned = yaw_of(tip_down(0.0, np.zeros(3)) @ T_tip_obj)  # of the peg, with the tip at yaw 0
        wish = yaw_of(T_base_tip) + bearing_turn(T_base_tip, socket.translation_m)
        yaw = nearest_turn(yaw_of(socket) - turned, wish, 4)
        half = peg_insertion.PEG_M[2] / 2
        low = tip_for(yaw, above(socket.translation_m, half + 0.001), T_tip_obj)
        over = raised(low, peg_insertion.SOCKET_HEIGHT_M + 0.006)
        wide = self._arm.approach_open
        return [
            Step("hold", raised(over, 0.025), 0.0),
            Step("hold", over, 0.0, "straight", 0.5, 0.2),
            Step("hold", low, 0.0, "straight", 0.3, 0.1),
            Step("release", None, wide, wait_s=0.1),
            Step("release", raised(low, ABOVE_M), wide, "straight"),
        ]

    def goal(self, truth: Truth) -> Pose:
        return truth["socket"]

    def is_done(self, truth: Truth) -> bool:
        T_socket_peg = truth["socket"].inverse() @ truth[self.object_name]
        x_m, y_m, z_m = T_socket_peg.translation_m
        low = z_m - peg_insertion.PEG_M[2] / 2 < peg_insertion.LEFT_OUT_M
        return bool(max(abs(x_m), abs(y_m)) < 2 * peg_insertion.ROOM_M and low)


class WipingScript:
    """Sponge over the stain, in strokes along its x."""

    object_name = "sponge"
    STROKES_Y_M = (-0.018, 0.018)
    REACH_M = 0.03
    """How far the sponge's centre goes beyond the stain's middle part on either side."""
    PRESS_M = 0.0012

    def __init__(self, arm: ArmModel) -> None:
        self._arm = arm
        self._grip = Grip(wiping.SPONGE_M[0], 0.005)

    def grips(self, truth: Truth) -> list[Pose]:
        T_base_sponge = truth[self.object_name]
        return square_grips(self._arm, self._grip, T_base_sponge, 2)

    def nominal_T_tip_obj(self) -> Pose:
        return nominal(self._arm, self._grip, self.object_name)

    def deliver(self, truth: Truth, T_tip_obj: Pose, T_base_tip: Pose) -> list[Step]:
        stain = truth["stain"]
        wish = yaw_of(T_base_tip) + bearing_turn(T_base_tip, stain.translation_m)
        turned = yaw_of(tip_down(0.0, np.zeros(3)) @ T_tip_obj)
        yaw = nearest_turn(yaw_of(stain) - turned, wish, 2)
        height = wiping.SPONGE_M[2] / 2 - self.PRESS_M
        corners = [stain.apply(np.array([x, y, height])) for x, y in self._corners(truth)]
        ways = [tip_for(yaw, corner, T_tip_obj) for corner in corners]
        wide = self._arm.approach_open
        return [
            Step("hold", raised(ways[0], 0.03), 0.0),
            *(Step("hold", way, 0.0, "straight", 0.6) for way in ways),
            Step("release", None, wide, wait_s=0.1),
            Step("release", raised(ways[-1], ABOVE_M), wide, "straight"),
        ]

    def goal(self, truth: Truth) -> Pose:
        return truth.get("dirt", truth["stain"])

    def is_done(self, truth: Truth) -> bool:
        return "dirt" not in truth

    def _corners(self, truth: Truth) -> list[tuple[float, float]]:
        """There and back along each row that may still be dirty, in the stain's frame."""
        dirt_y_m = (truth["stain"].inverse() @ truth["dirt"]).translation_m[1] if "dirt" in truth else -1.0
        reach_m = wiping.STAIN_HALF_M[0] - wiping.SPONGE_M[0] / 2 + 0.012
        reach_m = max(reach_m, self.REACH_M)
        corners: list[tuple[float, float]] = []
        for y_m in self.STROKES_Y_M:
            if dirt_y_m > y_m + wiping.SPONGE_M[1] / 2 - 0.004:
                continue
            ends = [(-reach_m, y_m), (reach_m, y_m)]
            corners += ends if len(corners) % 4 == 0 else ends[::-1]
        return corners


SCRIPTS: dict[str, Callable[[ArmModel], Script]] = {
    "pick_place": PickPlaceScript,
    "peg_insertion": PegScript,
    "wiping": WipingScript,
}


class PutBackScript:
    """A task undone: the object from wherever it is to a start."""

    AWAY_M, HIGH_M = 0.008, 0.005
    """So near it is there, as seen from above and in its height."""

    def __init__(self, forward: Script, arm: ArmModel, T_base_start: Pose) -> None:
        """`T_base_start`: of the object, as it stands there."""
        self.object_name = forward.object_name
        self._forward, self._arm, self._T_base_start = forward, arm, T_base_start

    def grips(self, truth: Truth) -> list[Pose]:
        return self._forward.grips(truth)

    def nominal_T_tip_obj(self) -> Pose:
        return self._forward.nominal_T_tip_obj()

    def deliver(self, truth: Truth, T_tip_obj: Pose, T_base_tip: Pose) -> list[Step]:
        at_m = self._T_base_start.translation_m
        turned = _upright_yaw(tip_down(0.0, np.zeros(3)) @ T_tip_obj)
        wish = yaw_of(T_base_tip) + bearing_turn(T_base_tip, at_m)
        yaw = nearest_turn(yaw_of(self._T_base_start) - turned, wish, 4)
        low = tip_for(yaw, above(at_m, 0.002), T_tip_obj)
        return put_down(low, self._arm)

    def goal(self, truth: Truth) -> Pose:
        return self._T_base_start

    def is_done(self, truth: Truth) -> bool:
        x_m, y_m, z_m = np.abs(truth[self.object_name].translation_m - self._T_base_start.translation_m)
        return bool(math.hypot(x_m, y_m) < self.AWAY_M and z_m < self.HIGH_M)


@dataclass(frozen=True)
class WayBack:
    """How a task is undone."""

    instruction: str
    height_m: float
    """Of the object, as it stands at a start."""


WAYS_BACK: dict[str, WayBack] = {
    "pick_place": WayBack("take the block out of the blue tray and put it on the table", pick_place.BLOCK_M),
    "peg_insertion": WayBack(
        "pull the red peg out of the socket and stand it on the table", peg_insertion.PEG_M[2]
    ),
}


def way_back(task: str) -> WayBack:
    """Raises `BadInput` where there is none."""
    if task not in WAYS_BACK:
        raise BadInput(f"the task '{task}' has no way back; have: {', '.join(WAYS_BACK)}")
    return WAYS_BACK[task]


def put_back(task: str, arm: ArmModel, start: TaskStart) -> PutBackScript:
    """Raises `BadInput` as `way_back`."""
    forward = SCRIPTS[task](arm)
    T_base_start = on_table(forward.object_name, start, way_back(task).height_m / 2)
    return PutBackScript(forward, arm, T_base_start)
