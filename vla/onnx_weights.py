"""The weight tensors inside an ONNX file, read from its bytes: no runtime is needed for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy import ndarray

from hardware.errors import BadInput

GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9
"""Field numbers of `ModelProto`, `GraphProto` and `TensorProto` in onnx.proto."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DTYPES = {1: np.dtype("<f4"), 3: np.dtype("i1"), 7: np.dtype("<i8")}


def read(file: Path) -> dict[str, ndarray]:
    """Every raw initializer of type float32, int8 or int64, by name, in file order. Raises `BadInput`."""
    try:
        model = memoryview(file.read_bytes())
        graph = next(value for field, value in _fields(model) if field == GRAPH)
        tensors = [_tensor(value) for field, value in _fields(_view(graph)) if field == INITIALIZER]
    except (OSError, StopIteration, IndexError, ValueError, TypeError) as error:
        raise BadInput(f"{file} is no ONNX model: {error}", "install its package again") from error
    return {name: array for name, array in tensors if array is not None}


def _tensor(message: int | memoryview) -> tuple[str, ndarray | None]:
    name, shape, kind, raw = "", [], 0, None
    for field, value in _fields(_view(message)):
        if field == DIMS:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif field == DATA_TYPE:
            kind = value
        elif field == NAME:
            name = bytes(_view(value)).decode()
        elif field == RAW_DATA:
            raw = _view(value)
    if raw is None or kind not in DTYPES:
        return name, None
    return name, np.frombuffer(raw, DTYPES[kind]).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of one protobuf message; a value is an integer or its bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"cut off at byte {at}")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varints(message: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(message):
        value, at = _varint(message, at)
        values.append(value)
    return values


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value
