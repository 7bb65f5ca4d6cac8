"""Observations become arrays in the interface's order, or it is said what is missing."""

import numpy as np
import pytest
import small_policy
from pydantic import ValidationError

from hardware.errors import BadInput
from vla import policy
from vla.policy import Interface, Policy, TokenPolicy


def test_columns_follow_the_interface_and_not_the_arm() -> None:
    batch = policy.stack([small_policy.observation()], small_policy.interface())
    np.testing.assert_allclose(batch.state, [[-0.4, 0.2]], atol=1e-7)
    assert batch.images["front"].shape == (1, 48, 80, 3)
    assert batch.instructions == ("push the dot",)


def test_the_gripper_is_a_column_of_the_state() -> None:
    face = small_policy.interface(state_names=("x", policy.GRIPPER))
    batch = policy.stack([small_policy.observation(gripper_open=0.7)], face)
    np.testing.assert_allclose(batch.state, [[-0.4, 0.7]], atol=1e-7)


def test_what_is_missing_is_named() -> None:
    face = small_policy.interface()
    with pytest.raises(BadInput, match="reads elbow, which the observation lacks; have: y, x"):
        policy.stack([small_policy.observation()], face.but(state_names=("x", "elbow")))
    with pytest.raises(BadInput, match="'wrist', which the observation lacks; have: front"):
        policy.stack([small_policy.observation()], face.but(cameras=("wrist",)))
    with pytest.raises(BadInput, match="no instruction"):
        policy.stack([small_policy.observation(instruction=" ")], face)
    with pytest.raises(BadInput, match="no observation"):
        policy.stack([], face)


def test_a_policy_without_language_needs_no_instruction() -> None:
    batch = policy.stack([small_policy.observation(instruction="")], small_policy.interface(language=False))
    assert batch.instructions == ("",)


def test_an_interface_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="repeat"):
        Interface(cameras=(), state_names=("a", "a"), action_names=("a",), rate_hz=1, horizon_steps=2)


def test_the_built_in_policy_keeps_the_protocol() -> None:
    made = small_policy.policy()
    assert isinstance(made, Policy)
    assert isinstance(made, TokenPolicy)
