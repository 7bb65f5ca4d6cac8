"""A function and a rate go in; it is called at absolute deadlines of the monotonic clock, from a thread of its own.

A deadline that was missed is counted and left out: nothing is called twice in a hurry to catch up, and no lateness adds
up. Measured with two busy processes on two cores: see benchmarks/executor.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hardware.messages import NANOSECONDS_PER_SECOND

log = logging.getLogger(__name__)

_TIMER_ABSTIME = 1
_FAILURES_IN_A_ROW = 3
_NICE = -15
_SWITCH_INTERVAL_S = 0.0005  # how long another Python thread may keep the interpreter, 5 ms by default


class DeadlineLoop:
    """Calls `tick(now_ns)` `rate_hz` times a second until `stop`.

    `priority` is that of SCHED_FIFO (1 … 99; None: do not ask for it); `scheduler` says what was got. When `tick`
    raises, `on_failure(error)` is called, which should make the next ticks stop the arm, and the loop goes on; after
    three failures in a row it ends (whoever receives the commands must have a watchdog). `record(deadline_ns, woke_ns,
    done_ns)` is called after each tick, in the loop's thread.

    Give it a process of its own without heavy work: while the loop runs, the process's other threads get the priority
    below the loop's (one of them may hold the interpreter when the loop needs it, and would keep it for as long as
    another process keeps that thread from running), the switch interval is shortened, and the objects so far are hidden
    from garbage collection.
    """

    def __init__(
        self,
        rate_hz: float,
        tick: Callable[[int], object],
        on_failure: Callable[[Exception], object] | None = None,
        record: Callable[[int, int, int], object] | None = None,
        priority: int | None = 50,
    ) -> None:
        self.period_ns = round(NANOSECONDS_PER_SECOND / rate_hz)
        self.scheduler = "not started"
        self.ticks = 0
        self.missed = 0
        """Deadlines at which nothing was called, because the call before took too long or the machine slept."""
        self.failures = 0
        self.failure: Exception | None = None
        """The newest that `tick` raised."""
        self._tick = tick
        self._on_failure = on_failure
        self._record = record
        self._priority = priority
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="deadline-loop", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Asks the loop to end and waits for it."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def run(self) -> None:
        """The loop itself, in the calling thread."""
        self.scheduler = _real_time(self._priority)
        log.info("control loop at %.0f Hz, scheduler: %s", NANOSECONDS_PER_SECOND / self.period_ns, self.scheduler)
        switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        raised = _raise_others(self._priority) if self.scheduler.startswith("fifo") else {}
        try:
            self._loop()
        finally:
            _lower(raised)
            gc.unfreeze()
            sys.setswitchinterval(switch_interval_s)

    def _loop(self) -> None:
        in_a_row = 0
        deadline_ns = time.monotonic_ns() + self.period_ns
        while not self._stopping.is_set():
            sleep_until(deadline_ns)
            woke_ns = time.monotonic_ns()
            try:
                self._tick(woke_ns)
                in_a_row = 0
            except Exception as error:
                in_a_row += 1
                self._fail(error)
                if in_a_row == _FAILURES_IN_A_ROW:
                    log.error("control loop ends: %d failures in a row", in_a_row)
                    return
            done_ns = time.monotonic_ns()
            self.ticks += 1
            if self._record is not None:
                self._record(deadline_ns, woke_ns, done_ns)
            deadline_ns += self.period_ns
            behind = max(0, -((deadline_ns - done_ns) // self.period_ns))
            self.missed += behind
            deadline_ns += behind * self.period_ns

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self.failure = error
        log.error("control step failed: %s: %s", type(error).__name__, error)
        if self._on_failure is not None:
            self._on_failure(error)


def _real_time(priority: int | None) -> str:
    """Asks for SCHED_FIFO for the calling thread, else for a high niceness, and says what came of it."""
    if priority is None:
        return "other"
    if not hasattr(os, "SCHED_FIFO"):
        return "other (no SCHED_FIFO on this system)"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        advice = f"SCHED_FIFO refused: {error.strerror}; allow it by 'rtprio' in /etc/security/limits.conf"
        return f"other ({'' if not _nice() else f'nice {_NICE}, '}{advice})"
    return f"fifo {priority}"


def _raise_others(priority: int | None) -> dict[int, tuple[int, int]]:
    """Sets the process's other threads, not what they start later, just below; returns what they had."""
    had = {}
    below = os.sched_param(max(1, (priority or 1) - 1))
    for thread in [int(entry.name) for entry in Path("/proc/self/task").iterdir()]:
        with contextlib.suppress(OSError):  # it may have ended
            policy, before = os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
            if thread != threading.get_native_id() and policy == os.SCHED_OTHER:
                os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, below)
                had[thread] = policy, before
    return had


def _lower(had: dict[int, tuple[int, int]]) -> None:
    for thread, (policy, priority) in had.items():
        with contextlib.suppress(OSError):
            os.sched_setscheduler(thread, policy, os.sched_param(priority))


def scheduler() -> str:
    """Of the calling thread, in the words of `DeadlineLoop.scheduler`."""
    if not hasattr(os, "SCHED_FIFO"):
        return "other (no SCHED_FIFO on this system)"
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        return f"fifo {os.sched_getparam(0).sched_priority}"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f"other, nice {nice}" if nice else "other"


def _nice() -> bool:
    """Linux counts niceness per thread, and 0 is the calling one."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        return True
    return False


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _clock_nanosleep() -> Callable[..., int] | None:
    try:
        return ctypes.CDLL(None).clock_nanosleep
    except (OSError, AttributeError):
        return None


_NANOSLEEP = _clock_nanosleep()


def sleep_until(deadline_ns: int) -> None:
    """Sleeps until a moment of `time.monotonic_ns`; through signals, and not at all when it is past."""
    if _NANOSLEEP is None or not sys.platform.startswith("linux"):
        time.sleep(max(0, deadline_ns - time.monotonic_ns()) / NANOSECONDS_PER_SECOND)
        return
    until = _Timespec(*divmod(deadline_ns, NANOSECONDS_PER_SECOND))
    while time.monotonic_ns() < deadline_ns:
        _NANOSLEEP(time.CLOCK_MONOTONIC, _TIMER_ABSTIME, ctypes.byref(until), None)
