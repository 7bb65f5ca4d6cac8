"""What the executor commands passes the limits as it is when chunks are within them, and stops within them when not."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.execution.command import ExecutorConfig
from hardware.limits import JointLimits, Limiter, LimitsConfig, Request
from hardware.ports import JointReading

MS = 1_000_000
JOINTS = ("shoulder", "elbow")


def limiter(**changes):
    usual = {
        "lower_rad": -1.5,
        "upper_rad": 1.5,
        "velocity_rad_s": 2.0,
        "acceleration_rad_s2": 10.0,
        "jerk_rad_s3": 300.0,
    }
    return Limiter(LimitsConfig(joints=tuple(JointLimits(name=name, **(usual | changes)) for name in JOINTS)))


class Pipeline:
    """A rig whose every command goes through the limits, as in the arm's node."""

    def __init__(self, cell, limits):
        self.cell, self.limits, self.sent = cell, limits, []
        limits.start(cell.now_ns, JointReading(cell.now_ns, JOINTS, np.zeros(2)))

    def run(self, steps, random=None):
        for _ in range(steps):
            step_ns = 10 * MS if random is None else int(random.integers(7 * MS, 13 * MS))
            command = self.cell.run(1, step_ns)
            if command.source == "brake":
                self.sent.append(self.limits.hold(command.stamp_ns))
            else:
                request = Request(JOINTS, command.q_rad, command.dq_rad_s, command.chunk_stamp_ns)
                self.sent.append(self.limits.filter(command.stamp_ns, request))

    def worst(self):
        return np.abs(np.array([sent.q_rad for sent in self.sent]) - self.cell.positions()).max()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_chunks_within_the_limits_are_followed_without_clipping(rig, seed, uneven):
    """Neighbouring chunks disagree by up to 60 mrad, rows jitter by 0.2 mrad, steps by 3 ms.

    That commands up to 220 rad/s³; where such a jerk sets in, the limits' own steps need up to twice as much to stay on
    it (at 300 rad/s³ and uneven steps they trail by 1 mrad for 20 steps).
    """
    random = np.random.default_rng(seed)
    line = Pipeline(rig(), limiter(jerk_rad_s3=600.0))
    for _ in range(8):
        shift = random.uniform(-0.03, 0.03, 2)

        def plan(t, shift=shift):
            jitter = random.normal(0, 0.0002, 2)
            return (*(np.array([0.4 * np.sin(t), 0.3 * (1 - np.cos(1.3 * t))]) + shift + jitter), 1.0)

        line.cell.offer(plan, ago_ns=0)
        line.run(40, random if uneven else None)
    assert not line.limits.counts
    assert line.worst() < 1e-6
    assert line.cell.commands[-1].state == "running"


def test_a_person_between_two_chunks_is_not_clipped_either(rig):
    cell = rig(ExecutorConfig(stop_s=0.4, quick_stop_s=0.09))
    line = Pipeline(cell, limiter(acceleration_rad_s2=20.0, jerk_rad_s3=1500.0))
    cell.offer(lambda t: (0.3 * t, 0.0, 1.0))
    line.run(70)
    cell.executor.take_over("human")
    line.run(3)
    held = cell.commands[-1].q_rad
    for step in range(60):
        cell.human(held + [0.1 * (1 - np.cos(step * 0.05)), 0.0], ago_ns=4 * MS)  # noqa: RUF005
        line.run(1)
    cell.executor.give_back()
    line.run(60)
    rested = cell.commands[-1].q_rad
    cell.offer(lambda t: (*(rested + 0.02), 1.0))
    line.run(50)
    assert not line.limits.counts
    assert line.worst() < 1e-6
    assert [seam.kind for seam in cell.seams] == ["chunk", "take_over", "take_over", "give_back", "chunk"]


def test_a_chunk_beyond_the_limits_is_clipped_and_reported_and_recovered_from(rig):
    line = Pipeline(rig(), limiter())
    for _ in range(3):
        line.cell.offer(lambda t: (2.5, 0.0, 1.0))
        line.run(100)
    assert line.limits.counts["position"] > 0
    assert line.sent[-1].q_rad[0] <= 1.5
    line.run(200)  # dry: the executor stands beyond the limit, the arm at it
    line.cell.offer(lambda t: (0.5, 0.0, 1.0))
    line.run(140)
    line.cell.offer(lambda t: (0.5, 0.0, 1.0))
    line.run(140)
    line.cell.offer(lambda t: (0.5, 0.0, 1.0))
    line.run(100)
    assert line.sent[-1].q_rad[0] == pytest.approx(0.5, abs=1e-3)
    assert not line.sent[-1].violations


@pytest.mark.parametrize("stop", ["hold", "emergency_stop"])
def test_a_quick_stop_that_the_limits_stretch_ends_at_rest(rig, stop):
    line = Pipeline(rig(), limiter())
    line.cell.offer(lambda t: (1.2 * t, 0.0, 1.0))
    line.run(70)
    if stop == "hold":
        line.cell.executor.hold()
    else:
        line.cell.executor.emergency_stop("test")
    line.run(60)
    assert line.sent[-1].at_rest
    assert line.worst() < 0.1


@settings(max_examples=10, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(-1, 1), st.sampled_from([100.0, 300.0, 1000.0]))
def test_the_limits_settle_on_a_motion_that_they_had_to_clip_and_do_not_ring_about_it(start, speed, jerk):
    limits = limiter(lower_rad=-9.0, upper_rad=9.0, jerk_rad_s3=jerk)
    limits.start(0, JointReading(0, JOINTS, np.zeros(2), np.array([start, -start])))
    for step in range(1, 300):
        asked = np.array([0.06, 0.2]) + speed * step * 0.01
        sent = limits.filter(step * 10 * MS, Request(JOINTS, asked, np.full(2, speed)))
    assert not sent.violations
    np.testing.assert_allclose(sent.q_rad, asked, atol=1e-9)


@given(st.floats(0.2, 1.2), st.integers(3, 60))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_arm_whose_person_falls_silent_never_swings_back(rig, speed, commands):
    """And it ends within 0.02 rad of where the executor believes that it does, to go on from there."""
    limits = {"acceleration_rad_s2": 30.0, "jerk_rad_s3": 900.0}
    config = ExecutorConfig(
        stale_human_s=0.06, quick_stop_s=0.05, stop_acceleration_rad_s2=30.0, stop_jerk_rad_s3=900.0
    )
    line = Pipeline(rig(config), limiter(**limits))
    line.cell.executor.take_over("human")
    line.run(2)
    q_rad = 0.0
    for step in range(commands):
        now_rad_s = min(speed, speed * (step + 1) / 12)  # as a jog does, at rest first
        q_rad += now_rad_s * 0.01
        line.cell.human([q_rad, 0.0], speed_rad_s=[now_rad_s, 0.0])
        line.run(1)
    line.run(25)
    after = [sent.q_rad[0] for sent in line.sent[-24:]]
    assert np.diff(after).min() > -1e-9
    assert line.sent[-1].at_rest
    assert abs(after[-1] - line.cell.commands[-1].q_rad[0]) < 0.02
