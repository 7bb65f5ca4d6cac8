"""Between actors and the learner: a websocket on this machine with `vla.wire` messages, every wait with a limit.

The actor asks, the learner answers: `add` (transitions → acknowledged once they are on disk) and `weights` (→ newer
ones, as safetensors). The learner writes its port into the run's folder; an actor reads it before each attempt, so
both may be killed and started again in any order.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from numpy import ndarray
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from hardware import artefact
from hardware import config as configs
from hardware.config import Config
from hardware.errors import BadInput, TandemError
from rl_online.learning.presets import PresetName
from rl_online.learning.process_reward import ProcessReward
from rl_online.learning.replay import Transitions
from vla import wire

log = logging.getLogger(__name__)

ADDRESS, FOR_ACTORS = "learner.json", "actors.json"
LARGEST_BYTES = 256 * wire.MEBIBYTE
TIMEOUT_S = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Address(Config):
    """Where the learner of a run listens, on this machine."""

    port: int
    process: int
    finished: bool = False
    """It has all that it waited for, and is gone: actors that were in the middle of something read it here."""


class RunSettings(Config):
    """The part of a learner's settings that its actors need."""

    policy: Path
    """The policy that the run started from; its weights change."""
    preset: PresetName
    process: ProcessReward = ProcessReward()


class LearnerLost(TandemError):
    """No answer. Keep what was not acknowledged, and ask again."""

    exit_code = 4


@runtime_checkable
class Desk(Protocol):
    """What the learner does with messages; called from the connections' threads."""

    def add(self, rows: Transitions) -> int:
        """Returns once the rows are safe on disk."""
        ...

    def newest(self) -> tuple[int, bytes]:
        """(version, safetensors) of the acting weights."""
        ...

    @property
    def version(self) -> int: ...

    @property
    def behind(self) -> int:
        """Chunks tried that were not learned from yet."""
        ...

    @property
    def finished(self) -> bool:
        """Actors may stop."""
        ...


def columns_of(message: Mapping[str, wire.Value]) -> Transitions:
    """Raises `BadInput` when a column is missing or of another kind."""
    names = Transitions.__dataclass_fields__
    columns = message.get("columns")
    if not isinstance(columns, dict) or set(columns) != set(names):
        raise BadInput(f"transitions have the columns {', '.join(names)}")
    arrays = {name: values for name, values in columns.items() if isinstance(values, ndarray)}
    if len(arrays) < len(names) or len({len(values) for values in arrays.values()}) != 1:
        raise BadInput("the columns of transitions are arrays of one length")
    return Transitions(**arrays)


class LearnerServer:
    """Answers actors on a port of this machine, in threads of its own."""

    def __init__(self, desk: Desk, folder: Path, port: int = 0) -> None:
        self._desk, self._folder = desk, folder
        self._connections: set[ServerConnection] = set()
        self._server: Server = serve(
            self._talk,
            "127.0.0.1",
            port,
            origins=[None],  # a browser always sends one
            compression=None,
            max_size=LARGEST_BYTES,
        )
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="learner-server", daemon=True)
        self._thread.start()
        self._announce(finished=False)

    def _announce(self, finished: bool) -> None:
        artefact.write_model(
            self._folder / ADDRESS, Address(port=self.port, process=os.getpid(), finished=finished)
        )

    def close(self) -> None:
        """Nobody is listened to any more; actors find their connections closed."""
        if self._desk.finished:
            self._announce(finished=True)
        self._server.shutdown()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _talk(self, connection: ServerConnection) -> None:
        limit_sending(connection.socket, TIMEOUT_S)
        self._connections.add(connection)
        try:
            for message in connection:
                connection.send(self._answer(message))
        except (ConnectionClosed, OSError):
            return  # the actor is gone; it connects again
        finally:
            self._connections.discard(connection)

    def _answer(self, message: str | bytes) -> bytes:
        try:
            if isinstance(message, str):
                raise BadInput("a message is binary")
            done = self._done(wire.unpack(message))
            return wire.pack(done | {"finished": self._desk.finished, "behind": self._desk.behind})
        except (TandemError, wire.WireError, TypeError, ValueError) as error:
            log.warning("a message of an actor is refused: %s", error)
            return wire.pack({"error": str(error)})

    def _done(self, message: Mapping[str, wire.Value]) -> dict[str, object]:
        if message.get("ask") == "add":
            return {"added": self._desk.add(columns_of(message)), "version": self._desk.version}
        if message.get("ask") == "weights":
            version, data = self._desk.newest()
            return {"version": version, "data": b"" if message.get("have") == version else data}
        raise BadInput(f"no question '{message.get('ask')}'; have: add, weights")


