"""When the executor may act: between an episode's start and its end, while nobody who is needed is missing.

What the executor's process hears goes in from any thread; `tick`, from the control thread, gives the command to send.
"""

from __future__ import annotations

import threading

from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.cell import CellConfig
from hardware.execution.command import Command, ExecutorConfig
from hardware.execution.executor import Executor
from hardware.messages import ActionChunk
from hardware.ports import JointReading


class ExecutionLoop:
    """Starts from the first reading that was made after the episode began, and waits for chunks newer than that."""

    def __init__(self, cell: CellConfig) -> None:
        source = "scripted" if cell.policy.kind == "scripted" else "policy"
        stale_s = cell.limits.stale_chunk_s
        config = ExecutorConfig(rate_hz=cell.rate_hz, stale_chunk_s=stale_s)
        self.executor = Executor(cell.limits.names, config, cell.has_gripper, source)
        self.missing: tuple[str, ...] = ()
        self._names = cell.limits.names
        self._announced = Announcement()
        self._lock = threading.Lock()
        self._first: tuple[JointReading, float | None] | None = None
        self._starts = False
        self._runs = False

    def announced(self, announcement: Announcement) -> None:
        with self._lock:
            if announcement.is_running and announcement != self._announced:
                self._starts, self._first = True, None
            elif not announcement.is_running:
                self._starts = self._runs = False
            self._announced = announcement

    def reading(self, reading: JointReading, gripper_open: float | None) -> None:
        with self._lock:
            if self._starts and self._first is None and reading.stamp_ns > self._announced.since_ns:
                self._first = (reading, gripper_open)

    def offer(self, chunk: ActionChunk) -> None:
        """A chunk starts at the stamp of the observation that it answers."""
        self.executor.offer(chunk, chunk.start_ns)

    def lost(self, missing: tuple[str, ...]) -> None:
        """Who is missing as of now; the policy is held until nobody is."""
        if missing and not self.missing:
            self.executor.hold()
        elif self.missing and not missing:
            self.executor.release()
        self.missing = missing

    def tick(self, now_ns: int) -> Command | None:
        """None while no episode runs: the arm's own watchdog holds it then."""
        with self._lock:
            if self._starts and self._first is not None:
                reading, gripper_open = self._first
                self.executor.start(reading, gripper_open, now_ns)
                self._starts, self._runs = False, True
            if not self._runs:
                return None
        return self.executor.tick(now_ns)

    def sendable(self, command: Command) -> JointCommand:
        return JointCommand(
            command.stamp_ns, self._names, command.q_rad, command.dq_rad_s, command.gripper_open, command.source
        )
