"""A network in between that can stand still: what was under way is delivered when it goes on, all at once and late."""

import contextlib
import socket
import threading
import time

LONGEST_OTHER_BYTES = 60


class PausableProxy:
    """Forwards every connection to `port` on this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.beat_ns = 0
        """When the newest heartbeat came by; acknowledgements and the websocket's own frames are shorter."""
        self._open: list[socket.socket] = []
        self._flows = threading.Event()
        self._flows.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def pause(self) -> None:
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for one, other, counts in ((near, far, True), (far, near, False)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pump, args=(one, other, counts), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_browser: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_browser and len(data) > LONGEST_OTHER_BYTES:
                    self.beat_ns = time.monotonic_ns()
                self._flows.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
