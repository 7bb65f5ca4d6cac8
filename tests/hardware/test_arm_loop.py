"""What an arm is really sent: limited, never stale, held when nobody commands, and latched after an emergency stop."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from hardware.arm_loop import ArmLoop, Cycle, JointCommand
from hardware.limits import JointLimits, Limiter, LimitsConfig
from hardware.ports import Arm, DeviceLost, Gripper, JointReading

STEP_NS = 10_000_000
VELOCITY = 2.0
NAMES = ("a", "b")


@dataclass
class PerfectArm:
    """Is at once where it was sent; keeps everything that it was sent."""

    names: tuple[str, ...] = NAMES
    q_rad: ndarray = field(default_factory=lambda: np.zeros(2))
    sent: list[ndarray] = field(default_factory=list)
    is_lost: bool = False

    def read(self) -> JointReading:
        if self.is_lost:
            raise DeviceLost("unplugged")
        return JointReading(1, self.names, self.q_rad)

    def send(self, q_rad: ndarray) -> ndarray:
        self.q_rad = q_rad
        self.sent.append(q_rad)
        return q_rad

    def stop(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class PerfectGripper:
    opening: float = 1.0

    def read(self) -> tuple[int, float]:
        return 1, self.opening

    def send(self, opening: float) -> float:
        self.opening = opening
        return opening

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Rig:
    """A loop with its clock."""

    def __init__(self, watchdog_s: float = 0.1) -> None:
        joints = [
            JointLimits(
                name=name,
                lower_rad=-2,
                upper_rad=2,
                velocity_rad_s=VELOCITY,
                acceleration_rad_s2=20,
                jerk_rad_s3=400,
            )
            for name in NAMES
        ]
        self.arm, self.gripper = PerfectArm(), PerfectGripper()
        self.limiter = Limiter(LimitsConfig(joints=tuple(joints)))
        self.loop = ArmLoop(self.arm, self.gripper, self.limiter, watchdog_s=watchdog_s, gripper_speed_hz=2.0)
        self.now_ns = STEP_NS

    def command(self, q: float, dq: float = 0.0, gripper: float | None = None) -> None:
        values = np.full(2, q), np.full(2, dq)
        self.loop.offer(JointCommand(self.now_ns, NAMES, *values, gripper, "policy"))

    def run(self, steps: int = 1) -> Cycle:
        for _ in range(steps):
            self.now_ns += STEP_NS
            cycle = self.loop.tick(self.now_ns)
        return cycle


def test_the_fakes_are_what_a_driver_must_be() -> None:
    assert isinstance(PerfectArm(), Arm)
    assert isinstance(PerfectGripper(), Gripper)


def test_nothing_is_sent_before_the_start() -> None:
    rig = Rig()
    rig.command(1.0)
    assert rig.run(5).phase == "idle"
    assert not rig.arm.sent


def test_a_far_command_is_approached_within_the_limits_and_labelled() -> None:
    rig = Rig()
    rig.loop.start()
    rig.run()
    for _ in range(100):
        rig.command(1.0)
        cycle = rig.run()
    assert (cycle.phase, cycle.source) == ("active", "policy")
    np.testing.assert_allclose(rig.arm.q_rad, 1.0, atol=1e-4)
    assert np.abs(np.diff(rig.arm.sent, axis=0)).max() <= VELOCITY * STEP_NS * 1e-9 + 1e-9


def test_without_a_fresh_command_the_arm_is_at_rest_within_two_tenths_of_a_second() -> None:
    rig = Rig()
    rig.loop.start()
    for step in range(60):
        rig.command(0.015 * step, 1.5)
        rig.run()
    silent = [rig.run() for _ in range(30)]
    assert silent[12].phase == "holding"
    assert silent[12].source == "hold"
    np.testing.assert_array_equal(rig.arm.sent[-1], rig.arm.sent[-30 + 20])


def test_a_command_to_brake_brings_the_arm_to_rest_wherever_that_is() -> None:
    rig = Rig()
    rig.loop.start()
    for step in range(60):
        rig.command(0.015 * step, 1.5)
        rig.run()
    behind = np.full(2, 0.0)
    for _ in range(20):
        rig.loop.offer(JointCommand(rig.now_ns, NAMES, behind, behind, None, "brake"))
        cycle = rig.run()
    assert (cycle.phase, cycle.source) == ("holding", "hold")
    assert np.diff(rig.arm.sent[-21:], axis=0).min() >= 0
    np.testing.assert_array_equal(rig.arm.sent[-1], rig.arm.sent[-2])


def test_a_late_command_is_carried_on_by_its_own_velocity() -> None:
    """A ramp of 1 rad/s that arrives one step late is followed without any lag once it is caught."""
    rig = Rig()
    rig.loop.start()
    for step in range(80):
        stamp_ns = rig.now_ns - STEP_NS
        values = np.full(2, 0.01 * step), np.full(2, 1.0)
        rig.loop.offer(JointCommand(stamp_ns, NAMES, *values))
        rig.run()
    # sent two periods (20 ms) after the stamp: 0.02 rad further than the command itself
    np.testing.assert_allclose(rig.arm.sent[-1], 0.01 * 79 + 0.02, atol=1e-3)


def test_an_emergency_stop_is_latched_through_any_command() -> None:
    rig = Rig()
    rig.loop.start()
    rig.command(1.0)
    rig.run(5)
    rig.loop.emergency_stop()
    for _ in range(60):
        rig.command(1.0)
        cycle = rig.run()
    assert cycle.phase == "stopped"
    np.testing.assert_array_equal(rig.arm.sent[-1], rig.arm.sent[-10])
    rig.loop.reset_emergency_stop()
    assert rig.run().phase == "holding"
    rig.command(1.0)
    assert rig.run().phase == "active"


def test_a_stop_ends_at_rest_and_then_sends_nothing() -> None:
    rig = Rig()
    rig.loop.start()
    for step in range(40):
        rig.command(0.015 * step, 1.5)
        rig.run()
    rig.loop.stop()
    assert rig.run().phase == "stopping"
    assert rig.run(60).phase == "idle"
    sent = len(rig.arm.sent)
    rig.run(5)
    assert len(rig.arm.sent) == sent


def test_an_arm_beyond_its_limits_is_not_started_and_says_why() -> None:
    rig = Rig()
    rig.arm.q_rad = np.array([2.5, 0.0])
    rig.loop.start()
    assert rig.run().phase == "idle"
    assert "stands at 2.500 rad" in str(rig.loop.fault)


def test_the_gripper_goes_no_faster_than_it_may_and_ignores_what_is_not_finite() -> None:
    rig = Rig()
    rig.loop.start()
    rig.run()
    rig.command(0.0, gripper=0.0)
    # 2 openings per second, 0.01 s: 0.02 per step
    assert rig.run().sent_gripper == pytest.approx(0.98)
    rig.command(0.0, gripper=float("nan"))
    assert rig.run().sent_gripper == pytest.approx(0.98)


def test_a_command_from_the_future_is_refused_and_counted() -> None:
    rig = Rig()
    rig.loop.start()
    rig.run()
    values = np.ones(2), np.zeros(2)
    rig.loop.offer(JointCommand(rig.now_ns + 1_000_000_000, NAMES, *values))
    rig.run(20)
    assert rig.limiter.counts["clock"] >= 20
    np.testing.assert_array_equal(rig.arm.q_rad, 0.0)


def test_a_lost_arm_is_reported_to_the_caller() -> None:
    rig = Rig()
    rig.arm.is_lost = True
    with pytest.raises(DeviceLost, match="unplugged"):
        rig.run()


floats = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(floats, floats, floats, st.integers(-3, 30)), max_size=30))
def test_no_command_whatever_makes_the_arm_leave_its_limits(steps: list[tuple[float, float, float, int]]) -> None:
    rig = Rig()
    rig.loop.start()
    rig.run()
    for q, dq, gripper, pause in steps:
        rig.command(q, dq, gripper)
        before = rig.arm.q_rad
        cycle = rig.run()
        assert np.abs(rig.arm.q_rad).max() <= 2.0
        assert np.abs(rig.arm.q_rad - before).max() <= VELOCITY * STEP_NS * 1e-9 + 1e-9
        assert cycle.sent_gripper is not None
        assert 0.0 <= cycle.sent_gripper <= 1.0
        rig.run(max(1, pause))
