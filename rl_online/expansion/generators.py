"""Where an object stands in; what the arm should do about it out: the two ways to make twin demonstrations.

`plan` (TwinRL's generator a, arXiv 2602.09023): grasps from the object's geometry, a motion plan between
T_obj · T_grasp and T_target · T_grasp. `warp` (generator b): a person's demonstration bent to the new place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator as Dialogue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmModel
from hardware.kinematics import Kinematics
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion import warp
from rl_online.worlds.world import Moment, pose_columns, pose_of, pose_values

log = logging.getLogger(__name__)

GeneratorName = Literal["plan", "warp"]
LETTING_GO_S = 0.3
PUSHED_M = 0.001
BACK_M_S = 0.15
"""How fast the tool comes back over the object."""
TURN_M = 0.2
"""A radian of the wrist bends as much as this way: a demonstration from afar is better than one that grips otherwise,
for two grips of what looks the same teach the one between them."""
BESIDE_M = (0.028, 0.038)
"""How far beside the object a try that misses grips."""


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of an episode."""

    actions: Float[ndarray, "T D"]
    """Joint targets in rad and the gripper's opening, at the world's rate."""
    is_shown: bool = True
    """False: it happens, and is no part of the demonstration that comes of it."""


Parts = Dialogue[Part, Moment, None]
"""Yields parts, is sent what came of them."""


@runtime_checkable
class Generator(Protocol):
    """Makes demonstrations for one world."""

    def demo_for(self, now: Moment) -> int | None:
        """The demonstration that an episode from here is made of; None: of none."""
        ...

    def parts(self, now: Moment, rng: np.random.Generator) -> Parts:
        """One episode, part by part. Raises `Unreachable` or `NoWay` where it finds nothing to do."""
        ...


class WarpGenerator:
    """The demonstration that needs the least bending, bent.

    `misses` of the episodes first grip beside the object, look again and grip it (ours): whoever only saw grips that
    held stands with closed jaws for ever after one that did not. Their demonstrations begin with the jaws closed on
    nothing, so that coming back is taught and missing is not.
    """

    def __init__(
        self,
        paths: Sequence[warp.ToolPath],
        object_name: str,
        kinematics: Kinematics,
        arm: ArmModel,
        rate_hz: float,
        misses: float = 0.0,
        turns: int = 1,
    ) -> None:
        """`turns`: an object that looks the same after this part of a turn about the vertical may be gripped so."""
        self.paths, self.object_name = paths, object_name
        self._usable, self._misses, self._turns = clean(paths), misses, turns
        self._kinematics, self._arm, self._rate_hz = kinematics, arm, rate_hz

    def demo_for(self, now: Moment) -> int | None:
        """The least is bent."""
        return min(
            self._usable, key=lambda number: bending_m(self.paths[number], self._aim(now, self.paths[number]))
        )

    def _aim(self, now: Moment, path: warp.ToolPath) -> Pose:
        """T_base_object as the path should take it: of the turns that look the same, the one that bends it least."""
        here = upright(now, self.object_name)
        quarters = (turned(here, turn / self._turns) for turn in range(self._turns))
        return min(quarters, key=lambda aim: bending_m(path, aim))

    def parts(self, now: Moment, rng: np.random.Generator) -> Parts:
        path, begin, near = self.paths[self.demo_for(now) or 0], 0, now.q_rad[0]
        if rng.random() < self._misses:
            missed, back = self._missed(path, now, rng)
            yield Part(missed, is_shown=False)
            now = yield Part(back)
            begin, near = warp.comes_near(path), back[-1, :-1]
        yield from self._grip_from(now, path, begin, near)

    def opened(self, now: Moment) -> float:
        """How far the jaws are open when they come round the object."""
        path = self.paths[self.demo_for(now) or 0]
        return float(path.gripper_open[path.grip])

    def again(self, now: Moment) -> Parts:
        """From wherever the arm is, holding nothing: up, over the object, jaws open, and on as demonstrated."""
        path = self.paths[self.demo_for(now) or 0]
        begin, back = warp.comes_near(path), self._back_over(now, path)
        now = yield Part(back)
        yield from self._grip_from(now, path, begin, back[-1, :-1])

    def _grip_from(self, now: Moment, path: warp.ToolPath, begin: int, near: Float[ndarray, " J"]) -> Parts:
        """The demonstration from step `begin` on, for the object where it stands now."""
        poses = warp.warp(path, self._aim(now, path))[begin:]
        rows = self._rows(poses, path.gripper_open[begin:], near)
        yield Part(rows)
        if path.release < len(path):
            yield Part(letting_go(rows[-1], float(path.gripper_open[path.grip]), self._rate_hz))

    def _missed(
        self, path: warp.ToolPath, now: Moment, rng: np.random.Generator
    ) -> tuple[Float[ndarray, "S D"], Float[ndarray, "S2 D"]]:
        """To a place beside the object and the jaws closed on nothing; back to above it, and open again.

        In this order: open jaws beside an object mean that it is to be gripped, and one who cannot remember would not
        know which.
        """
        angle_rad, away_m = rng.uniform(-np.pi, np.pi), rng.uniform(*BESIDE_M)
        aside = away_m * np.array([np.cos(angle_rad), np.sin(angle_rad), 0.0])
        aim = self._aim(now, path)
        beside = Pose.from_parts(aim.parent, aim.child, aim.rotation, aim.translation_m + aside)
        closed, above = warp.has_closed(path), warp.comes_near(path)
        poses = warp.warp(path, beside)[: closed + 1]
        down = self._rows(poses, path.gripper_open[: closed + 1], now.q_rad[0])
        back = poses[path.grip : above - 1 : -1] if above else poses[path.grip :: -1]
        up = self._rows(back, np.full(len(back), down[-1, -1]), down[-1, :-1])
        return down, np.concatenate([up, letting_go(up[-1], float(path.gripper_open[path.grip]), self._rate_hz)])

    def _back_over(self, now: Moment, path: warp.ToolPath) -> Float[ndarray, "S D"]:
        over = warp.warp(path, self._aim(now, path))[warp.comes_near(path)]
        here = self._kinematics.T_base_tip(now.q_rad[0])
        lift_m = max(0.0, float(over.translation_m[2] - here.translation_m[2]))
        raised = Pose.from_parts(
            here.parent, here.child, here.rotation, here.translation_m + np.array([0.0, 0.0, lift_m])
        )
        way = [
            *warp.line(here, raised, BACK_M_S / self._rate_hz),
            *warp.line(raised, over, BACK_M_S / self._rate_hz),
        ]
        up = self._rows(way, np.full(len(way), now.gripper_open[0]), now.q_rad[0])
        return np.concatenate([up, letting_go(up[-1], self.opened(now), self._rate_hz)])

    def _rows(
        self, poses: Sequence[Pose], opening: Float[ndarray, " T"], near_rad: Float[ndarray, " J"]
    ) -> Float[ndarray, "S D"]:
        """Raises `Unreachable`."""
        q_rad = warp.joint_path(poses, near_rad, self._kinematics)
        return warp.paced(q_rad, opening, self._rate_hz, self._arm.velocity_rad_s)


