"""Asks a policy server for actions: an observation's dictionary goes in, the server's dictionary with "actions" out.

It speaks to `tandem vla serve` and to openpi's own servers, and needs numpy, msgpack and websockets only. Every call
ends by its deadline, whatever the server does: the socket is ours, without a thread, and nothing waits on it without
a limit. A server that is gone, slow or wrong is a `ServerLost`; the connection is then dropped, so that a late reply
can never answer a later question, and the next calls connect again, with a growing pause between attempts.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy import ndarray
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from hardware.errors import BadInput, TandemError
from vla import wire

LARGEST_REPLY_BYTES = 4 * wire.MEBIBYTE
"""A chunk of 100 actions of 32 numbers is 26 kB."""

LARGEST_REQUEST_BYTES = 32 * wire.MEBIBYTE
"""As the server's own limit: four colour pictures of 1920×1080 have 25 MB."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
_READ_BYTES = 1 << 16


class ServerLost(TandemError):
    """No usable answer. Hold, and ask again: the client connects by itself."""

    exit_code = 4


class ServerSlow(ServerLost):
    """The answer did not come by its deadline."""


class BadReply(ServerLost):
    """An answer came that is not one of this protocol, or that no robot should execute."""


class PolicyFailed(ServerLost):
    """The server answered with an error text: it could not act on this observation."""


