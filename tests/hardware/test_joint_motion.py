"""One joint: the closed forms agree with the motion itself, and no target makes it leave its limits."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hardware.joint_motion import (
    Bounds,
    advance,
    approach,
    brake,
    follow,
    is_safe,
    jerk_range,
    landing,
    rising_root,
    stop,
    stop_end,
    stop_time,
    stopping_speed,
    widened,
)

BOUNDS = Bounds(-1.5, 1.5, 2.0, 10.0, 200.0)
velocities = st.floats(-3, 3)
accelerations = st.floats(-10, 10)


@given(velocities, accelerations)
def test_the_range_of_a_stop_is_the_range_of_the_motion(dq, ddq):
    way, stop_s = stop(dq, ddq, BOUNDS), stop_time(dq, ddq, BOUNDS)
    path = np.array([brake((0.0, dq, ddq), t, BOUNDS) for t in np.linspace(0, stop_s, 200)])
    assert brake((0.0, dq, ddq), stop_s + 1e-6, BOUNDS)[1:] == (0.0, 0.0)
    assert path[-1, 0] == pytest.approx(stop_end(dq, ddq, BOUNDS), abs=1e-9)
    fine = 1e-4  # 200 samples may miss a turn by a little
    assert way.low - 1e-9 <= path[:, 0].min() <= way.low + fine
    assert way.high + 1e-9 >= path[:, 0].max() >= way.high - fine
    assert np.abs(path[:, 1]).max() <= way.fastest + 1e-9
    assert np.abs(path[:, 2]).max() <= BOUNDS.acceleration + 1e-9


def test_a_stop_by_hand():
    # From 1 rad/s: ramping in and out of 10 rad/s² takes 0.05 s each and 0.25 rad/s each: 0.05 s of steady braking.
    # 0.05·1 − 200·0.05³/6 = 0.045833; then from 0.75 rad/s 0.05·0.75 − 10·0.05²/2 = 0.025; then 200·0.05³/6 = 0.004167.
    assert stop_time(1.0, 0.0, BOUNDS) == pytest.approx(0.15)
    assert stop_end(1.0, 0.0, BOUNDS) == pytest.approx(0.045833 + 0.025 + 0.004167, abs=1e-6)


@given(velocities, accelerations, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_stop_cut_in_two_is_the_same_stop(dq, ddq, first_s, second_s):
    at_once = brake((0.0, dq, ddq), first_s + second_s, BOUNDS)
    in_two = brake(brake((0.0, dq, ddq), first_s, BOUNDS), second_s, BOUNDS)
    np.testing.assert_allclose(in_two, at_once, atol=1e-6)


@given(st.floats(0, 3))
def test_stopping_speed_is_the_inverse_of_the_stopping_distance(room):
    speed = stopping_speed(room, BOUNDS._replace(velocity=1e9))
    assert stop_end(speed, 0.0, BOUNDS) == pytest.approx(room, abs=1e-9)


@given(velocities, accelerations, st.sampled_from([1e-4, 0.002, 0.01, 0.05, 0.3]))
def test_no_jerk_of_the_range_breaks_velocity_or_acceleration(dq, ddq, dt_s):
    bounds = widened((0.0, dq, ddq), BOUNDS)
    low, high = jerk_range((0.0, dq, ddq), dt_s, bounds)
    for jerk in np.linspace(low, high, 7) if low <= high else ():
        inside = np.array([advance((0.0, dq, ddq), jerk, t) for t in np.linspace(0, dt_s, 20)])
        assert np.abs(inside[:, 1]).max() <= bounds.velocity + 1e-7
        assert np.abs(inside[:, 2]).max() <= bounds.acceleration + 1e-7
        assert stop(inside[-1, 1], inside[-1, 2], bounds).fastest <= bounds.velocity + 1e-7


@example(1.9999999999999998, 0.125, 0.01)  # the fastest moment is between two looks
@given(st.floats(-2, 2), accelerations, st.sampled_from([1e-4, 0.002, 0.01, 0.05, 0.3]))
def test_a_jerk_beyond_the_range_breaks_a_limit(dq, ddq, dt_s):
    bounds = widened((0.0, dq, ddq), BOUNDS)
    low, high = jerk_range((0.0, dq, ddq), dt_s, bounds)
    more = 1e-3 * BOUNDS.jerk
    if low <= high and high + more <= BOUNDS.jerk:
        after = advance((0.0, dq, ddq), high + more, dt_s)
        inside = np.array([advance((0.0, dq, ddq), high + more, t) for t in np.linspace(0, dt_s, 200)])
        between = 0.5 * abs(high + more) * (dt_s / 199) ** 2  # the fastest moment may lie between two looks
        fastest = max(inside[:, 1].max(), after[1] + after[2] * abs(after[2]) / (2 * bounds.jerk))
        assert fastest > bounds.velocity - between - 1e-9 or after[2] > bounds.acceleration


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-5, 5), st.floats(-1e-4, 1e-4), st.floats(-0.05, 0.05))
def test_landing_lands_and_its_samples_keep_the_limits(q, dq, ddq, q_off, dq_off):
    dt_s = 0.01
    target = q + dq * dt_s + ddq * dt_s**2 / 2 + q_off, dq + ddq * dt_s + dq_off
    after = landing((q, dq, ddq), *target, dt_s, BOUNDS)
    if after is not None:
        assert after[:2] == target
        assert is_safe(after, BOUNDS)


def test_landing_again_and_again_does_not_ring():
    state = (0.0, 0.0, 5.0)
    for _ in range(30):
        state = landing(state, 0.0, 0.0, 0.01, Bounds(-9, 9, 99, 1e3, 1e6))
        assert state is not None
    assert abs(state[2]) < 1e-7


@pytest.mark.parametrize("dt_s", [0.005, 0.01, 0.02])
def test_a_smooth_target_within_the_limits_is_met_exactly(dt_s):
    state = (0.0, 0.5, 0.0)
    for step in range(1, 500):
        angle = 3.0 * step * dt_s
        q, dq = 0.5 / 3.0 * math.sin(angle), 0.5 * math.cos(angle)
        state = follow(state, q, dq, dq, dt_s, BOUNDS)
        assert state[:2] == (q, dq)


def test_a_step_is_reached_in_the_least_time_without_overshoot():
    # 1 rad: 2 rad/s is reached in 2/10 + 10/200 = 0.25 s over 0.25 rad, and left likewise; 0.25 s at 2 rad/s: 0.75 s.
    state, steps = (0.0, 0.0, 0.0), 0
    while state[0] != 1.0:
        state = follow(state, 1.0, 0.0, 0.0, 0.01, BOUNDS)
        assert state[0] <= 1.0 + 1e-7  # as well as a stop is aimed
        steps += 1
    assert 75 <= steps <= 77


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1.5, 1.5),
    st.lists(
        st.tuples(st.floats(-1e9, 1e9) | st.floats(-2, 2), st.floats(-1e3, 1e3), st.floats(1e-4, 0.5)), max_size=60
    ),
)
def test_no_target_whatever_makes_the_joint_unsafe(q, targets):
    state = (q, 0.0, 0.0)
    for target, dq, dt_s in targets:
        state = follow(state, target, dq, dq, dt_s, BOUNDS)
        assert is_safe(state, BOUNDS._replace(lower=-1.5 - 1e-9, upper=1.5 + 1e-9, velocity=2 + 1e-9))


def test_from_beyond_a_limit_the_joint_comes_back_and_never_goes_further():
    state = (1.6, 0.0, 0.0)
    furthest = 1.6
    for _ in range(200):
        bounds = widened(state, BOUNDS)
        assert bounds.upper <= furthest + 1e-9
        furthest = bounds.upper
        state = follow(state, 5.0, 0.0, 0.0, 0.01, bounds)
    assert state[0] == pytest.approx(1.6)  # asked to go on: it stays
    for _ in range(200):
        state = follow(state, 1.0, 0.0, 0.0, 0.01, widened(state, BOUNDS))
    assert state == (1.0, 0.0, 0.0)


def test_approach_says_none_when_no_constant_jerk_is_safe():
    assert approach((1.4999, 1.9, 0.0), 0.0, 0.0, 0.5, BOUNDS) is None


@given(st.floats(-3, 3))
def test_the_root_of_a_rising_function_is_found_or_the_nearer_end(at):
    root = rising_root(lambda x: (x - at) ** 3, -1.0, 1.0)
    assert root == pytest.approx(min(max(at, -1.0), 1.0), abs=0.0047)  # ∛1e-7: there the value is as good as zero
