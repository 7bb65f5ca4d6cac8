"""Keyframes of a demonstration: the moments at which its gripper starts to close or to open, and the end.

After James & Davison (arXiv 2105.14829): there a policy jumps from one to the next, here it foresees the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vla.policy import GRIPPER

MOVES = 0.02
"""The gripper is said to move when its opening is commanded to change by more than this in a step."""


def next_keyframes(actions: Float[ndarray, "T D"], names: Sequence[str]) -> Int[ndarray, " T"]:
    """For each step the first keyframe at or after it; the last step is one."""
    last = len(actions) - 1
    at = np.append(_gripper_moments(actions, names), last)
    return at[np.searchsorted(at, np.arange(last + 1))]


def _gripper_moments(actions: Float[ndarray, "T D"], names: Sequence[str]) -> Int[ndarray, " K"]:
    """The first steps of the gripper's moves."""
    if GRIPPER not in names or len(actions) < 2:
        return np.zeros(0, np.int64)
    column = list(names).index(GRIPPER)
    moves = np.abs(np.diff(actions[:, column])) > MOVES
    return np.flatnonzero(moves & ~np.append(False, moves[:-1]))
