"""The SO-101 on USB: an arm and a gripper on one servo bus, driven by a thread that reads and writes in turn.

Joint angles are zero in the middle of each servo's calibrated range, as in the arm's model ("new calibration"), and
grow with the servo's position unless the calibration's `drive_mode` says otherwise. The gripper is 0 at the lower end
of its range and 1 at the upper. Limits beyond the calibrated range are not this driver's: `hardware.limits` has them.

Tested against servos faked at the serial packet; not run on an arm here.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from lerobot.motors import MotorCalibration
from numpy import ndarray

from hardware.arms.servo_bus import FAULTS, GRIPPER, JOINTS, OVERLOAD, ServoBus, ServoState
from hardware.cell import CellConfig
from hardware.cell_devices import So101Arm
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import DeviceLost, JointReading

RAD_PER_TICK = 2 * math.pi / 4096

STALE_S = 0.25
"""A reading that is older means that the bus thread hangs in the operating system."""


@dataclass(frozen=True)
class Scale:
    """One servo's ticks ↔ its joint's angle in rad (or, of the gripper, its opening)."""

    low: int
    high: int
    sign: int
    """−1: the angle falls as the ticks grow."""

    @classmethod
    def of(cls, calibration: MotorCalibration) -> Scale:
        return cls(calibration.range_min, calibration.range_max, -1 if calibration.drive_mode else 1)

    def angle_rad(self, ticks: int) -> float:
        return self.sign * (ticks - (self.low + self.high) / 2) * RAD_PER_TICK

    def ticks_at(self, angle_rad: float) -> int:
        """The nearest within the calibrated range."""
        return self._clipped((self.low + self.high) / 2 + self.sign * angle_rad / RAD_PER_TICK)

    def opening(self, ticks: int) -> float:
        """May leave 0 … 1 by a little: what was measured."""
        share = (ticks - self.low) / (self.high - self.low)
        return share if self.sign > 0 else 1 - share

    def ticks_open(self, opening: float) -> int:
        share = opening if self.sign > 0 else 1 - opening
        return self._clipped(self.low + share * (self.high - self.low))

    def _clipped(self, ticks: float) -> int:
        return round(min(max(ticks, self.low), self.high))


class So101:
    """An `Arm`; its `gripper` is a `Gripper` on the same bus and thread.

    `send` hands the goal to the thread, which writes it within a bus cycle (about 3 ms); of two goals within one
    cycle the newer is written.
    """

    names: tuple[str, ...] = JOINTS

    def __init__(self, bus: ServoBus, read_rate_hz: float, hottest_c: float) -> None:
        self._bus = bus
        self._scales = {name: Scale.of(calibration) for name, calibration in bus.calibration.items()}
        self._period_s = 1 / read_rate_hz
        self._hottest_c = hottest_c
        self._wake = threading.Condition()
        self._goals: dict[str, int] = {}
        self._closing = False
        self._fault: DeviceLost | None = None
        self._states = bus.read()
        self._stamp_ns = time.monotonic_ns()
        self.gripper = So101Gripper(self)
        self._thread = threading.Thread(target=self._run, name="so101 bus", daemon=True)
        self._thread.start()

    def read(self) -> JointReading:
        stamp_ns, states = self.newest()
        return JointReading(
            stamp_ns=stamp_ns,
            names=self.names,
            q_rad=np.array([self._scales[name].angle_rad(states[name].ticks) for name in self.names]),
            dq_rad_s=np.array(
                [self._scales[name].sign * states[name].ticks_per_s * RAD_PER_TICK for name in self.names]
            ),
        )

    def send(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        if q_rad.shape != (len(self.names),) or not np.isfinite(q_rad).all():
            raise ValueError(f"{len(self.names)} finite angles are needed, not {q_rad.tolist()}")
        angles = zip(self.names, q_rad.tolist(), strict=True)
        ticks = {name: self._scales[name].ticks_at(angle) for name, angle in angles}
        self.put(ticks)
        return np.array([self._scales[name].angle_rad(ticks[name]) for name in self.names])

    def stop(self) -> None:
        """The goals become where the servos are, in the thread's next cycle."""
        with contextlib.suppress(DeviceLost):
            _, states = self.newest()
            self.put({name: states[name].ticks for name in self.names})

    def close(self) -> None:
        """Torque stays on: without it the arm would fall."""
        self.stop()
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(1.0)
        self._bus.close()

    def newest(self) -> tuple[int, Mapping[str, ServoState]]:
        """(stamp_ns, servo → state). Raises `DeviceLost`."""
        with self._wake:
            if self._fault is not None:
                raise DeviceLost(self._fault.problem, self._fault.fix)
            if self._closing:
                raise DeviceLost("the arm is closed")
            stamp_ns, states = self._stamp_ns, self._states
        age_s = (time.monotonic_ns() - stamp_ns) / NANOSECONDS_PER_SECOND
        if age_s > STALE_S:
            raise DeviceLost(
                f"no reading for {age_s:.2f} s", "the serial driver hangs: unplug the adapter, plug it in"
            )
        return stamp_ns, states

    def put(self, ticks: Mapping[str, int]) -> None:
        """Goals for some servos; the newest of each is written next. Raises `DeviceLost`."""
        self.newest()
        with self._wake:
            self._goals.update(ticks)
            self._wake.notify()

    def scale(self, servo: str) -> Scale:
        return self._scales[servo]

    def _run(self) -> None:
        """Until closed or lost. A goal is written at once; between goals the bus is read at its rate."""
        due_s = time.monotonic()
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._goals or self._closing, max(due_s - time.monotonic(), 0.0))
                    goals, self._goals = self._goals, {}
                    closing = self._closing
                if goals:
                    self._bus.write_goals(goals)
                if closing:
                    return
                if time.monotonic() >= due_s:
                    self._measure()
                    due_s = max(due_s + self._period_s, time.monotonic())
        except DeviceLost as fault:
            self._fail(fault)
        except Exception as error:  # the arm node must hear of it, whatever it is
            self._fail(DeviceLost(f"the servo bus failed: {error!r}"))

    def _measure(self) -> None:
        stamp_ns = time.monotonic_ns()  # the servos sample when the request reaches them
        states = self._bus.read()
        with self._wake:
            self._stamp_ns, self._states = stamp_ns, states
        for name, state in states.items():
            trouble = self._trouble(name, state)
            if trouble:
                raise DeviceLost(*trouble)

    def _trouble(self, name: str, state: ServoState) -> tuple[str, str] | None:
        faults = state.status & ~OVERLOAD if name == GRIPPER else state.status  # a jaw that holds is overloaded
        for bit, words in FAULTS.items():
            if faults & bit:
                return f"servo '{name}' reports: {words} ({state.celsius} °C, {state.volts:.1f} V)", ADVICE[bit]
        if state.celsius > self._hottest_c:
            return f"servo '{name}' is at {state.celsius} °C (limit {self._hottest_c:.0f} °C)", ADVICE[4]
        return None

    def _fail(self, fault: DeviceLost) -> None:
        """Holds the joints where they were last seen, as well as the bus still allows, then says so to all."""
        with contextlib.suppress(Exception):
            self._bus.write_goals({name: self._states[name].ticks for name in self.names})
        with self._wake:
            self._fault = fault