def bending_m(path: warp.ToolPath, aim: Pose) -> float:
    """How much a path is bent: metres, and turns seen from the arm's foot. One who turns about the foot with the object
    bends nothing: the wrist keeps its angle.
    """
    (there_m, was_rad), (here_m, is_rad) = (seen_from_the_foot(pose) for pose in (path.T_base_object, aim))
    return math.dist(there_m, here_m) + TURN_M * abs(math.remainder(is_rad - was_rad, math.tau))


def seen_from_the_foot(T_base_object: Pose) -> tuple[tuple[float, float], float]:
    """Where on the table, and the angle from the bearing to the object's own."""
    x_m, y_m = T_base_object.translation_m[:2].tolist()
    yaw_rad = math.atan2(T_base_object.rotation[1, 0], T_base_object.rotation[0, 0])
    return (x_m, y_m), yaw_rad - math.atan2(y_m, x_m)


def turned(pose: Pose, share: float) -> Pose:
    """About its own vertical, by a share of a whole turn."""
    turn = rotation_from_rotvec(np.array([0.0, 0.0, math.tau * share]))
    return Pose.from_parts(pose.parent, pose.child, pose.rotation @ turn, pose.translation_m)


def clean(paths: Sequence[warp.ToolPath]) -> list[int]:
    """Which grip at the first try, the object where it stood: a miss, bent, may hit the object. All where none does."""
    kept = [
        number for number, path in enumerate(paths) if path.first_grip == path.grip and path.pushed_m < PUSHED_M
    ]
    if len(kept) < len(paths):
        log.info("%d of %d demonstrations miss the object before they grip it", len(paths) - len(kept), len(paths))
    return kept or list(range(len(paths)))


def letting_go(last: Float[ndarray, " D"], opened: float, rate_hz: float) -> Float[ndarray, "T D"]:
    """A demonstration may end at the first sign of success, the gripper half open: it opens as wide as before it."""
    rows = np.tile(last, (round(LETTING_GO_S * rate_hz), 1))
    rows[:, -1] = np.linspace(last[-1], max(opened, float(last[-1])), len(rows))
    return rows


def upright(now: Moment, object_name: str) -> Pose:
    """T_base_object of the first environment, turned about the vertical alone, as state columns tell it."""
    values = pose_values(now.Ts_base_object)[0].tolist()
    return pose_of(dict(zip(pose_columns(object_name), values, strict=True)), object_name)
