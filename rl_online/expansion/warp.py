"""One demonstration and a new place of its object in; the path of the tool that does the same there out.

Object-centric, as TwinRL's generator (b) (arXiv 2602.09023): translations are moved so that both ends of a segment
meet their new poses, rotations by slerp. Near the object, and near the goal, the path moves rigidly with it: only the
way between is bent. Segments: home → first grip (its end moves with the object), all tries until the last grip (all of
it moves with the object), last grip → release (its start moves with the object).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.motion import STRAIGHT, TILTED
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, Unreachable
from hardware.spatial import Pose, rotation_from_rotvec, rotvec_from_rotation

RIGID_M = 0.07
"""Within this way of its end the path belongs to the object: the bench's scripts come straight down from 55 mm."""
CLOSING = 0.1
"""A gripper asked to close by more than this between two of its widest openings has gripped."""


@dataclass(frozen=True, eq=False)
class ToolPath:
    """A demonstration as the tool's way. Row i is where it was asked to be at step i."""

    Ts_base_tip: tuple[Pose, ...]
    gripper_open: Float[ndarray, " T"]
    T_base_object: Pose
    """At the start."""
    first_grip: int
    """The step at which the gripper begins to close for the first time: on the object, or beside it."""
    grip: int
    """The step at which it begins to close for the last time: on the object."""
    release: int
    """The step at which it begins to open; T where it never does."""
    pushed_m: float = 0.0
    """How far the object was moved before the last grip, by tries that missed."""

    def __len__(self) -> int:
        return len(self.Ts_base_tip)


def tool_path(actions: Float[ndarray, "T D"], T_base_object: Pose, kinematics: Kinematics) -> ToolPath:
    """From joint targets with the gripper's opening last. Raises `BadInput` where the gripper never closes."""
    opening = actions[:, -1].astype(np.float64)
    first_grip, grip, release = grips_and_release(opening)
    poses = tuple(kinematics.T_base_tip(row[:-1].astype(np.float64)) for row in actions)
    return ToolPath(poses, opening, T_base_object, first_grip, grip, release)


def grips_and_release(opening: Float[ndarray, " T"]) -> tuple[int, int, int]:
    """The first steps of the first and of the last fall to the smallest opening, and of the rise after that one."""
    if opening.max() - opening.min() < 2 * CLOSING:
        raise BadInput("the gripper never closes in this demonstration", "warping needs a grip and a release")
    closed = opening <= opening.min() + CLOSING
    begins = np.flatnonzero(np.diff(closed.astype(int), prepend=0) == 1)
    grips = [_begin_of_fall(opening, int(step)) for step in (begins[0], begins[-1])]
    opened = np.flatnonzero(~closed[begins[-1] :])
    if len(opened) == 0:
        return grips[0], grips[1], len(opening)
    again = int(begins[-1] + opened[0])
    rising = np.flatnonzero(np.diff(opening[begins[-1] : again + 1]) <= 1e-3)
    return grips[0], grips[1], int(begins[-1]) + (int(rising[-1]) + 1 if len(rising) else 0)


def _begin_of_fall(opening: Float[ndarray, " T"], closed: int) -> int:
    falling = np.flatnonzero(np.diff(opening[: closed + 1]) >= -1e-3)
    return int(falling[-1]) + 1 if len(falling) else 0


def warp(path: ToolPath, T_base_object: Pose) -> tuple[Pose, ...]:
    """The tool's poses for an object that starts there instead; the goal stays where it is."""
    moved, still = _moved(path.T_base_object, T_base_object), Pose.identity("base", "base")
    poses, way = list(path.Ts_base_tip), _ways_m(path.Ts_base_tip)
    release = min(path.release, len(path) - 1)
    for step in range(len(path)):
        if step <= path.grip:
            share = _ramp(way[step], 0.0, max(way[path.first_grip] - RIGID_M, 1e-9))
        else:
            leaves = way[path.grip] + RIGID_M
            share = 1 - _ramp(way[step], leaves, max(way[release] - RIGID_M, leaves))
        poses[step] = blended(still, moved, path.Ts_base_tip[step], share)
    return tuple(poses)


