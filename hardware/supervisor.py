"""Keeps a cell's processes alive: starts them in order, restarts the one that died, stops them safely.

The kernel reports each end through a pidfd, each process reports through `hardware.notify` when it can serve, and the
executor hears at once through `hardware.lifeline` who is missing.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hardware import lifeline, notify, priority
from hardware.errors import TandemError
from hardware.lifeline import LifelineServer
from hardware.node_graph import NodeSpec

STOP_S = 5.0
"""A process that has not ended by then is killed."""
READY_S = 300.0
"""A busy machine takes a minute to import what learns."""
FIRST_WAIT_S = 0.2
TELL_PRIORITY = 40
MINUTE_NS = 60_000_000_000
SHUTTING_DOWN = "shutting down"
_LIBC = ctypes.CDLL(None)


class CellFailed(TandemError):
    """A process does not start, or dies again and again."""

    exit_code = 4


@dataclass(frozen=True)
class Event:
    """`code` is the exit status of one that died, negative for a signal."""

    at_ns: int
    name: str
    what: Literal["started", "ready", "died", "stopped"]
    code: int = 0


@dataclass
class Running:
    """One spec's process, if it has one, and what is known of it."""

    spec: NodeSpec
    notified: socket.socket
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    is_ready: bool = False
    started_ns: int = 0
    restart_ns: int = 0
    """When to start it again; 0: not planned."""
    deaths_ns: list[int] = field(default_factory=list)


