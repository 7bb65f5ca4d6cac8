"""What is wrong with a chunk, or with a person's command, whatever the moment: its contents in, a refusal out."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from hardware.execution.command import Refusal
from hardware.messages import ActionChunk

GRIPPER = "gripper"
"""The last column of a chunk, where the arm has one."""

_FARTHEST_RAD = 100.0  # beyond any joint; keeps sums of powers finite
_SLOWEST_HZ = 1.0


def unusable_chunk(chunk: ActionChunk, names: tuple[str, ...], highest_rate_hz: float) -> Refusal | None:
    if chunk.space != "joint_pos_rad":
        return "space"
    if chunk.names != names:
        return "order" if sorted(chunk.names) == sorted(names) else "names"
    if not _SLOWEST_HZ <= chunk.rate_hz <= highest_rate_hz:
        return "rate"
    if not np.isfinite(chunk.values).all():
        return "not_finite"
    return "range" if np.abs(chunk.values).max() > _FARTHEST_RAD else None


def unusable_command(
    q_rad: ndarray, gripper: float | None, dq_rad_s: ndarray | None, joints: int
) -> Refusal | None:
    if q_rad.shape != (joints,) or (dq_rad_s is not None and dq_rad_s.shape != (joints,)):
        return "shape"
    numbers = [q_rad, *(one for one in (gripper, dq_rad_s) if one is not None)]
    if not all(np.isfinite(one).all() for one in numbers):
        return "not_finite"
    return "range" if np.abs(q_rad).max(initial=0.0) > _FARTHEST_RAD else None