class PolicyClient:
    """One connection, opened when first needed. One thread uses it."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        *,
        connect_timeout_s: float = 2.0,
        reply_timeout_s: float = 2.0,
        largest_reply_bytes: int = LARGEST_REPLY_BYTES,
    ) -> None:
        self.address = f"ws://{f'[{host}]' if ':' in host else host}:{port}"
        self._token = token
        self._connect_timeout_s = connect_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._largest_reply_bytes = largest_reply_bytes
        self._link: _Link | None = None
        self._metadata: dict[str, wire.Value] = {}
        self._pause_s = 0.0
        self._try_after_s = 0.0
        self._last_trouble = ""

    @property
    def is_connected(self) -> bool:
        """As far as is known without asking."""
        return self._link is not None

    def metadata(self) -> dict[str, wire.Value]:
        """What the server said about itself when the connection began; connects where there is none."""
        self._connected()
        return dict(self._metadata)

    def infer(self, observation: Mapping[str, object], timeout_s: float | None = None) -> dict[str, wire.Value]:
        """The server's answer, with a finite array of one or more dimensions under "actions".

        Takes at most `connect_timeout_s` where there is no connection, plus `timeout_s` (`reply_timeout_s` when None;
        a policy's first answer may need more, for it is compiled then). Raises `ServerLost`, at once while the pause
        after a failure lasts, and `BadInput` when the observation itself cannot be sent.
        """
        data = _packed(observation)
        link = self._connected()
        try:
            until_s = time.monotonic() + (self._reply_timeout_s if timeout_s is None else timeout_s)
            answer = _checked(link.ask(data, until_s))
        except (ServerLost, OSError) as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()  # an answer may still be under way, and must not be taken for the next one's
            raise
        self._pause_s = 0.0
        return answer

    def reset(self) -> None:
        """A new episode: the next question opens a new session on the server."""
        self.close()
        self._pause_s = self._try_after_s = 0.0

    def close(self) -> None:
        """Safe to call twice. The client may be used again."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connected(self) -> _Link:
        if self._link is not None and self._link.is_alive():
            return self._link
        self.close()
        wait_s = self._try_after_s - time.monotonic()
        if wait_s > 0:
            raise ServerLost(f"{self._last_trouble} (trying again in {wait_s:.1f} s)")
        until_s = time.monotonic() + self._connect_timeout_s
        try:
            self._link = _Link(self.address, self._token, self._largest_reply_bytes, until_s)
            self._metadata = _message(self._link.receive(until_s))
        except (ServerLost, OSError) as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()
            raise
        return self._link

    def _lost(self, error: ServerLost | OSError) -> ServerLost:
        """Drops the connection and makes the next attempt wait. An error text leaves the server trusted."""
        self.close()
        if not isinstance(error, ServerLost):
            slow = isinstance(error, TimeoutError)
            kind = ServerSlow if slow else ServerLost
            what = "did not answer in time" if slow else f"is not reachable: {error}"
            error = kind(f"the policy server at {self.address} {what}", "tandem vla serve --help")
        if not isinstance(error, PolicyFailed):
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._try_after_s = time.monotonic() + self._pause_s
            self._last_trouble = error.problem
        return error


def read_token(file: Path | None) -> str | None:
    """The token in a file, or None. Raises `BadInput` when there is none in it."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the token in {file}: {error}") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise BadInput(f"{file} must hold one token of 16 or more characters", f"openssl rand -hex 16 > {file}")
    return token


class _Link:
    """One websocket connection: websockets' protocol without its input and output, on a socket with deadlines."""

    def __init__(self, address: str, token: str | None, largest_bytes: int, until_s: float) -> None:
        try:
            uri = parse_uri(address)
        except InvalidURI as error:
            raise BadInput(f"no address '{address}'", "--host 127.0.0.1 --port 8765") from error
        self._socket = socket.create_connection((uri.host, uri.port), timeout=_left(until_s))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = ClientProtocol(uri, max_size=largest_bytes)
        self._part = bytearray()  # of a message whose end has not come
        self._opcode: Opcode | None = None
        self._complete: list[str | bytes] = []
        self._handshake: Response | None = None
        try:
            self._open(token, until_s)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, token: str | None, until_s: float) -> None:
        request = self._protocol.connect()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        self._protocol.send_request(request)
        self._write(until_s)
        while self._handshake is None and self._protocol.handshake_exc is None:
            self._read(until_s)
        refused = self._protocol.handshake_exc
        if isinstance(refused, InvalidStatus) and refused.response.status_code == 401:
            raise ServerLost("the policy server wants another token", "--token-file FILE with the server's token")
        if refused is not None:
            raise BadReply(f"the server does not speak websocket: {refused}")

    def ask(self, data: bytes, until_s: float) -> str | bytes:
        self._protocol.send_binary(data)
        self._write(until_s)
        return self.receive(until_s)

    def receive(self, until_s: float) -> str | bytes:
        while not self._complete:
            if self._protocol.state is not State.OPEN:
                raise self._closed()
            self._read(until_s)
        return self._complete.pop(0)

    def is_alive(self) -> bool:
        """Takes in what has arrived since, answers pings, and drops a connection with a message nobody asked for."""
        if self._protocol.state is not State.OPEN:
            return False
        try:
            self._socket.setblocking(False)
            self._take(self._socket.recv(_READ_BYTES))
            self._write(time.monotonic() + 0.1)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return self._protocol.state is State.OPEN and not self._complete and self._opcode is None

    def close(self) -> None:
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
            self._socket.setblocking(False)
            for data in self._protocol.data_to_send():
                self._socket.send(data)
        except OSError:
            pass  # the other side is gone already
        finally:
            self._socket.close()

    def _write(self, until_s: float) -> None:
        """`sendall` with one deadline for all of it, also when the other side reads byte by byte."""
        for data in self._protocol.data_to_send():
            rest = memoryview(data)
            while rest:
                self._socket.settimeout(_left(until_s))
                rest = rest[self._socket.send(rest) :]

    def _read(self, until_s: float) -> None:
        self._socket.settimeout(_left(until_s))
        self._take(self._socket.recv(_READ_BYTES))
        self._write(until_s)

    def _take(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._handshake = event
            elif isinstance(event, Frame):
                self._gather(event)

    def _gather(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return
        self._part += frame.data
        if frame.fin:
            whole, self._part = bytes(self._part), bytearray()
            self._complete.append(whole.decode(errors="replace") if self._opcode is Opcode.TEXT else whole)
            self._opcode = None

    def _closed(self) -> ServerLost:
        broken = self._protocol.parser_exc
        if broken is not None and not isinstance(broken, EOFError):
            return BadReply(f"the policy server broke the protocol: {broken}")
        said = self._protocol.close_rcvd
        return ServerLost(f"the policy server closed the connection ({said or 'without a word'})")


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _packed(observation: Mapping[str, object]) -> bytes:
    try:
        data = wire.pack(observation)
    except wire.WireError as error:
        raise BadInput(f"the observation cannot be sent: {error}") from error
    if len(data) > LARGEST_REQUEST_BYTES:
        raise BadInput(f"the observation has {len(data) / 1e6:.0f} MB", "send smaller pictures")
    return data


def _message(answer: str | bytes) -> dict[str, wire.Value]:
    if isinstance(answer, str):
        raise PolicyFailed(f"the policy server reports: {answer.strip()[-2000:]}")
    try:
        return wire.unpack(answer)
    except wire.WireError as error:
        raise BadReply(f"the policy server's answer is not readable: {error}") from error


def _checked(answer: str | bytes) -> dict[str, wire.Value]:
    message = _message(answer)
    actions = message.get("actions")
    if not isinstance(actions, ndarray) or actions.dtype.kind not in "fiu" or not actions.ndim or not actions.size:
        raise BadReply('the policy server\'s answer has no array of numbers under "actions"')
    if not np.isfinite(actions).all():
        raise BadReply("the policy server's actions are not all finite")
    return message
