"""Depths beyond box, table and clearance, by hand; and limits that nothing could check are refused."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.errors import BadInput
from hardware.joint_motion import Bounds
from hardware.workspace import NO_DEPTH, Workspace, WorkspaceBox, brake, deepest, positions

BOX = WorkspaceBox(lower_m=(-0.4, -0.4, 0.0), upper_m=(0.4, 0.4, 0.6))


def two_fingers(q_rad):
    """A crane: q are x, y, z of the left finger; the right one is 0.1 m beside it."""
    return np.array([q_rad, q_rad + np.array([0, 0.1, 0])])


def test_depths_by_hand():
    workspace = Workspace(BOX, 0.05, 0.02, two_fingers, lambda q: 0.5 - q[0])
    # Right finger at y = 0.45 is 0.05 beyond 0.4; z = 0.04 is 0.01 below the table; 0.5 − 0.485 = 0.015 of 0.02.
    depths = workspace.depths(np.array([0.485, 0.35, 0.04]))
    assert depths == pytest.approx((0.085, 0.01, 0.005))
    # Inside all: nearest face is y (0.4 − 0.1), then the table, then 0.5 − 0.02.
    assert workspace.depths(np.array([0.0, 0.0, 0.3])) == pytest.approx((-0.3, -0.25, -0.48))


@given(st.tuples(*[st.floats(-1, 1)] * 3))
def test_a_depth_is_negative_exactly_inside(q):
    inside = all(
        low <= value <= high
        for point in two_fingers(np.array(q))
        for low, value, high in zip(BOX.lower_m, point, BOX.upper_m, strict=True)
    )
    assert (Workspace(BOX, tool_points_m=two_fingers).depths(np.array(q)).workspace <= 0) == inside


def test_without_limits_nothing_is_deep():
    workspace = Workspace(tool_points_m=two_fingers, clearance_m=lambda q: 0.0)
    assert not workspace.is_limited
    assert workspace.depths(np.zeros(3)) == NO_DEPTH == (-inf, -inf, -inf)
    assert Workspace(table_height_m=0.0, tool_points_m=two_fingers).is_limited
    assert Workspace(least_clearance_m=0.0, clearance_m=lambda q: 1.0).is_limited


def test_a_model_without_an_answer_permits_nothing():
    lost = Workspace(BOX, 0.0, 0.02, lambda q: np.full((2, 3), np.nan), lambda q: np.nan)
    assert lost.depths(np.zeros(3)) == (inf, inf, inf)


LIMITS = [Bounds(-9, 9, 2.0, 10.0, 200.0)] * 3


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-0.45, 0.45)] * 3), st.tuples(*[st.floats(-2, 2)] * 3), st.sampled_from([1.0, inf]))
def test_a_stop_is_as_deep_as_its_deepest_moment(q, dq, lever_m):
    workspace = Workspace(BOX, 0.05, 0.02, two_fingers, lambda q: 0.5 - q[0], lever_m)
    states = [(a, b, 0.0) for a, b in zip(q, dq, strict=True)]
    found = workspace.stop_depths(states, LIMITS, NO_DEPTH)
    looks = [workspace.depths(positions(brake(states, t, LIMITS))) for t in np.linspace(0, 0.5, 200)]
    for depth, true in zip(found, deepest(*looks), strict=True):
        assert depth <= true + 1e-6
        if true > 0:  # else it is enough to know that nothing is beyond its limit
            assert depth >= true - 2e-4  # 10 rad/s² between two looks 10 ms apart


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"box": BOX}, "where the tool is cannot be computed"),
        ({"table_height_m": 0.0}, "where the tool is cannot be computed"),
        ({"least_clearance_m": 0.0}, "it cannot be computed"),
    ],
)
def test_a_limit_that_nothing_can_check_is_refused(limits, message):
    with pytest.raises(BadInput, match=message):
        Workspace(**limits)


@pytest.mark.parametrize("upper", [(0.4, 0.4, 0.0), (0.4, 0.4, float("nan")), (-1.0, 0.4, 0.6)])
def test_a_box_without_inside_is_refused(upper):
    with pytest.raises(ValidationError):
        WorkspaceBox(lower_m=(-0.4, -0.4, 0.0), upper_m=upper)
