"""Policy ↔ person ↔ standstill: whatever arrives, and whenever, the motion goes on without a jump."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.execution.command import ExecutorConfig

MS = 1_000_000
FIXTURE = [HealthCheck.function_scoped_fixture]
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]  # a story is slow to shrink


def drift(t):
    return 0.3 * t, -0.2 * t, 1.0


def motion(command):
    return np.stack([command.q_rad, command.dq_rad_s, command.ddq_rad_s2])


events = st.one_of(
    st.tuples(st.just("offer"), st.integers(0, 900), st.floats(0, 2)),
    st.tuples(st.just("human"), st.integers(0, 60), st.floats(-2, 2)),
    st.tuples(st.sampled_from(["take_over", "give_back", "emergency_stop", "reset", "nothing"])),
)


def happen(cell, event, random):
    match event:
        case ("offer", ago_ms, size):
            cell.offer(random.normal(0, size, (random.integers(1, 40), 3)), ago_ms * MS)
        case ("human", ago_ms, q):
            cell.human([q, -q], ago_ns=ago_ms * MS)
        case ("take_over",):
            cell.executor.take_over("human")
        case ("give_back",):
            cell.executor.give_back()
        case ("emergency_stop",):
            cell.executor.emergency_stop("test")
        case ("reset",):
            cell.executor.reset_emergency_stop()


@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURE, phases=QUICK)
@given(st.lists(st.tuples(events, st.integers(1, 8)), max_size=12), st.integers(0, 2**32 - 1))
def test_no_event_makes_position_velocity_or_acceleration_jump(rig, story, seed):
    """The same moment before and after, and a nanosecond later: what differs there is a jump."""
    cell, random = rig(), np.random.default_rng(seed)
    cell.run(5)
    for event, pause in story:
        before = motion(cell.run(1, 0))
        happen(cell, event, random)
        after = motion(cell.run(1, 0))
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-7)
        for _ in range(pause):  # a chunk's hand-over comes later, on a step
            here, later = motion(cell.run(1)), motion(cell.run(1, 1))
            np.testing.assert_allclose(later, here, rtol=1e-4, atol=1e-2)  # a jerk of 10⁷ rad/s³ in 1 ns
            np.testing.assert_allclose(later[0], here[0], rtol=0, atol=1e-6)
            np.testing.assert_allclose(later[1], here[1], rtol=0, atol=1e-4)


@settings(max_examples=3, deadline=None, suppress_health_check=FIXTURE, phases=QUICK)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_closing_a_gap_moves_no_joint_faster_than_the_config_says(rig, shoulder, elbow):
    cell = rig(ExecutorConfig(blend_speed_rad_s=0.5, human_speed_rad_s=1.5))
    for _ in range(8):  # each chunk comes while the gap to the one before is still being closed
        cell.offer(np.tile([shoulder, elbow, 1.0], (40, 1)))
        cell.run(40)
    assert np.abs([command.dq_rad_s for command in cell.commands]).max() <= 0.5 * 1.001
    np.testing.assert_allclose(cell.commands[-1].q_rad, [shoulder, elbow], atol=1e-3)
    cell.executor.take_over("human")
    for _ in range(120):
        cell.human([0.0, 0.0])
        cell.run(1)
    assert np.abs([command.dq_rad_s for command in cell.commands]).max() <= 1.5 * 1.05
    np.testing.assert_allclose(cell.commands[-1].q_rad, 0, atol=1e-3)


def taken(cell):
    cell.offer(lambda t: (0.5 * t, 0.0, 1.0))
    cell.run(90)
    cell.executor.take_over("human")
    return cell.run(1)


def test_a_person_takes_over_at_the_commanded_state_and_nothing_moves_on_its_own(rig):
    cell = rig()
    first = taken(cell)
    assert (first.source, first.state, cell.executor.status.in_charge) == ("hold", "quiet", "human")
    assert first.dq_rad_s[0] == pytest.approx(0.5, abs=0.02)
    cell.run(31)
    assert not cell.commands[-1].dq_rad_s.any()  # at rest stop_s later, until the person moves


def test_a_person_is_followed_without_lag(rig):
    cell = rig()
    taken(cell)
    start = cell.commands[-1].q_rad
    for step in range(100):  # 50 commands a second, 7 ms old when they arrive
        if step % 2 == 0:
            t = (cell.now_ns - 7 * MS) / 1e9
            cell.human(start + 0.2 * np.array([np.sin(2 * t), np.cos(2 * t)]), ago_ns=7 * MS)
        cell.run(1)
        assert cell.commands[-1].source == "human" or step == 0
    t = np.array([command.stamp_ns for command in cell.commands[-40:]]) / 1e9
    wanted = start + 0.2 * np.stack([np.sin(2 * t), np.cos(2 * t)], axis=1)
    np.testing.assert_allclose(cell.positions()[-40:], wanted, atol=0.01)  # a lag of 25 ms would be 0.01


@settings(max_examples=12, deadline=None, suppress_health_check=FIXTURE)
@given(st.integers(0, 60), st.floats(-1, 1), st.integers(1, 40))
def test_a_person_who_falls_silent_has_the_arm_at_rest_within_200_ms(rig, ago_ms, speed, commands):
    cell = rig()
    taken(cell)
    last_ns = cell.now_ns
    for step in range(commands):
        cell.run(1)
        if cell.human([0.45 + speed * step * 0.01, 0.3 * speed], ago_ns=ago_ms * MS) is None:
            last_ns = cell.now_ns - ago_ms * MS
    while cell.now_ns + 10 * MS <= last_ns + 200 * MS:
        cell.run(1)
    assert not cell.commands[-1].dq_rad_s.any()
    assert (cell.commands[-1].state, cell.commands[-1].source) == ("quiet", "brake")
    cell.human([0.5, 0.0])
    assert cell.run(1).source == "human"


def test_only_the_one_in_charge_moves_the_arm(rig):
    cell = rig()
    cell.human([1.0, 1.0])
    cell.executor.give_back()
    cell.run(1)
    assert cell.counts == {"not_in_charge": 2}
    taken(cell)
    cell.offer(drift)
    cell.run(40)
    assert cell.counts == {"not_in_charge": 3}
    assert not cell.commands[-1].dq_rad_s.any()


def test_what_was_observed_before_a_person_gave_back_is_not_executed(rig):
    cell = rig()
    taken(cell)
    for _ in range(60):
        cell.human([0.0, 0.4], gripper=0.2)
        cell.run(1)
    np.testing.assert_allclose(cell.commands[-1].q_rad, [0.0, 0.4], atol=0.02)
    assert cell.commands[-1].gripper_open == pytest.approx(0.2, abs=0.02)
    cell.executor.give_back()
    cell.run(5)
    cell.offer(drift, ago_ns=60 * MS)  # observed 10 ms before the order was obeyed
    cell.run(1)
    assert cell.counts == {"obsolete": 1}
    assert cell.commands[-1].state == "waiting"
    cell.run(40)
    at_rest = cell.commands[-1].q_rad
    cell.offer(drift, ago_ns=40 * MS)
    assert cell.run(4).source == "policy"
    np.testing.assert_allclose(cell.commands[-1].q_rad, at_rest, atol=1e-3)
    assert [seam.kind for seam in cell.seams if seam.kind != "chunk"] == ["take_over", "take_over", "give_back"]


def test_a_scripted_intervener_is_labelled_so(rig):
    cell = rig()
    cell.executor.take_over("scripted")
    cell.run(1)
    cell.human([0.01, 0.0])
    assert cell.run(1).source == "scripted"


@pytest.mark.parametrize(
    ("q", "gripper", "ago_ms", "refusal"),
    [
        ([np.nan, 0.0], None, 0, "not_finite"),
        ([0.0, 0.0], np.nan, 0, "not_finite"),
        ([0.0], None, 0, "shape"),
        ([0.0, 1e9], None, 0, "range"),
        ([0.1, 0.1], None, 90, "stale"),
        ([0.1, 0.1], None, -50, "clock"),
    ],
)
def test_a_persons_command_that_cannot_be_meant_is_refused_and_counted(rig, q, gripper, ago_ms, refusal):
    cell = rig()
    cell.executor.take_over("human")
    cell.run(40)
    cell.human(q, gripper, ago_ms * MS)
    cell.now_ns -= 10 * MS  # the next step is at the moment of the command
    cell.run(1)
    assert cell.counts == {refusal: 1}
    assert cell.commands[-1].state == "quiet"


def test_commands_that_arrive_in_the_wrong_order_are_refused(rig):
    cell = rig()
    cell.executor.take_over("human")
    cell.run(1)
    cell.human([0.01, 0.0], ago_ns=5 * MS)
    cell.human([0.02, 0.0], ago_ns=20 * MS)
    cell.run(1)
    assert cell.counts == {"older": 1}


def test_an_emergency_stop_is_latched_until_a_person_resets_it(rig):
    cell = rig()
    taken(cell)
    cell.human([0.6, 0.3])
    cell.run(5)
    cell.executor.emergency_stop("button")
    cell.executor.emergency_stop("again")
    cell.run(10)  # quick_stop_s and the step at which it was obeyed
    resting = cell.commands[-1]
    assert (resting.state, resting.source) == ("emergency_stop", "brake")
    assert not resting.dq_rad_s.any()
    assert cell.executor.status.emergency_reason == "button"
    for wake in (
        lambda: cell.offer(drift),
        lambda: cell.human([1.0, 1.0]),
        lambda: cell.executor.take_over("human"),
        cell.executor.give_back,
    ):
        wake()
        cell.run(10)
        assert cell.commands[-1].state == "emergency_stop"
        np.testing.assert_array_equal(cell.commands[-1].q_rad, resting.q_rad)
    assert cell.counts == {"emergency_stop": 4}
    cell.executor.reset_emergency_stop()
    assert cell.run(1).state == "waiting"
    assert cell.executor.status.in_charge == "policy"
    cell.human([1.0, 1.0])
    cell.offer(drift, ago_ns=30 * MS)
    cell.run(20)
    np.testing.assert_array_equal(cell.commands[-1].q_rad, resting.q_rad)
    cell.offer(drift)
    assert cell.run(5).source == "policy"


def test_an_emergency_stop_outlives_a_restart_of_the_executor_and_a_wrong_clock(rig):
    from hardware.ports import JointReading

    cell = rig()
    cell.executor.emergency_stop("button")
    cell.run(1)
    reading = JointReading(cell.now_ns, cell.executor.joint_names, np.array([0.1, 0.2]))
    cell.executor.start(reading, 1.0, cell.now_ns)
    assert cell.run(1).state == "emergency_stop"
    cell.now_ns -= 5_000 * MS
    assert cell.run(1).state == "emergency_stop"
    np.testing.assert_array_equal(cell.commands[-1].q_rad, [0.1, 0.2])


def test_a_config_whose_silent_person_stops_too_late_is_refused():
    with pytest.raises(ValidationError, match=r"at most 0\.2 s"):
        ExecutorConfig(stale_human_s=0.15)


def test_seams_measure_what_was_commanded_and_what_a_plain_switch_would_have_jumped(rig):
    cell = rig()
    cell.offer(np.zeros((40, 3)))
    cell.run(60)
    cell.offer(np.tile([0.1, -0.05, 1.0], (40, 1)))
    cell.run(60)
    seam = cell.seams[-1]
    assert seam.gap_rad == pytest.approx((0.1, 0.05))
    assert seam.duration_s == 0.3  # 1.875 · 0.1 rad / 0.75 rad/s = 0.25 s is less
    assert seam.jerk_rad_s3[0] == pytest.approx(60 * 0.1 / 0.3**3, rel=0.1)  # at the start; the mean over one step
    assert seam.velocity_jump_rad_s[0] <= 60 * 0.1 / 0.3**3 * 0.01**2 / 2 * 1.01
    assert seam.position_jump_rad[0] <= 60 * 0.1 / 0.3**3 * 0.01**3 / 6 * 1.01
    assert seam.as_record()["max_gap_rad"] == pytest.approx(0.1)