class LearnerLink:
    """An actor's side. One thread uses it; it connects by itself, with a growing pause between attempts."""

    def __init__(self, folder: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._folder, self._timeout_s = folder, timeout_s
        self._connection: ClientConnection | None = None
        self._pause_s = self._try_after_s = 0.0
        self.version, self.finished = -1, False
        self.behind = 0
        """Of the learner, when it answered last; 0 while it is away: nobody is to be waited for."""

    def add(self, rows: Transitions) -> None:
        """Returns once the learner has them on disk. Raises `LearnerLost`: offer them again."""
        answer = self._ask({"ask": "add", "columns": rows.columns()})
        self.version = _whole(answer, "version")

    def weights(self, have: int) -> tuple[int, bytes] | None:
        """The newest acting weights, or None when they are those that the actor has."""
        answer = self._ask({"ask": "weights", "have": have})
        data = answer.get("data")
        if not isinstance(data, bytes):
            raise LearnerLost("the learner's answer has no weights")
        return (_whole(answer, "version"), data) if data else None

    def close(self) -> None:
        """Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            threading.Thread(target=connection.close, daemon=True).start()  # a stopped peer must not keep us

    def _ask(self, message: Mapping[str, object]) -> dict[str, wire.Value]:
        data = wire.pack(message)
        try:
            connection = self._connected()
            connection.send(data)
            reply = connection.recv(self._timeout_s)
            answer = wire.unpack(reply if isinstance(reply, bytes) else reply.encode())
        except (OSError, WebSocketException, TimeoutError, wire.WireError) as error:
            raise self._lost(f"{type(error).__name__} {error}") from error
        self._pause_s = 0.0
        if "error" in answer:
            raise BadInput(f"the learner refuses: {answer['error']}")
        behind = answer.get("behind")
        if not isinstance(behind, int):
            raise self._lost("it is of another version: its answer does not say how far behind it is")
        self.finished, self.behind = answer.get("finished") is True, behind
        return answer

    def _connected(self) -> ClientConnection:
        if self._connection is not None:
            return self._connection
        if time.monotonic() < self._try_after_s:
            raise LearnerLost("the learner is away")
        try:
            address = configs.read(Address, self._folder / ADDRESS)
        except BadInput as error:
            self.finished = False  # the next learner is about to come
            raise self._lost(error.problem) from error
        self.finished = address.finished
        if address.finished:
            raise self._lost("it has all that it waited for")
        self._connection = connect(
            f"ws://127.0.0.1:{address.port}",
            open_timeout=self._timeout_s,
            close_timeout=1.0,
            compression=None,
            max_size=LARGEST_BYTES,
            proxy=None,
        )
        limit_sending(self._connection.socket, self._timeout_s)
        return self._connection

    def _lost(self, why: str) -> LearnerLost:
        self.close()
        self.behind = 0
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._try_after_s = time.monotonic() + self._pause_s
        return LearnerLost(f"the learner does not answer: {why}", "tandem rl learn starts it again")


def begin_anew(folder: Path) -> None:
    """An earlier learner's word that it has finished is taken back, so that actors wait for the next one. Where a
    learner runs, nothing changes.
    """
    file = folder / ADDRESS
    if file.is_file() and configs.read(Address, file).finished:
        file.unlink(missing_ok=True)


def limit_sending(connection: socket.socket, seconds: float) -> None:
    """A peer that reads nothing makes `send` fail after that time, where it would wait for ever."""
    whole = int(seconds)
    timeval = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def patiently(ask: Callable[[], object], until_s: float, stop: Callable[[], bool]) -> bool:
    """Asks again until it works, the time is up or `stop` says so. Returns whether it worked."""
    while True:
        try:
            ask()
            return True
        except LearnerLost:
            if stop() or time.monotonic() > until_s:
                return False
            time.sleep(FIRST_PAUSE_S)


def _whole(answer: Mapping[str, wire.Value], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int):
        raise LearnerLost(f"the learner's answer has no {name}")
    return value
