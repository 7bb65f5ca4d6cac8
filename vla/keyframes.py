"""What the gripper says of a demonstration: its keyframes, and the tries that closed on nothing.

Keyframes are the moments at which the gripper starts to close or to open, and the end. After James & Davison (arXiv
2105.14829): there a policy jumps from one to the next, here it foresees the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vla.policy import GRIPPER

MOVES = 0.02
"""The gripper is said to move when its opening is commanded to change by more than this in a step."""

EMPTY = 0.08
"""Jaws measured to be less open than this hold nothing."""


def next_keyframes(actions: Float[ndarray, "T D"], names: Sequence[str]) -> Int[ndarray, " T"]:
    """For each step the first keyframe at or after it; the last step is one."""
    last = len(actions) - 1
    at = np.append(_gripper_moments(actions, names), last)
    return at[np.searchsorted(at, np.arange(last + 1))]


def misses(opening: Float[ndarray, " T"], commanded: Float[ndarray, " T"]) -> Bool[ndarray, " T"]:
    """The steps of each try that closed on nothing and was followed by another: from when the jaws were last opened to
    when they are shut. Whoever imitates them learns to miss; what comes after them shows how to try again.

    `opening`: the gripper as measured, 0 closed … 1 open; `commanded`: as the actions have it.
    """
    shut, marked = opening < EMPTY, np.zeros(len(opening), bool)
    begins, ends = (np.flatnonzero(np.diff(shut.astype(int), prepend=0) == sign) for sign in (1, -1))
    for begin in begins:
        opened = ends[ends > begin]
        if len(opened) and (commanded[opened[0] :] < EMPTY).any():
            before = ends[ends <= begin]
            marked[(before[-1] if len(before) else 0) : begin] = True
    return marked


def _gripper_moments(actions: Float[ndarray, "T D"], names: Sequence[str]) -> Int[ndarray, " K"]:
    """The first steps of the gripper's moves."""
    if GRIPPER not in names or len(actions) < 2:
        return np.zeros(0, np.int64)
    column = list(names).index(GRIPPER)
    moves = np.abs(np.diff(actions[:, column])) > MOVES
    return np.flatnonzero(moves & ~np.append(False, moves[:-1]))
