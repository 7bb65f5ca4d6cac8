"""Dictionaries of numpy arrays and plain values ↔ bytes, as openpi's clients and servers write them.

The format is msgpack, with an array as a map of four byte-string keys (`__ndarray__`, `data`, `dtype`, `shape`) and a
numpy scalar as one of three (`__npgeneric__`, `data`, `dtype`). Nothing in it can name code to run: there is no
pickle, and object, structured and complex arrays are refused in both directions.

A message from the other side is untrusted: its size, depth and number of values are bounded before they cost memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgpack
import numpy as np

MEBIBYTE = 1 << 20

KINDS = "biufSU"
"""The numpy kinds that travel: bool, integers, floats, fixed-length bytes and text."""

MAX_ITEM_BYTES = 4096
"""Of one array element; only text and bytes come near. It keeps out dtypes such as 'U500000000'."""

MAX_VALUES = 20_000
"""Values and keys in one message (an array is one). A real observation has about fifty."""

MAX_DEPTH = 16

_ARRAY, _SCALAR, _DATA, _DTYPE, _SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"

type Value = bool | int | float | str | bytes | np.ndarray | np.generic | list[Value] | dict[str, Value] | None


class WireError(ValueError):
    """The bytes are not a message of this format, or the message cannot be written in it."""


def pack(message: Mapping[str, object]) -> bytes:
    """Raises `WireError` on a value that has no place in the format; nothing is coerced silently."""
    try:
        return cast(bytes, msgpack.packb(message, default=_plain))
    except (TypeError, OverflowError, ValueError) as error:
        raise WireError(str(error)) from error


def _plain(value: object) -> dict[bytes, object]:
    if not isinstance(value, np.ndarray | np.generic):
        raise WireError(f"a {type(value).__name__} has no place in a message")
    if value.dtype.kind not in KINDS:
        raise WireError(f"an array of dtype {value.dtype} cannot be sent")
    if isinstance(value, np.generic):
        return {_SCALAR: True, _DATA: value.item(), _DTYPE: value.dtype.str}
    return {_ARRAY: True, _DATA: value.tobytes(), _DTYPE: value.dtype.str, _SHAPE: value.shape}


def unpack(data: bytes) -> dict[str, Value]:
    """The message; its arrays are writable copies. Raises `WireError`, whatever the bytes are."""
    reader = _Reader(data)
    try:
        message = reader.value(depth=0)
    except WireError:
        raise
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise WireError(f"not a message: {error or type(error).__name__}") from error
    if not isinstance(message, dict):
        raise WireError(f"a message is a map, not a {type(message).__name__}")
    if reader.position != len(data):
        raise WireError(f"{len(data) - reader.position} bytes follow the message")
    return message


class _Reader:
    """Walks msgpack by its type bytes, so that a small message cannot ask for a large structure."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values = 0
        self._unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), raw=False)
        self._unpacker.feed(data)

    @property
    def position(self) -> int:
        return self._unpacker.tell()

    def value(self, depth: int) -> Value:
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            raise WireError(f"more than {MAX_VALUES} values, or nested deeper than {MAX_DEPTH}")
        if self.position >= len(self._data):
            raise WireError("the message is cut off")
        kind = self._data[self.position]
        if 0x80 <= kind <= 0x8F or kind in (0xDE, 0xDF):
            return self._map(depth)
        if 0x90 <= kind <= 0x9F or kind in (0xDC, 0xDD):
            return [self.value(depth + 1) for _ in range(self._counted(self._unpacker.read_array_header()))]
        if kind in (0xC7, 0xC8, 0xC9) or 0xD4 <= kind <= 0xD8:
            raise WireError("extension types are refused")
        return self._unpacker.unpack()

    def _map(self, depth: int) -> Value:
        entries: dict[str | bytes, Value] = {}
        for _ in range(self._counted(self._unpacker.read_map_header())):
            key = self.value(depth + 1)
            if not isinstance(key, str | bytes):
                raise WireError(f"a key must be text, not a {type(key).__name__}")
            if key in entries:
                raise WireError(f"the key {key!r} appears twice")
            entries[key] = self.value(depth + 1)
        if _ARRAY in entries:
            return _array(entries)
        if _SCALAR in entries:
            return _scalar(entries)
        named: dict[str, Value] = {}
        for key, value in entries.items():
            if isinstance(key, bytes):
                raise WireError(f"a key must be text, not the bytes {key[:40]!r}")
            named[key] = value
        return named

    def _counted(self, length: int) -> int:
        if self._values + length > MAX_VALUES:
            raise WireError(f"more than {MAX_VALUES} values in one message")
        return length


def _array(entries: dict[str | bytes, Value]) -> np.ndarray:
    dtype, data, shape = _dtype(entries), entries.get(_DATA), entries.get(_SHAPE)
    if not isinstance(data, bytes) or not isinstance(shape, list):
        raise WireError("an array needs its data as bytes and its shape as a list")
    count = 1
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise WireError(f"an array of shape {shape[:8]}")
        count *= length
    if len(shape) > 8 or count * dtype.itemsize != len(data):
        raise WireError(f"{len(data)} bytes are not an array of {dtype} with shape {shape[:8]}")
    return np.frombuffer(data, dtype).reshape([int(length) for length in shape if isinstance(length, int)]).copy()


def _scalar(entries: dict[str | bytes, Value]) -> np.generic:
    dtype, value = _dtype(entries), entries.get(_DATA)
    if not isinstance(value, bool | int | float | str | bytes):
        raise WireError(f"a numpy scalar cannot be a {type(value).__name__}")
    array = np.array(value).astype(dtype, casting="same_kind" if dtype.kind in "fSU" else "unsafe")
    if dtype.kind in "iu" and int(array) != value:
        raise WireError(f"{value!r} is not a {dtype}")
    return cast(np.generic, array[()])


def _dtype(entries: dict[str | bytes, Value]) -> np.dtype:
    name = entries.get(_DTYPE)
    if not isinstance(name, str) or len(name) > 16:
        raise WireError(f"no dtype {str(name)[:40]!r}")
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        raise WireError(f"no dtype {name!r}") from error
    if dtype.kind not in KINDS or not 0 < dtype.itemsize <= MAX_ITEM_BYTES or dtype.hasobject:
        raise WireError(f"an array of dtype {name!r} is refused")
    return dtype
