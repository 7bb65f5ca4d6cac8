"""The loop keeps to absolute deadlines, leaves missed ones out, and stops the arm when a step fails."""

import os
import time

import numpy as np
import pytest

from hardware.execution.deadline import DeadlineLoop, sleep_until
from hardware.execution.executor import Executor
from hardware.ports import JointReading


def run_until(loop, done, timeout_s=10.0):
    loop.start()
    end = time.monotonic() + timeout_s
    while not done() and time.monotonic() < end:
        time.sleep(0.005)
    loop.stop()
    assert not loop.is_alive
    return loop


def test_it_does_not_drift_over_200_ticks():
    record = []
    loop = DeadlineLoop(200.0, lambda now_ns: None, record=lambda *stamps: record.append(stamps))
    run_until(loop, lambda: loop.ticks + loop.missed >= 200)
    deadlines, woke, done = np.array(record).T
    periods, rest = np.divmod(deadlines - deadlines[0], loop.period_ns)
    assert not rest.any()  # every deadline is a whole number of periods after the first
    assert (np.diff(periods) >= 1).all()
    assert periods[-1] + 1 >= 200
    assert periods[-1] + 1 == loop.ticks + np.sum(np.diff(periods) - 1)
    assert (woke >= deadlines).all()
    assert (done >= woke).all()
    assert loop.scheduler.startswith(("fifo 50", "other"))


def test_missed_deadlines_are_counted_and_not_caught_up_in_a_burst():
    record = []

    def tick(now_ns):
        if len(record) == 5:
            time.sleep(0.055)  # five deadlines and a half

    loop = DeadlineLoop(100.0, tick, record=lambda *stamps: record.append(stamps))
    run_until(loop, lambda: len(record) >= 20)
    deadlines, woke, done = np.array(record).T
    assert done[5] - woke[5] >= 55_000_000
    assert deadlines[6] - deadlines[5] >= 60_000_000
    assert (deadlines[1:] >= done[:-1]).all()  # nothing is called for a deadline that was past already
    assert loop.missed >= (deadlines[-1] - deadlines[0]) / loop.period_ns + 1 - len(record) >= 5


def test_a_step_that_fails_stops_the_arm_and_the_loop_goes_on():
    executor = Executor(("a",), has_gripper=False)
    executor.start(JointReading(0, ("a",), np.zeros(1), np.array([0.3])), None, time.monotonic_ns())
    commands = []

    def tick(now_ns):
        if len(commands) == 10 and not loop.failures:
            raise ZeroDivisionError("a bug")
        commands.append(executor.tick(now_ns))

    loop = DeadlineLoop(100.0, tick, on_failure=lambda error: executor.emergency_stop(f"control step: {error}"))
    run_until(loop, lambda: len(commands) >= 30)
    assert loop.failures == 1
    assert isinstance(loop.failure, ZeroDivisionError)
    assert executor.status.emergency_reason == "control step: a bug"
    assert commands[-1].state == "emergency_stop"
    assert not commands[-1].dq_rad_s.any()


def test_a_step_that_always_fails_ends_the_loop():
    def tick(now_ns):
        raise ValueError("broken")

    loop = DeadlineLoop(100.0, tick)
    loop.start()
    deadline = time.monotonic() + 5
    while loop.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not loop.is_alive
    assert loop.failures == 3


def test_without_a_priority_none_is_asked_for():
    loop = DeadlineLoop(100.0, lambda now_ns: None, priority=None)
    run_until(loop, lambda: loop.ticks >= 3)
    assert loop.scheduler == "other"


@pytest.mark.parametrize("ahead_ns", [-1_000_000, 0, 3_000_000])
def test_sleep_until_never_wakes_early(ahead_ns):
    until_ns = time.monotonic_ns() + ahead_ns
    sleep_until(until_ns)
    assert time.monotonic_ns() >= until_ns


def test_the_other_threads_are_raised_with_the_loop_and_lowered_after_it():
    seen = []
    loop = DeadlineLoop(100.0, lambda now_ns: seen.append(os.sched_getscheduler(os.getpid())))
    run_until(loop, lambda: len(seen) >= 3)
    if not loop.scheduler.startswith("fifo"):
        pytest.skip("SCHED_FIFO is not allowed here")
    assert seen[-1] & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
