"""The supervisor's word to the executor on who is missing, over a local socket whose end is noticed at once.

The kernel closes the sockets of a killed process, and tells a parent of a child's end, within a millisecond; a
heartbeat that is quick enough for an arm would fail on a busy machine. One line of JSON per change, newest counts.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from hardware import priority

VARIABLE = "TANDEM_LIFELINE"
"""Environment variable with the socket's path; unset where nobody supervises (`ros2 launch`)."""

SUPERVISOR = "supervisor"
LISTEN_PRIORITY = 45
_LONGEST_LINE = 4096


class LifelineServer:
    """The supervisor's end. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._missing: tuple[str, ...] = ()
        self._clients: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen()
        self._server.setblocking(False)

    @property
    def fileno(self) -> int:
        """Readable when a client is waiting: call `accept`."""
        return self._server.fileno()

    def accept(self) -> None:
        try:
            client, _ = self._server.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        self._clients.append(client)
        self._send(client)

    def tell(self, missing: tuple[str, ...]) -> None:
        """Sends the names of the processes that are not serving, when they have changed."""
        if missing == self._missing:
            return
        self._missing = missing
        for client in tuple(self._clients):
            self._send(client)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.close()

    def _send(self, client: socket.socket) -> None:
        try:
            client.sendall(json.dumps(self._missing).encode() + b"\n")
        except OSError:  # gone, or it does not read: both are not worth waiting for
            client.close()
            self._clients.remove(client)


class Lifeline:
    """The executor's end: calls `changed` with the names of those missing, from its own thread."""

    def __init__(self, path: Path, changed: Callable[[tuple[str, ...]], None]) -> None:
        self._changed = changed
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._thread = threading.Thread(target=self._listen, name="lifeline", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        priority.hurry(LISTEN_PRIORITY)
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._closing.is_set():
                if not selector.select(timeout=0.1):
                    continue
                received = self._socket.recv(_LONGEST_LINE)
                *lines, rest = (rest + received).split(b"\n")
                if not received or len(rest) > _LONGEST_LINE:
                    self._changed((SUPERVISOR,))
                    return
                if lines:
                    self._changed(tuple(str(name) for name in json.loads(lines[-1])))


def listen(changed: Callable[[tuple[str, ...]], None]) -> Lifeline | None:
    """To the supervisor that started this process; None when nobody did."""
    path = os.environ.get(VARIABLE)
    return Lifeline(Path(path), changed) if path else None
