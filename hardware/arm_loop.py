"""The last step before an arm's driver: commands in, limited commands out, once per cycle of the arm's own clock.

Nothing reaches the driver but through `hardware.limits`. A command is a point of a motion with its stamp and
velocity, and is carried on to the moment of sending, so that a command that came a little late does not jerk the arm.
Without a fresh command the arm comes to rest within the limits and stays there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware import devices, safety
from hardware.cell import CellConfig
from hardware.errors import TandemError
from hardware.limits import Limiter, Request, Sent, Violation
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import Arm, Gripper, JointReading

Phase = Literal["idle", "active", "holding", "stopping", "stopped"]
"""idle: nothing is sent. holding: no fresh command, or one to brake. stopping → idle. stopped: emergency stop."""


@dataclass(frozen=True, eq=False)
class JointCommand:
    """Where the arm is to be at `stamp_ns`, and how fast it moves there."""

    stamp_ns: int
    names: tuple[str, ...]
    q_rad: Float[ndarray, " J"]
    dq_rad_s: Float[ndarray, " J"] | None = None
    gripper_open: float | None = None
    source: str = ""
    """Who chose it: policy, human, scripted, hold; or brake: to rest at once, wherever that is."""

    def carried_to(self, now_ns: int, longest_s: float) -> Float[ndarray, " J"]:
        """The positions that the motion has reached by now, carried on for `longest_s` at most."""
        if self.dq_rad_s is None or self.dq_rad_s.shape != self.q_rad.shape:
            return self.q_rad
        age_s = (now_ns - self.stamp_ns) / NANOSECONDS_PER_SECOND
        return self.q_rad + self.dq_rad_s * min(max(age_s, 0.0), longest_s)


@dataclass(frozen=True, eq=False)
class Cycle:
    """What one cycle measured and really sent; `sent_rad` is None while nothing is sent."""

    stamp_ns: int
    phase: Phase
    reading: JointReading
    gripper_open: float | None
    sent_rad: Float[ndarray, " J"] | None = None
    sent_gripper: float | None = None
    source: str = "hold"
    """Who chose what was sent; `hold` whenever it was not a fresh command."""
    violations: tuple[Violation, ...] = ()


class ArmLoop:
    """One arm behind its limits. `tick` belongs to one thread; everything else may be called from any other."""

    def __init__(
        self,
        arm: Arm,
        gripper: Gripper | None,
        limiter: Limiter,
        *,
        watchdog_s: float,
        gripper_speed_hz: float,
        carry_s: float = 0.02,
    ) -> None:
        self.limiter = limiter
        self.phase: Phase = "idle"
        self.fault: TandemError | None = None
        """Why `start` was refused, as of the last cycle."""
        self._arm, self._gripper = arm, gripper
        self._watchdog_ns = int(watchdog_s * NANOSECONDS_PER_SECOND)
        self._gripper_speed_hz = gripper_speed_hz
        self._carry_s = carry_s
        self._command: JointCommand | None = None
        self._wants_start = False
        self._wants_stop = False
        self._emergency = False
        self._sent_gripper: float | None = None
        self._last_ns = 0

    def offer(self, command: JointCommand) -> None:
        """The newest command; it is sent from the next cycle on, until it is `watchdog_s` old."""
        self._command = command

    def start(self) -> None:
        """From the next cycle on, commands move the arm from where it then is."""
        self.fault, self._wants_stop, self._wants_start = None, False, True

    def stop(self) -> None:
        """Comes to rest, then sends nothing more: the servos keep their last goal."""
        self._wants_start, self._wants_stop = False, True

    def emergency_stop(self) -> None:
        """Latched: comes to rest and stays there, whatever is asked, until `reset_emergency_stop`."""
        self._emergency = True

    def reset_emergency_stop(self) -> None:
        self._command, self._emergency = None, False

    def wait(self, condition: Callable[[Phase], bool], timeout_s: float) -> bool:
        """Until the phase is one of those wanted, a start is refused, or the time is over; says whether it is."""
        until = time.monotonic() + timeout_s
        while not condition(self.phase) and self.fault is None and time.monotonic() < until:
            time.sleep(0.002)
        return condition(self.phase)

    def close(self) -> None:
        """Holds the arm where it is and frees the devices. The thread that ticks has ended before."""
        self._arm.stop()
        if self._gripper is not None:
            self._gripper.close()
        self._arm.close()

    def tick(self, now_ns: int) -> Cycle:
        """Reads, limits and sends once. Raises `DeviceLost`."""
        reading = self._arm.read()
        gripper_open = None if self._gripper is None else self._gripper.read()[1]
        if self._wants_start:
            self._start(now_ns, reading, gripper_open)
        if self.phase == "idle":
            self._wants_stop = False
            return Cycle(now_ns, "idle", reading, gripper_open)
        sent = self._limited(now_ns)
        sent_rad = self._arm.send(sent.q_rad)
        sent_gripper = self._send_gripper(now_ns)
        phase = self.phase
        source = self._command.source if phase == "active" and self._command is not None else "hold"
        if phase == "stopping" and sent.at_rest:
            self.phase, self._wants_stop = "idle", False
        self._last_ns = now_ns
        return Cycle(now_ns, phase, reading, gripper_open, sent_rad, sent_gripper, source, sent.violations)

    def _start(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> None:
        self._wants_start = False
        self._command = None
        try:
            self.limiter.start(now_ns, reading)
        except TandemError as error:
            self.fault, self.phase = error, "idle"
            return
        self._sent_gripper, self._last_ns = gripper_open, now_ns
        self.phase = "holding"

    def _limited(self, now_ns: int) -> Sent:
        command = self._command
        if self._wants_stop:
            self.phase = "stopping"
        elif self._emergency:
            self.phase = "stopped"
        elif command is None or command.source == "brake" or now_ns - command.stamp_ns > self._watchdog_ns:
            self.phase = "holding"
        else:
            self.phase = "active"
            q_rad = command.carried_to(now_ns, self._carry_s)
            request = Request(command.names, q_rad, command.dq_rad_s, chunk_stamp_ns=command.stamp_ns)
            return self.limiter.filter(now_ns, request)  # a stamp from the future is refused there
        return self.limiter.hold(now_ns)

    def _send_gripper(self, now_ns: int) -> float | None:
        """Towards the asked opening at no more than the gripper's speed; anything not finite is no request."""
        if self._gripper is None or self._sent_gripper is None:
            return None
        command = self._command
        if self.phase == "active" and command is not None and command.gripper_open is not None:
            asked = command.gripper_open
            if np.isfinite(asked):
                step = self._gripper_speed_hz * (now_ns - self._last_ns) / NANOSECONDS_PER_SECOND
                way = min(max(asked - self._sent_gripper, -step), step)
                self._sent_gripper = min(max(self._sent_gripper + way, 0.0), 1.0)
        self._sent_gripper = self._gripper.send(self._sent_gripper)
        return self._sent_gripper


def connect(cell: CellConfig) -> ArmLoop:
    """The cell's arm behind the cell's limits. Raises `DeviceLost` and `BadInput`."""
    limiter = safety.limiter(cell)
    arm, gripper = devices.open_arm(cell)
    return ArmLoop(arm, gripper, limiter, watchdog_s=cell.watchdog_s, gripper_speed_hz=cell.gripper_speed_hz)