class Supervisor:
    """One thread: call `poll` again and again. `sockets` is a folder with a short path."""

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        logs: Path,
        sockets: Path,
        environment: Mapping[str, str],
        max_restarts: int = 5,
    ) -> None:
        priority.hurry(TELL_PRIORITY)
        self._logs, self._sockets = logs, sockets
        self._max_restarts = max_restarts
        self._lifeline = LifelineServer(sockets / "lifeline")
        self._environment = dict(environment) | {lifeline.VARIABLE: str(sockets / "lifeline")}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._lifeline.fileno, selectors.EVENT_READ, self._lifeline.accept)
        self._events: list[Event] = []
        self._all = {spec.name: self._prepare(spec) for spec in specs}
        logs.mkdir(parents=True, exist_ok=True)
        self._lifeline.tell(self.missing)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that hold the policy and cannot serve."""
        return tuple(name for name, one in self._all.items() if one.spec.holds_policy and not one.is_ready)

    def pid(self, name: str) -> int | None:
        process = self._all[name].process
        return None if process is None else process.pid

    def is_ready(self, name: str) -> bool:
        return self._all[name].is_ready

    def start(self, is_interrupted: Sequence[int] = ()) -> None:
        """The first tier; then all others at once but the last, which finds everybody there.

        Returns early once `is_interrupted` holds anything. Raises `CellFailed` when one is not ready after `READY_S`.
        """
        tiers = sorted({one.spec.tier for one in self._all.values()})
        for wave in (tiers[:1], tiers[1:-1], tiers[1:][-1:]):
            names = [name for name, one in self._all.items() if one.spec.tier in wave]
            for name in names:
                self._start(self._all[name])
            self._wait_ready(names, is_interrupted)
            if is_interrupted:
                return

    def poll(self, timeout_s: float) -> list[Event]:
        """What has happened, after waiting for it for `timeout_s` at most. Raises `CellFailed`."""
        now_ns = time.monotonic_ns()
        planned = [one.restart_ns for one in self._all.values() if one.restart_ns]
        if planned:
            timeout_s = min(timeout_s, max(0.0, (min(planned) - now_ns) * 1e-9))
        for key, _ in self._selector.select(timeout_s):
            key.data()
        for one in self._all.values():
            if one.restart_ns and time.monotonic_ns() >= one.restart_ns:
                self._start(one)
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Holds the policy first, then ends the tiers from the last to the first. Does not raise."""
        self._lifeline.tell((*self.missing, SHUTTING_DOWN))
        for one in self._all.values():
            one.restart_ns = 0
        for tier in sorted({one.spec.tier for one in self._all.values()}, reverse=True):
            self._stop([one for one in self._all.values() if one.spec.tier == tier])
        self._lifeline.close()
        for one in self._all.values():
            one.notified.close()
        self._selector.close()

    def _prepare(self, spec: NodeSpec) -> Running:
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.bind(str(self._sockets / f"{spec.name}.notify"))
        notified.setblocking(False)
        one = Running(spec, notified)
        self._selector.register(notified, selectors.EVENT_READ, lambda: self._hear(one))
        return one

    def _start(self, one: Running) -> None:
        log = self._logs / f"{one.spec.name}.log"
        environment = self._environment | {notify.VARIABLE: str(self._sockets / f"{one.spec.name}.notify")}
        with log.open("ab") as stream:
            one.process = subprocess.Popen(
                [sys.executable, *one.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops them in order
                preexec_fn=_settle_child,
            )
        one.started_ns, one.restart_ns, one.is_ready = time.monotonic_ns(), 0, False
        one.pidfd = os.pidfd_open(one.process.pid)
        self._selector.register(one.pidfd, selectors.EVENT_READ, lambda: self._ended(one))
        self._note(one, "started")

    def _hear(self, one: Running) -> None:
        try:
            said = one.notified.recv(1024)
        except BlockingIOError:
            return
        if b"READY=1" in said.split(b"\n") and one.process is not None:
            one.is_ready = True
            self._lifeline.tell(self.missing)
            self._note(one, "ready")

    def _ended(self, one: Running) -> None:
        one.is_ready = False
        self._lifeline.tell(self.missing)  # before anything else
        code = self._forget(one)
        self._note(one, "died" if code else "stopped", code)
        if code == 0:
            return
        now_ns = time.monotonic_ns()
        one.deaths_ns = [at_ns for at_ns in one.deaths_ns if now_ns - at_ns < MINUTE_NS] + [now_ns]
        deaths = len(one.deaths_ns)
        if not one.spec.is_restarted or deaths > self._max_restarts:
            log = self._logs / f"{one.spec.name}.log"
            raise CellFailed(f"'{one.spec.name}' ended with {code}: {last_words(log)}", f"its log is {log}")
        wait_s = 0.0 if deaths == 1 else FIRST_WAIT_S * 2 ** (deaths - 2)
        one.restart_ns = now_ns + int(wait_s * 1e9)

    def _forget(self, one: Running) -> int:
        assert one.process is not None
        self._selector.unregister(one.pidfd)
        os.close(one.pidfd)
        code = one.process.wait()
        one.process, one.pidfd = None, -1
        return code

    def _wait_ready(self, names: Sequence[str], is_interrupted: Sequence[int]) -> None:
        until = time.monotonic() + READY_S
        seen: list[Event] = []
        while (late := [name for name in names if not self._all[name].is_ready]) and not is_interrupted:
            if time.monotonic() > until:
                log = self._logs / f"{late[0]}.log"
                raise CellFailed(f"'{late[0]}' is not ready after {READY_S:.0f} s: {last_words(log)}", f"see {log}")
            seen += self.poll(0.5)
        self._events = seen + self._events

    def _stop(self, those: Sequence[Running]) -> None:
        alive = [one for one in those if one.process is not None]
        for one in alive:
            assert one.process is not None
            one.process.terminate()
        until = time.monotonic() + STOP_S
        for one in alive:
            assert one.process is not None
            try:
                one.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
            self._note(one, "stopped", self._forget(one))
            one.is_ready = False

    def _note(self, one: Running, what: Literal["started", "ready", "died", "stopped"], code: int = 0) -> None:
        event = Event(time.monotonic_ns(), one.spec.name, what, code)
        self._events.append(event)
        with (self._logs / "processes.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(event)) + "\n")


def last_words(log: Path) -> str:
    """The last line that a process wrote, which for a Python program names the error."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def _settle_child() -> None:
    """In the child: SIGTERM when the supervisor is gone, so that nobody drives an arm unwatched; and, where that is
    allowed, a larger share of a busy machine than other programs have.
    """
    _LIBC.prctl(1, signal.SIGTERM)
    priority.prefer_process()
