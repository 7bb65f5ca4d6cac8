"""When the executor may act: during an episode or between two, while nobody who is needed is missing.

What the executor's process hears goes in from any thread; `tick`, from the control thread, gives the command to send.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.cell import CellConfig
from hardware.execution.command import ExecutorConfig
from hardware.execution.executor import Executor
from hardware.execution.run_log import RunLog, started
from hardware.messages import ActionChunk
from hardware.ports import JointReading

SILENT_PERSON_S = 0.06
"""Three heartbeats of the page, or commands of a gamepad: what is left of 0.2 s is for the stop itself."""
QUICK_STOP_S = 0.05
"""Of the commands. Servo, delay and the detection of what happened must fit into 0.2 s beside it."""


class ExecutionLoop:
    """Starts from the first reading that was made after the episode began, and waits for chunks newer than that."""

    def __init__(self, cell: CellConfig, log_folder: Path) -> None:
        source = "scripted" if cell.policy.kind == "scripted" else "policy"
        stale_s = cell.limits.stale_chunk_s
        config = ExecutorConfig(
            rate_hz=cell.rate_hz,
            stale_chunk_s=stale_s,
            stale_human_s=SILENT_PERSON_S,
            quick_stop_s=QUICK_STOP_S,
            stop_acceleration_rad_s2=min(joint.acceleration_rad_s2 for joint in cell.limits.joints),
            stop_jerk_rad_s3=min(joint.jerk_rad_s3 for joint in cell.limits.joints),
        )
        self.executor = Executor(cell.limits.names, config, cell.has_gripper, source)
        self.missing: tuple[str, ...] = ()
        self._names = cell.limits.names
        info = started(cell.limits.names, self.executor.names, cell.rate_hz)
        self._log = RunLog(log_folder, info)
        self._announced = Announcement()
        self._lock = threading.Lock()
        self._first: tuple[JointReading, float | None] | None = None
        self._starts = False
        self._runs = False

    def announced(self, announcement: Announcement) -> None:
        with self._lock:
            if announcement.moves and announcement != self._announced:
                self._starts, self._first = True, None
            elif not announcement.moves:
                self._starts = self._runs = False
            self._announced = announcement

    def reading(self, reading: JointReading, gripper_open: float | None) -> None:
        with self._lock:
            if self._starts and self._first is None and reading.stamp_ns > self._announced.since_ns:
                self._first = (reading, gripper_open)

    def offer(self, chunk: ActionChunk) -> None:
        """A chunk starts at the stamp of the observation that it answers."""
        self.executor.offer(chunk, chunk.start_ns)
        self._log.offered(chunk, chunk.start_ns, time.monotonic_ns())

    def lost(self, missing: tuple[str, ...]) -> None:
        """Who is missing as of now; the policy is held until nobody is."""
        if missing and not self.missing:
            self.executor.hold()
        elif self.missing and not missing:
            self.executor.release()
        self.missing = missing

    def emergency(self, active: bool) -> None:
        """The state of the latched stop, which the arm's process keeps."""
        if active:
            self.executor.emergency_stop("asked for")
        else:
            self.executor.reset_emergency_stop()

    def intervene(self, who: str) -> None:
        """`human` or `scripted` takes over; anything else gives back to the policy."""
        if who == "human" or who == "scripted":
            self.executor.take_over(who)
        else:
            self.executor.give_back()

    def person(self, command: JointCommand) -> None:
        """What the one who took over wants now."""
        if command.names == self._names:
            self.executor.human_command(command.q_rad, command.gripper_open, command.stamp_ns, command.dq_rad_s)

    def tick(self, now_ns: int) -> JointCommand | None:
        """None while the arm may not be moved: the arm's own watchdog holds it then."""
        with self._lock:
            if self._starts and self._first is not None:
                reading, gripper_open = self._first
                self.executor.start(reading, gripper_open, now_ns)
                self._starts, self._runs = False, True
            if not self._runs:
                return None
        command = self.executor.tick(now_ns)
        if command.seam is not None:
            self._log.sewn(command.seam)
        return JointCommand(
            command.stamp_ns, self._names, command.q_rad, command.dq_rad_s, command.gripper_open, command.source
        )

    def failed(self, error: Exception) -> None:
        """A control step raised: only a person may go on."""
        self.executor.emergency_stop(f"{type(error).__name__}: {error}")

    def ticked(self, deadline_ns: int, woke_ns: int, done_ns: int) -> None:
        """When the control step was due, began and ended."""
        self._log.ticked(deadline_ns, woke_ns, done_ns)

    @property
    def status(self) -> dict[str, object]:
        """For diagnostics."""
        status = self.executor.status
        return {"state": status.state, "source": status.source, "delay_steps": status.delay_steps, **status.counts}

    def close(self) -> None:
        self._log.close()
