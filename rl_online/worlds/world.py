"""What an environment runs on: N cells at a fixed control rate, joint targets in, poses and outcomes out.

Two kinds: `rl_online.worlds.bench` (the simulated plant that stands in for the real side) and
`rl_online.worlds.twin`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.starts.regions import PartName, Region

POSE_COLUMNS = ("x_m", "y_m", "z_m", "cos_yaw", "sin_yaw")
"""Of the task's object, as columns of the state: `block.x_m` …, for policies told poses, not pictures."""


@dataclass(frozen=True)
class TaskSheet:
    """What has to be done, and from where."""

    instruction: str
    object_name: str
    time_limit_s: float
    parts: tuple[tuple[PartName, Region], ...]
    """Where the object may start."""
    goal: TaskStart
    """Where it has to go, in the table's plane."""


@dataclass(frozen=True, eq=False)
class Moment:
    """All N cells now. Arrays are the caller's own."""

    q_rad: Float[ndarray, "N J"]
    gripper_open: Float[ndarray, " N"]
    """0 closed … 1 open."""
    Ts_base_object: Float[ndarray, "N 4 4"]
    """Of the task's object."""
    success: Bool[ndarray, " N"]
    progress: Float[ndarray, " N"]
    """0 … 1."""


@runtime_checkable
class World(Protocol):
    """The same starts and actions give the same moments, whatever N."""

    label: str
    """For reports: what this is, and that it is simulated where it is."""
    sheet: TaskSheet

    @property
    def n_envs(self) -> int: ...

    @property
    def rate_hz(self) -> float: ...

    @property
    def joint_names(self) -> tuple[str, ...]:
        """An action is a target for each, then the gripper's opening."""
        ...

    @property
    def camera_names(self) -> tuple[str, ...]: ...

    def reset(self, starts: Sequence[TaskStart], envs: Sequence[int]) -> None:
        """New episodes in those cells: the arm at home, the object at its start."""
        ...

    def step(self, actions: Float[ndarray, "M D"], envs: Sequence[int]) -> None:
        """One control step of those cells; the others stand still or are not looked at."""
        ...

    def moment(self) -> Moment: ...

    def picture(self, camera: str, env: int) -> UInt8[ndarray, "H W 3"]: ...

    def close(self) -> None: ...


def pose_columns(object_name: str) -> tuple[str, ...]:
    return tuple(f"{object_name}.{column}" for column in POSE_COLUMNS)


def pose_values(Ts_base_object: Float[ndarray, "N 4 4"]) -> Float[ndarray, "N 5"]:
    """x, y, z, and the direction of the object's x axis in the table's plane."""
    at, along = Ts_base_object[:, :3, 3], Ts_base_object[:, :2, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.concatenate([at, along / length], axis=1)


def pose_of(columns: Mapping[str, float], object_name: str) -> Pose:
    """T_base_object, upright, from its columns. Raises `BadInput` where they are missing."""
    missing = [name for name in pose_columns(object_name) if name not in columns]
    if missing:
        raise BadInput(
            f"the state has no {missing[0]}; have: {', '.join(columns)}",
            "record beside a guide, which looks for the object (`tandem up CELL --gui --guide FILE --record STORE`); "
            "`tandem rl demos` knows where it is",
        )
    x_m, y_m, z_m, cosine, sine = (columns[name] for name in pose_columns(object_name))
    turn = rotation_from_rotvec(np.array([0.0, 0.0, math.atan2(sine, cosine)]))
    return Pose.from_parts("base", object_name, turn, (x_m, y_m, z_m))
