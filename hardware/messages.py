"""What crosses the edge of a robot cell: readings out (`Observation`), commands in (`ActionChunk`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

ActionSpace = Literal["joint_pos_rad", "joint_vel_rad_s", "tcp_pose_wxyz", "tcp_delta_m_rad"]
"""What one row of a chunk means. The gripper, where there is one, is the last column, 0 closed … 1 open."""

NANOSECONDS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Observation:
    """One moment of the cell. Each image has its own stamp: cameras are aligned by stamp, never by index."""

    stamp_ns: int
    joint_names: tuple[str, ...]
    q_rad: Float[ndarray, " J"]
    images: Mapping[str, UInt8[ndarray, "H W 3"]] = field(default_factory=dict)
    """Camera name → rgb."""
    image_stamps_ns: Mapping[str, int] = field(default_factory=dict)
    dq_rad_s: Float[ndarray, " J"] | None = None
    effort_nm: Float[ndarray, " J"] | None = None
    gripper_open: float | None = None
    """0 closed … 1 open."""
    instruction: str = ""

    def __post_init__(self) -> None:
        joints = len(self.joint_names)
        if len(set(self.joint_names)) != joints:
            raise ValueError(f"joint names repeat: {self.joint_names}")
        for name in ("q_rad", "dq_rad_s", "effort_nm"):
            values = getattr(self, name)
            if values is not None and values.shape != (joints,):
                raise ValueError(f"{name} has shape {values.shape}, but there are {joints} joint names")
        if not np.isfinite(self.q_rad).all():
            raise ValueError(f"q_rad has a value that is not finite: {self.q_rad.tolist()}")
        if set(self.images) != set(self.image_stamps_ns):
            raise ValueError(
                f"images {sorted(self.images)} and image_stamps_ns {sorted(self.image_stamps_ns)} differ"
            )


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """T actions at a fixed rate. Row i is due at `start_ns + (i + 1) / rate_hz`, as in a JointTrajectory."""

    start_ns: int
    rate_hz: float
    space: ActionSpace
    names: tuple[str, ...]
    """One name per column of `values`."""
    values: Float[ndarray, "T D"]

    def __post_init__(self) -> None:
        if self.space not in get_args(ActionSpace):
            raise ValueError(f"no action space '{self.space}'; have: {', '.join(get_args(ActionSpace))}")
        if not 0 < self.rate_hz < inf:
            raise ValueError(f"rate_hz must be positive and finite, got {self.rate_hz}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names repeat: {self.names}")
        if self.values.ndim != 2 or self.values.shape[0] == 0:
            raise ValueError(f"values must be [T, D] with T ≥ 1, got shape {self.values.shape}")
        if self.values.shape[1] != len(self.names):
            raise ValueError(f"values has {self.values.shape[1]} columns, but there are {len(self.names)} names")
        if not np.isfinite(self.values).all():
            step, column = np.argwhere(~np.isfinite(self.values))[0]
            raise ValueError(f"step {step} of '{self.names[column]}' is not finite")

    def __len__(self) -> int:
        return self.values.shape[0]

    def due_ns(self, step: int) -> int:
        """When row `step` is to be reached. Exact in integers up to rounding of one period."""
        return self.start_ns + round((step + 1) * NANOSECONDS_PER_SECOND / self.rate_hz)

    @property
    def end_ns(self) -> int:
        return self.due_ns(len(self) - 1)

    def after(self, stamp_ns: int) -> ActionChunk | None:
        """The rows still due strictly after `stamp_ns`, or None when there are none."""
        due = np.array([self.due_ns(step) for step in range(len(self))])
        first = int(np.searchsorted(due, stamp_ns, side="right"))
        if first == len(self):
            return None
        start_ns = self.start_ns if first == 0 else self.due_ns(first - 1)
        return ActionChunk(start_ns, self.rate_hz, self.space, self.names, self.values[first:])
