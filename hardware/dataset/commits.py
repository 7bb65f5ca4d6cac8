"""How many rows of each stream count: a small log in which the last whole line is the truth.

A line is written after the rows that it counts. A writer killed between the two leaves rows that no line counts: the
torn tail, which is never read. Each line ends with a checksum, so half a line is no line.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray

from hardware.dataset.column import ColumnReader, ColumnWriter
from hardware.errors import BadInput

NAME = "commits"
CHUNK_ROWS = 4096


class CommitLog:
    """The writing side. `counts` are rows per stream, in an order that the owner keeps."""

    def __init__(self, folder: Path, streams: int) -> None:
        self.column = ColumnWriter(folder, NAME, "int64", (streams + 1,), CHUNK_ROWS)

    def write(self, counts: Sequence[int]) -> None:
        line = np.array([*counts, 0], np.int64)
        line[-1] = checksum(line)
        self.column.append(line[None])


def checksum(line: ndarray) -> int:
    """Of all but the last column, never 0: a line of zeros is not a line."""
    return zlib.crc32(np.ascontiguousarray(line[:-1], "<i8").tobytes()) | (1 << 32)


def read_last(folder: Path, streams: int) -> tuple[int, ...]:
    """The newest counts, or zeros when none were written. Raises `BadInput` if the log is not one of `streams`."""
    reader = ColumnReader(folder / NAME)
    if reader.row != (streams + 1,):
        raise BadInput(f"{reader.path} counts {reader.row[0] - 1} streams, but the episode has {streams}")
    for chunk in reversed(range(reader.metadata.shape[0] // reader.chunk_rows + 1)):
        file = reader.path / "c" / str(chunk) / "0"
        if not file.exists():
            continue
        values = np.fromfile(file, "<i8")
        lines = values[: len(values) // (streams + 1) * (streams + 1)].reshape(-1, streams + 1)
        for line in lines[np.flatnonzero(lines[:, -1])][::-1]:
            if line[-1] == checksum(line):
                return tuple(int(count) for count in line[:-1])
    return (0,) * streams
