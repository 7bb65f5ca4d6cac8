"""The executor follows chunks, never a row that is past, keeps what is committed, and stops when nothing comes."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.errors import BadInput
from hardware.execution.command import ExecutorConfig
from hardware.execution.executor import Executor
from hardware.ports import JointReading

MS = 1_000_000


def swing(t):
    return np.sin(t), 0.5 * np.cos(2 * t) - 0.5, 1.0


def drift(t):
    return 0.3 * t, -0.2 * t, 1.0


def test_a_chunk_is_followed_once_the_blend_is_over(rig):
    cell = rig()
    cell.run(1)
    cell.offer(swing)
    cell.run(60)
    for command in (cell.run(1) for _ in range(60)):
        t = (command.stamp_ns - 50_000_000_000) / 1e9
        np.testing.assert_allclose(command.q_rad, swing(t)[:2], atol=2e-4)  # what a spline at 20 Hz leaves
        np.testing.assert_allclose(command.dq_rad_s, [np.cos(t), -np.sin(2 * t)], atol=5e-3)
        assert (command.source, command.state) == ("policy", "running")


def test_the_committed_prefix_is_executed_unchanged(rig):
    with_new, without = rig(), rig()
    for cell in (with_new, without):
        cell.offer(swing)
        cell.run(80)
    with_new.offer(drift, ago_ns=100 * MS)
    freeze = with_new.executor.config.freeze_steps
    with_new.run(1 + freeze)
    without.run(1 + freeze)
    assert np.array_equal(with_new.positions(), without.positions())
    assert not np.array_equal(with_new.run(1).q_rad, without.run(1).q_rad)


def test_a_second_chunk_within_the_committed_prefix_does_not_put_the_hand_over_off(rig):
    cell = rig(ExecutorConfig(freeze_steps=3))
    for number in range(30):  # one chunk per step would otherwise postpone for ever
        cell.offer(drift, ago_ns=5 * MS - number)
        cell.run(1)
    assert len(cell.seams) > 4
    assert cell.commands[-1].state == "running"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 900), st.integers(0, 2**32 - 1))
def test_rows_that_are_past_are_never_executed(rig, ago_ms, seed):
    honest, spoilt = rig(), rig()
    past = sum((row + 1) * 50 <= ago_ms + 30 for row in range(40))  # next step is in 10 ms, two more are frozen
    for cell in (honest, spoilt):
        cell.run(100)
        rows = cell.chunk(drift, ago_ms * MS).values
        if cell is spoilt:
            rows[:past] = np.random.default_rng(seed).normal(0, 3, (past, 3))
        assert cell.offer(rows, ago_ms * MS) is None
        cell.run(100)
    np.testing.assert_array_equal(honest.positions(), spoilt.positions())
    assert honest.commands[105].state == "running"
    assert honest.seams[0].dropped_rows == past


def test_a_chunk_that_is_all_past_is_refused(rig):
    cell = rig()
    cell.run(100)
    cell.offer(np.ones((3, 3)), ago_ns=200 * MS)  # rows were due 150, 100 and 50 ms ago
    cell.run(1)
    assert cell.counts == {"past": 1}
    assert cell.commands[-1].state == "waiting"


def test_the_delay_is_counted_in_executed_steps(rig):
    cell = rig()
    cell.run(100)
    for ago_ns in (300 * MS, 145 * MS, 95 * MS):
        cell.offer(
            np.zeros((40, 3)), ago_ns
        )  # 30 steps (cold: left out); 140 … 0 ms ago: 15 steps; 90 … 0: 10 steps
        cell.run(70)
    assert [seam.delay_steps for seam in cell.seams] == [30, 15, 10]
    assert cell.executor.status.delay_steps == 15


def test_a_dry_buffer_ends_in_a_smooth_stop_and_exact_rest(rig):
    cell = rig()
    cell.offer(lambda t: (t, 0.0, 1.0))
    cell.run(200)  # 40 rows at 20 Hz are 2 s, but after 1.5 s the observation is too old
    assert cell.run(1).state == "dry"
    stopped = cell.run(1)
    assert (stopped.source, stopped.chunk_stamp_ns) == ("hold", None)
    assert not stopped.dq_rad_s.any()
    assert np.array_equal(stopped.q_rad, cell.run(50).q_rad)
    assert [seam.kind for seam in cell.seams] == ["chunk", "stale_chunk"]
    # from 1 rad/s within 0.3 s: 0.15 rad further than where the rows were left, at 1.5 s
    assert stopped.q_rad[0] == pytest.approx(1.65, abs=1e-3)
    stop = cell.positions()[148:, 0]
    assert np.abs(np.diff(stop, n=2)).max() == pytest.approx(
        1.5 * 1.0 / 0.3 * 1e-4, rel=0.01
    )  # 1.5 v / t = 5 rad/s²


def test_the_end_of_a_short_chunk_is_the_beginning_of_the_stop(rig):
    cell = rig()
    cell.offer(np.full((10, 3), 0.1))
    cell.run(49)
    assert cell.commands[-1].state == "running"
    cell.run(2)
    assert cell.commands[-1].state == "dry"
    cell.offer(swing)
    cell.run(5)
    assert cell.commands[-1].state == "running"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"names": ("shoulder", "wrist", "gripper")}, "names"),
        ({"names": ("elbow", "shoulder", "gripper")}, "order"),
        ({"names": ("shoulder", "gripper"), "values": np.zeros((2, 2))}, "names"),
        ({"space": "joint_vel_rad_s"}, "space"),
        ({"rate_hz": 1000.0}, "rate"),
        ({"rate_hz": 0.1}, "rate"),
        ({"values": np.full((2, 3), 1e200)}, "range"),
    ],
)
def test_a_chunk_that_cannot_be_meant_is_refused_and_counted(rig, changes, refusal):
    cell = rig()
    assert cell.offer(**({"values": swing} | changes)) == refusal
    cell.run(1)
    assert cell.counts == {refusal: 1}
    assert cell.commands[-1].state == "waiting"


def test_a_chunk_that_turned_to_nan_after_it_was_made_is_refused(rig):
    cell = rig()
    chunk = cell.chunk(swing)
    chunk.values[3, 1] = np.nan
    assert cell.executor.offer(chunk, cell.now_ns) == "not_finite"
    chunk.values[3, 1] = 0.0
    assert cell.executor.offer(chunk, cell.now_ns) is None
    chunk.values[:] = np.nan  # its buffer is used again by the sender
    cell.run(50)
    assert np.isfinite(cell.positions()).all()


def test_chunks_out_of_time_are_refused_and_counted(rig):
    cell = rig()
    cell.run(200)
    cell.offer(swing, ago_ns=-100 * MS)
    cell.offer(swing, ago_ns=1600 * MS)
    cell.offer(swing, ago_ns=50 * MS)
    cell.offer(swing, ago_ns=60 * MS)
    cell.run(1)
    assert cell.counts == {"clock": 1, "stale": 1, "older": 1}
    fresh = rig()
    fresh.offer(swing, ago_ns=1 * MS)
    fresh.run(1)
    assert fresh.counts == {"obsolete": 1}  # observed before the start


@pytest.mark.parametrize(("leap_ns", "fault"), [(-3_000 * MS, "clock_backwards"), (400 * MS, "gap")])
def test_a_clock_that_leaps_brings_the_arm_to_rest_without_a_jump(rig, leap_ns, fault):
    cell = rig()
    cell.offer(lambda t: (0.5 * t, 0.0, 1.0))
    cell.run(80)
    cell.now_ns += leap_ns
    cell.run(40)
    assert cell.counts == {fault: 1}
    assert cell.commands[-1].state == "waiting"
    assert not cell.commands[-1].dq_rad_s.any()
    steps = np.diff(cell.positions()[78:, 0])
    assert steps[0] == pytest.approx(0.005, abs=1e-4)  # 0.5 rad/s
    assert 0 < steps[1] < steps[0]  # the step of the leap: one period of the stop, not 40
    assert steps.max() <= steps[0]
    assert np.abs(np.diff(steps)).max() < 1e-3  # 1.5 · 0.5 rad/s / 0.09 s = 8.3 rad/s²
    cell.offer(swing)
    cell.run(10)
    assert cell.commands[-1].state == "running"


def test_the_gripper_is_the_last_column_and_stays_within_its_range(rig):
    cell = rig()
    cell.offer(lambda t: (0.0, 0.0, 1.3 if t < 0.6 else -0.5))
    cell.run(150)
    openings = [command.gripper_open for command in cell.commands]
    assert min(openings) == 0.0
    assert max(openings) == 1.0
    bare = rig(gripper=None)
    bare.offer(np.zeros((10, 2)))
    assert bare.run(10).gripper_open is None
    assert bare.commands[-1].state == "running"


def test_chunks_of_a_script_are_labelled_so(rig):
    cell = rig(source="scripted")
    cell.offer(swing)
    assert cell.run(10).source == "scripted"


def test_start_names_what_is_wrong():
    executor = Executor(("a", "b"))
    with pytest.raises(BadInput, match="where the arm is"):
        executor.tick(0)
    with pytest.raises(BadInput, match="joints are b, a; the executor has a, b"):
        executor.start(JointReading(0, ("b", "a"), np.zeros(2)), 1.0, 0)
    with pytest.raises(BadInput, match="gripper"):
        executor.start(JointReading(0, ("a", "b"), np.zeros(2)), None, 0)


def test_a_moving_arm_is_brought_to_rest_from_the_velocity_it_has():
    executor = Executor(("a",), has_gripper=False)
    executor.start(JointReading(0, ("a",), np.array([0.2]), np.array([0.4])), None, 0)
    first = executor.tick(10 * MS)
    assert first.q_rad[0] == pytest.approx(0.2 + 0.4 * 0.01, abs=1e-4)
    for step in range(2, 12):
        last = executor.tick(step * 10 * MS)
    assert last.q_rad[0] == pytest.approx(0.2 + 0.4 * 0.09 / 2)
    assert last.dq_rad_s[0] == 0


def test_a_ros_interpreter_can_load_it():
    heavy = "torch|scipy|mujoco|cv2|lerobot|matplotlib|rclpy|numba"
    code = (
        "import sys, re; import hardware.execution.executor, hardware.execution.deadline; "
        f"print([m for m in sys.modules if re.fullmatch('{heavy}', m)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
