"""Keyframes: by hand, and of recorded gripper moves."""

import numpy as np

from vla.keyframes import next_keyframes

NAMES = ("pan", "gripper")


def test_by_hand() -> None:
    """The gripper closes from step 3 on, and opens from step 6 on: moments 3 and 6, and the end, 8."""
    opening = np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 1.0, 1.0])
    actions = np.stack([np.linspace(0, 1, 9), opening], axis=1)
    assert next_keyframes(actions, NAMES).tolist() == [3, 3, 3, 3, 6, 6, 6, 8, 8]


def test_without_a_gripper_only_the_end_counts() -> None:
    assert next_keyframes(np.zeros((5, 2)), ("pan", "lift")).tolist() == [4] * 5


def test_a_gripper_that_trembles_does_not_move() -> None:
    actions = np.stack([np.zeros(50), np.random.default_rng(0).normal(0.5, 0.003, 50)], axis=1)
    assert set(next_keyframes(actions, NAMES).tolist()) == {49}


def test_one_step_is_its_own_end() -> None:
    assert next_keyframes(np.zeros((1, 2)), NAMES).tolist() == [0]
