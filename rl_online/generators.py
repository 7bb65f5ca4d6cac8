"""Where an object stands in; what the arm should do about it out: the two ways to make twin demonstrations.

`plan` (TwinRL's generator a, arXiv 2602.09023): grasps from the object's geometry, a motion plan between
T_obj · T_grasp and T_target · T_grasp. `warp` (generator b): a person's demonstration bent to the new place.
"""

from __future__ import annotations

import logging
from collections.abc import Generator as Dialogue
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmModel
from hardware.kinematics import Kinematics
from hardware.spatial import Pose
from rl_online import warp
from rl_online.world import Moment, pose_columns, pose_of, pose_values

log = logging.getLogger(__name__)

GeneratorName = Literal["plan", "warp"]
LETTING_GO_S = 0.3
PUSHED_M = 0.001
Parts = Dialogue[Float[ndarray, "T D"], Moment, None]
"""Yields actions (joint targets in rad and the gripper's opening, at the world's rate), is sent what came of them."""


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
    """The demonstration whose object stood nearest, bent."""

    def __init__(
        self,
        paths: Sequence[warp.ToolPath],
        object_name: str,
        kinematics: Kinematics,
        arm: ArmModel,
        rate_hz: float,
    ) -> None:
        self.paths, self.object_name = paths, object_name
        self._usable = clean(paths)
        self._kinematics, self._arm, self._rate_hz = kinematics, arm, rate_hz

    def demo_for(self, now: Moment) -> int | None:
        """The least is bent."""
        at = now.Ts_base_object[0, :2, 3]
        return min(
            self._usable,
            key=lambda number: float(np.linalg.norm(self.paths[number].T_base_object.translation_m[:2] - at)),
        )

    def parts(self, now: Moment, rng: np.random.Generator) -> Parts:
        del rng  # a warped demonstration has no choice
        path = self.paths[self.demo_for(now) or 0]
        poses = warp.warp(path, upright(now, self.object_name))
        q_rad = warp.joint_path(poses, now.q_rad[0], self._kinematics)
        rows = warp.paced(q_rad, path.gripper_open, self._rate_hz, self._arm.velocity_rad_s)
        yield rows
        if path.release < len(path):
            yield letting_go(rows[-1], float(path.gripper_open[path.grip]), self._rate_hz)


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
