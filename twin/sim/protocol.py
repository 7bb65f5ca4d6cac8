"""What every simulator of a twin takes and gives: starts and joint targets in, states and pictures out.

Numpy at the boundary, N environments at once, all poses in the robot's base frame (which is the bundle's world where
the twin has no robot). The same starts and actions give the same states, however many environments and threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput
from hardware.spatial import Pose

CONTROL_HZ = 20.0


@dataclass(frozen=True, eq=False)
class Start:
    """Where an episode begins; at rest is what `speeds_m_s` does not name."""

    q_rad: Float[ndarray, " J"] | None = None
    """None: the home posture of the arm (metres instead of radians for a joint that slides)."""
    gripper_open: float = 1.0
    """0 closed … 1 open."""
    objects: Mapping[str, Pose] = field(default_factory=dict)
    """T_base_object; an object that is missing stands where the scan saw it."""
    speeds_m_s: Mapping[str, Float[ndarray, " 3"]] = field(default_factory=dict)
    """Of objects, along the base frame's axes; none turns."""


@dataclass(frozen=True, eq=False)
class SimState:
    """After the last control step. The arrays are the caller's own: a later step does not change them."""

    time_s: Float[ndarray, " N"]
    """Since the environment's reset."""
    q_rad: Float[ndarray, "N J"]
    dq_rad_s: Float[ndarray, "N J"]
    gripper_open: Float[ndarray, " N"]
    """0 closed … 1 open, as the jaws stand."""
    Ts_base_tool: Float[ndarray, "N 4 4"]
    """Of the point between the jaws' ends: z out of the gripper, x along the closing direction."""
    Ts_base_object: dict[str, Float[ndarray, "N 4 4"]]
    touching: Bool[ndarray, " N"]
    """Whether the robot touches an object, the table or the furniture now."""
    penetration_m: Float[ndarray, " N"]
    """Deepest overlap of the robot with any of these now; 0 where it touches nothing."""


@runtime_checkable
class Simulator(Protocol):
    """One bundle, N environments. Use it from one thread at a time; the threads inside are its own."""

    @property
    def engine(self) -> str:
        """mujoco, mujoco_warp, isaac_lab or isaac_sim."""
        ...

    @property
    def n_envs(self) -> int: ...

    @property
    def control_hz(self) -> float: ...

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The arm's joints in the order of `q_rad`; an action is their targets and then the gripper's opening."""
        ...

    @property
    def object_names(self) -> tuple[str, ...]: ...

    @property
    def camera_names(self) -> tuple[str, ...]: ...

    def reset(self, starts: Sequence[Start], envs: Sequence[int] | None = None) -> SimState:
        """New episodes in the environments named (all without), one start each. Returns the state of all."""
        ...

    def step(self, action: Float[ndarray, "N D"]) -> SimState:
        """One control step of all. `action` is N × (J + 1): targets in rad, held for the step, then the gripper's
        opening (0 closed … 1 open). Targets beyond a joint's range are held at the range.

        Raises `BadInput` for another shape and for what is not finite.
        """
        ...

    def state(self) -> SimState: ...

    def render(
        self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None
    ) -> UInt8[ndarray, "M H W 3"]:
        """RGB of the environments named (all without), in that order."""
        ...

    def close(self) -> None:
        """Frees threads and device memory. Safe to call twice."""
        ...


def checked_action(action: ndarray, n_envs: int, joints: int) -> Float[ndarray, "N D"]:
    """The action as float64. Raises `BadInput` that says what is wrong with it."""
    given = np.asarray(action, np.float64)
    if given.shape != (n_envs, joints + 1):
        raise BadInput(
            f"the action has shape {given.shape}, not ({n_envs}, {joints + 1})",
            f"a row for each environment: {joints} joint targets and the gripper's opening",
        )
    finite = np.isfinite(given)
    if not finite.all():
        env, column = np.argwhere(~finite)[0]
        raise BadInput(f"the action of environment {env} has {given[env, column]} in column {column}")
    return given


def checked_envs(envs: Sequence[int] | None, n_envs: int) -> list[int]:
    """Numbers of environments. Raises `BadInput` for what is none of them, and for one named twice."""
    chosen = list(range(n_envs)) if envs is None else [int(env) for env in envs]
    for env in chosen:
        if not 0 <= env < n_envs:
            raise BadInput(f"no environment {env}; have: 0 … {n_envs - 1}")
    if len(set(chosen)) != len(chosen):
        raise BadInput(f"an environment is named twice: {chosen}")
    return chosen


def checked_starts(starts: Sequence[Start], envs: Sequence[int], joints: int, object_names: Sequence[str]) -> None:
    """Raises `BadInput` where starts do not fit the environments or the twin."""
    if len(starts) != len(envs):
        raise BadInput(f"{len(starts)} starts for {len(envs)} environments", "give one start each")
    for start in starts:
        if start.q_rad is not None and (np.shape(start.q_rad) != (joints,) or not np.isfinite(start.q_rad).all()):
            raise BadInput(f"a start has {joints} finite joint angles, not {np.asarray(start.q_rad).tolist()}")
        if not np.isfinite(start.gripper_open):
            raise BadInput(f"a start's gripper opening is {start.gripper_open}")
        for name in (*start.objects, *start.speeds_m_s):
            if name not in object_names:
                raise BadInput(f"no object '{name}' in the twin; have: {', '.join(object_names) or 'none'}")
        for name, speed_m_s in start.speeds_m_s.items():
            if np.shape(speed_m_s) != (3,) or not np.isfinite(speed_m_s).all():
                raise BadInput(
                    f"a start's speed of '{name}' is {np.asarray(speed_m_s).tolist()}, not three numbers"
                )
        for name, pose in start.objects.items():
            if pose.parent != "base":
                raise BadInput(
                    f"a start's pose of '{name}' is T_{pose.parent}_{pose.child}; T_base_{name} is meant"
                )


def checked_camera(camera: str, camera_names: Sequence[str]) -> str:
    if camera not in camera_names:
        raise BadInput(f"no camera '{camera}' in the twin; have: {', '.join(camera_names) or 'none'}")
    return camera