ADVICE = {
    1: "check the arm's power supply: 5 V or 12 V, as the servos say on their label",
    2: "the servo needs replacing",
    4: "let it cool; an arm that rests stretched out heats its shoulder",
    8: "something blocks the joint: free it, then switch the arm's power off and on",
    OVERLOAD: "something blocks the joint: free it, then switch the arm's power off and on",
}
"""Bit of `FAULTS` → what to do."""


class So101Gripper:
    """A `Gripper` over its arm's bus."""

    def __init__(self, arm: So101) -> None:
        self._arm = arm

    def read(self) -> tuple[int, float]:
        stamp_ns, states = self._arm.newest()
        return stamp_ns, self._arm.scale(GRIPPER).opening(states[GRIPPER].ticks)

    def send(self, opening: float) -> float:
        if not math.isfinite(opening):
            raise ValueError(f"an opening of {opening}")
        scale = self._arm.scale(GRIPPER)
        ticks = scale.ticks_open(opening)
        self._arm.put({GRIPPER: ticks})
        return scale.opening(ticks)

    def stop(self) -> None:
        """A servo keeps its last goal, and so its grip; there is nothing to send."""

    def close(self) -> None:
        """Nothing to free: the bus is the arm's."""


def connect(cell: CellConfig) -> tuple[So101, So101Gripper]:
    """Raises `DeviceLost` and `BadInput`."""
    if not isinstance(cell.arm, So101Arm):
        raise BadInput(f"the arm of cell '{cell.name}' is of kind '{cell.arm.kind}', not 'so101'")
    arm = So101(ServoBus(cell.arm), cell.arm.read_rate_hz, cell.arm.hottest_c)
    return arm, arm.gripper
