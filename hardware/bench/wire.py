"""The plant server's messages on a local stream socket: msgpack maps, each behind its length. Nothing is pickled."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import msgpack

from hardware.errors import BadInput

MOST_BYTES = 64 * 1024
"""Of one message; more is refused and its sender is cut off."""
LONGEST_PATH_BYTES = 100
"""The kernel takes 107 for a socket's address."""
_LENGTH = struct.Struct("!I")

Message = dict[str, Any]


class BadMessage(Exception):
    """The other side sent something that is no message of ours."""


def address_of(name: str) -> Path:
    """Where the plant of that name listens: in this user's runtime folder. A path is taken as it is."""
    if "/" in name:
        path = Path(name)
    else:
        base = os.environ.get("XDG_RUNTIME_DIR")
        folder = Path(base) / "tandem" if base else Path(tempfile.gettempdir()) / f"tandem-{os.getuid()}"
        path = folder / f"{name}.plant"
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise BadInput(
            f"the socket's path {path} is longer than {LONGEST_PATH_BYTES} bytes", "choose a shorter one"
        )
    return path


def pack(message: Message) -> bytes:
    body = bytes(msgpack.packb(message) or b"")
    if len(body) > MOST_BYTES:
        raise BadMessage(f"{len(body)} bytes are more than {MOST_BYTES}")
    return _LENGTH.pack(len(body)) + body


class Inbox:
    """Bytes as they arrive in, whole messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises `BadMessage` on one that is too long or is no map."""
        self._bytes += data
        messages = []
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MOST_BYTES:
                raise BadMessage(f"a message of {length} bytes is announced; at most {MOST_BYTES} are taken")
            if len(self._bytes) < _LENGTH.size + length:
                break
            messages.append(unpack(bytes(self._bytes[_LENGTH.size : _LENGTH.size + length])))
            del self._bytes[: _LENGTH.size + length]
        return messages


def unpack(body: bytes) -> Message:
    try:
        message = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadMessage(f"not a message: {error}") from error
    if not isinstance(message, dict):
        raise BadMessage(f"a message is a map, not a {type(message).__name__}")
    return message


def receive(connection: socket.socket) -> Message:
    """The next message; for a client that waits for one reply. Raises `OSError` at the end or after its timeout."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > MOST_BYTES:
        raise BadMessage(f"a message of {length} bytes is announced; at most {MOST_BYTES} are taken")
    return unpack(_exactly(connection, length))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the other side has closed the connection")
        data += part
    return bytes(data)
