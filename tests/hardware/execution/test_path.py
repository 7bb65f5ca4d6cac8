"""Paths: rows are passed, derivatives are continuous, joins are the smoothest there are, stops end at rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.execution.path import PEAK_SPEED, Moment, joined, line, stop, through

SECOND = 1_000_000_000
numbers = st.floats(-2, 2)


def moments(columns=2):
    vector = st.lists(numbers, min_size=columns, max_size=columns).map(np.array)
    return st.builds(Moment, vector, vector, vector)


def rows_of(count, columns=2):
    return np.random.default_rng(count).normal(0, 0.3, (count, columns))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 40])
def test_a_spline_passes_each_row_when_it_is_due(count):
    rows = rows_of(count)
    path = through(rows, 5 * SECOND, 20.0)
    passed = [path.at(5 * SECOND + row * 50_000_000).q for row in range(count)]
    np.testing.assert_allclose(passed, rows, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4, 40])
def test_a_spline_has_two_continuous_derivatives_also_at_its_ends(count):
    path = through(rows_of(count), 0, 20.0)
    for row in range(count):
        due_ns = row * 50_000_000
        before, after = path.at(due_ns - 1), path.at(due_ns + 1)
        for early, late, derivative in zip(before, after, (100, 1e4, 1e7), strict=True):  # rad/s, rad/s², rad/s³
            np.testing.assert_allclose(early, late, rtol=0, atol=2e-9 * derivative + 1e-12)
    np.testing.assert_allclose(path.at((count - 1) * 50_000_000).ddq, 0, atol=1e-9)


@pytest.mark.parametrize("speed", [0.5, 100.0])
def test_derivatives_are_those_of_the_position(speed):
    path = joined(Moment(*rows_of(3)), through(rows_of(10), SECOND, 10.0), SECOND, 0.2, speed)
    step_ns = 1000
    for stamp_ns in range(SECOND - 40_000_000, 2 * SECOND - 200_000_000, 37_000_001):
        early, here, late = (path.at(stamp_ns + shift) for shift in (-step_ns, 0, step_ns))
        np.testing.assert_allclose((late.q - early.q) / 2e-6, here.dq, atol=1e-5)
        np.testing.assert_allclose((late.dq - early.dq) / 2e-6, here.ddq, atol=1e-2)


def test_a_straight_column_never_leaves_the_range_of_its_rows():
    rows = np.stack([rows_of(8, 1)[:, 0], np.array([1, 1, 1, 0, 0, 0, 1, 1.0])], axis=1)
    path = through(rows, 0, 10.0, np.array([False, True]))
    opening = np.array([path.at(stamp_ns).q[1] for stamp_ns in range(0, 700_000_001, 10_000_000)])
    assert opening.min() >= 0
    assert opening.max() <= 1
    assert opening[25] == pytest.approx(0.5)  # half way from row 2 (1) to row 3 (0)


@settings(deadline=None, max_examples=50)
@given(moments(), st.floats(0.05, 1))
def test_a_stop_leaves_smoothly_and_ends_at_rest(moment, duration_s):
    path = stop(moment, SECOND, duration_s)
    for here, there in zip(path.at(SECOND), moment, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-12)
    end_ns = SECOND + round(duration_s * SECOND)
    almost, after = path.at(end_ns - 1), path.at(end_ns + 1)
    np.testing.assert_allclose(almost.q, after.q, atol=1e-6)
    np.testing.assert_allclose(almost.dq, 0, atol=1e-6)
    np.testing.assert_allclose(almost.ddq, 0, atol=1e-4)
    assert not after.dq.any()
    assert not after.ddq.any()


def test_a_stop_by_hand():
    # From 1 rad/s without acceleration in 0.3 s: half the time at full speed, 0.15 rad; half the speed at half time.
    path = stop(Moment(np.zeros(1), np.ones(1), np.zeros(1)), 0, 0.3)
    assert path.at(SECOND).q[0] == pytest.approx(0.15)
    assert path.at(150_000_000).dq[0] == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(moments(), moments(), st.floats(0.05, 1), st.sampled_from([0.1, 1.0, 100.0]))
def test_a_join_leaves_from_the_moment_and_arrives_on_the_path(moment, goal, duration_s, speed):
    onto = line(goal.q, goal.dq, 2 * SECOND)
    path = joined(moment, onto, SECOND, duration_s, speed)
    for here, there in zip(path.at(SECOND), moment, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-9)
    end_ns = SECOND + round(path.duration_s * SECOND)
    for shift_ns in (-1, 0, 1, SECOND):
        here, there = path.at(end_ns + shift_ns), onto.at(end_ns + shift_ns)
        np.testing.assert_allclose(here.q, there.q, atol=1e-8)
        np.testing.assert_allclose(here.dq, there.dq, atol=1e-6)
        np.testing.assert_allclose(
            here.ddq, there.ddq, atol=1e-9 * 60 * 7 / duration_s**3
        )  # 1 ns of the highest jerk


@settings(deadline=None, max_examples=50)
@given(moments(), st.floats(0.05, 1), st.sampled_from([0.1, 1.0]))
def test_a_join_has_two_continuous_derivatives_where_its_pieces_meet(moment, duration_s, speed):
    path = joined(moment, line(np.zeros(2), np.zeros(2), 0), SECOND, duration_s, speed)
    jerk = 1000 / duration_s**3
    for begins_s in path.left.begins_s[1:]:
        piece_ns = SECOND + round(begins_s * SECOND)
        early, late = path.at(piece_ns - 1), path.at(piece_ns + 1)
        for before, after in zip(early, late, strict=True):
            np.testing.assert_allclose(before, after, rtol=0, atol=2e-9 * jerk + 1e-9)


@settings(deadline=None, max_examples=40)
@given(st.floats(-3, 3), st.floats(-2, 2), st.sampled_from([0.2, 1.0]))
def test_a_far_join_is_no_faster_than_the_motion_before_it_or_the_speed_and_does_not_swing_on(q, dq, speed):
    path = joined(
        Moment(np.array([q]), np.array([dq]), np.zeros(1)), line(np.zeros(1), np.zeros(1), 0), 0, 0.4, speed
    )
    way = np.array([path.at(round(t * SECOND)) for t in np.linspace(0, path.duration_s, 100)])[:, :, 0]
    if len(path.left.begins_s) > 2:  # it is a ramp
        assert np.abs(way[:, 1]).max() <= max(abs(dq), speed) + 1e-6
    beyond = max(0.0, way[:, 0].max() - max(q, 0.0), min(q, 0.0) - way[:, 0].min())
    assert beyond <= 0.4 * abs(dq) / 2 + 1e-9  # no more than a stop takes


def test_no_other_join_has_less_squared_jerk():
    moment = Moment(np.array([0.3]), np.array([-0.5]), np.array([2.0]))
    path = joined(moment, line(np.zeros(1), np.zeros(1), 0), 0, 0.4, 10.0)
    s = np.linspace(0, 1, 4001)
    jerk = np.gradient([path.at(round(t * 0.4 * SECOND)).ddq[0] for t in s], s * 0.4)
    least = np.trapezoid(jerk**2, s)
    for power in (0, 1, 2):  # s³ (1 − s)³ sᵖ keeps position, velocity and acceleration of both ends
        bump = np.gradient(np.gradient(np.gradient(s**3 * (1 - s) ** 3 * s**power, s), s), s)
        for size in (-1.0, 1.0):
            assert np.trapezoid((jerk + size * bump) ** 2, s) > least


def test_the_peak_speed_of_a_join_from_rest():
    path = joined(
        Moment(np.array([0.4]), np.zeros(1), np.zeros(1)), line(np.zeros(1), np.zeros(1), 0), 0, 0.5, 10.0
    )
    fastest = max(abs(path.at(stamp_ns).dq[0]) for stamp_ns in range(0, 500_000_001, 1_000_000))
    assert fastest == pytest.approx(PEAK_SPEED * 0.4 / 0.5)