def comes_near(path: ToolPath) -> int:
    """The step from which the way to the last grip is the object's."""
    way = _ways_m(path.Ts_base_tip)
    return int(np.searchsorted(way, way[path.grip] - RIGID_M))


def has_closed(path: ToolPath) -> int:
    """The step at which the jaws of the last grip are as closed as they get."""
    after = path.gripper_open[path.grip : path.release]
    return path.grip + int(np.flatnonzero(after <= after.min() + 1e-3)[0])


def blended(here: Pose, there: Pose, T_base_tip: Pose, share: float) -> Pose:
    """The tip pose moved by `here` (share 0) … `there` (share 1), both T_base_base: positions on the line, slerp."""
    one, two = here @ T_base_tip, there @ T_base_tip
    turn = rotvec_from_rotation(one.rotation.T @ two.rotation)
    at = (1 - share) * one.translation_m + share * two.translation_m
    return Pose.from_parts("base", T_base_tip.child, one.rotation @ rotation_from_rotvec(share * turn), at)


def line(here: Pose, there: Pose, most_m: float) -> list[Pose]:
    """Poses from `here` (left out) to `there`, no further apart than `most_m`: straight on, turning evenly."""
    count = max(1, int(np.ceil(here.distance_to(there)[0] / most_m)))
    turn = rotvec_from_rotation(here.rotation.T @ there.rotation)
    way_m = there.translation_m - here.translation_m
    return [
        Pose.from_parts(
            here.parent,
            here.child,
            here.rotation @ rotation_from_rotvec(share * turn),
            here.translation_m + share * way_m,
        )
        for share in np.linspace(0, 1, count + 1)[1:]
    ]


def joint_path(
    poses: Sequence[Pose], start_rad: Float[ndarray, " J"], kinematics: Kinematics
) -> Float[ndarray, "T J"]:
    """Joint angles along the poses, each near the one before. Raises `Unreachable`."""
    found, near = [], start_rad
    for T_base_tip in poses:
        near = _near(T_base_tip, near, kinematics)
        found.append(near)
    return np.stack(found)


def paced(
    q_rad: Float[ndarray, "T J"], opening: Float[ndarray, " T"], rate_hz: float, velocity_rad_s: float
) -> Float[ndarray, "S D"]:
    """Slowed down, where the bent way asks more than `velocity_rad_s` of a joint; sampled at the same rate again."""
    change = np.abs(np.diff(q_rad, axis=0)).max(axis=1, initial=0.0)
    times_s = np.concatenate([[0.0], np.cumsum(np.maximum(1 / rate_hz, change / velocity_rad_s))])
    at_s = np.arange(int(np.ceil(times_s[-1] * rate_hz - 1e-9)) + 1) / rate_hz
    rows = np.concatenate([q_rad, opening[:, None]], axis=1)
    return np.stack([np.interp(at_s, times_s, column) for column in rows.T], axis=1)


def _moved(before: Pose, after: Pose) -> Pose:
    """The motion of the object, written in the base frame: T_after · T_before⁻¹."""
    back = before.inverse()
    return after @ Pose(after.child, "base", back.matrix)


def _ways_m(poses: Sequence[Pose]) -> Float[ndarray, " T"]:
    """How far the tip has come at each step."""
    at = np.stack([pose.translation_m for pose in poses])
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(at, axis=0), axis=1))])


def _ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, smooth between (3u² − 2u³)."""
    part = float(np.clip((value - low) / max(high - low, 1e-9), 0.0, 1.0))
    return part * part * (3 - 2 * part)


def _near(T_base_tip: Pose, near_rad: Float[ndarray, " J"], kinematics: Kinematics) -> Float[ndarray, " J"]:
    """With the tool as asked if the arm can, leaning as little as it must otherwise."""
    with contextlib.suppress(Unreachable):
        return kinematics.solve(T_base_tip, near_rad, *STRAIGHT)
    return kinematics.solve(T_base_tip, near_rad, *TILTED)
