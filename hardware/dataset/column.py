"""Rows in, one Zarr v3 array that grows on disk out; and back.

The array is uncompressed, cut into chunks along its first axis. A chunk file is made at full size with holes (so it
is valid Zarr from its first moment) and filled by `pwrite`: rows that were written are never touched again, so a killed
writer leaves every earlier row as it was. Which rows count is said by the column's owner (`hardware.dataset.commits`).
"""

from __future__ import annotations

import json
import math
import mmap
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import zarr
from numpy import ndarray
from pydantic import BaseModel, ValidationError

from hardware.errors import BadInput

METADATA = "zarr.json"


class ColumnWriter:
    """Appends to one array. One thread at a time; `rows` is how many were written since it was made."""

    def __init__(self, folder: Path, name: str, dtype: str, row: tuple[int, ...], chunk_rows: int) -> None:
        self.path = folder / name
        self.dtype, self.row, self.chunk_rows = np.dtype(dtype).newbyteorder("<"), row, chunk_rows
        self.row_bytes = self.dtype.itemsize * math.prod(row)
        self.rows = 0
        self._chunk = -1
        self._file = -1
        self._array = zarr.create_array(
            store=folder,
            name=name,
            shape=(0, *row),
            chunks=(chunk_rows, *row),
            dtype=self.dtype,
            compressors=None,
            filters=None,
            fill_value=0,
        )

    def append(self, rows: ndarray) -> None:
        """Writes `rows` [N, *row] after the last. Raises `OSError` (a full disk), with `rows` as before."""
        data = np.ascontiguousarray(rows, self.dtype)
        if data.shape[1:] != self.row:
            raise ValueError(f"{self.path.name} takes rows of shape {self.row}, got {data.shape[1:]}")
        done = 0
        while done < len(data):
            chunk, at = divmod(self.rows + done, self.chunk_rows)
            count = min(self.chunk_rows - at, len(data) - done)
            self._open(chunk)
            write_all(self._file, memoryview(data[done : done + count]).cast("B"), at * self.row_bytes)
            done += count
        self.rows += len(data)

    def skip_to_next_chunk(self) -> None:
        """Leaves the rest of the last chunk empty, so that what follows is in one file."""
        self.rows = math.ceil(self.rows / self.chunk_rows) * self.chunk_rows

    def sync(self) -> None:
        """Has the disk, not only the kernel, hold what was written."""
        if self._file >= 0:
            os.fdatasync(self._file)

    def close(self, rows: int | None = None) -> None:
        """Ends the column; with `rows`, the array's shape becomes what counts."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
        if rows is not None:
            self._array.resize((rows, *self.row))

    def _open(self, chunk: int) -> None:
        if chunk == self._chunk:
            return
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        file = chunk_file(self.path, chunk, len(self.row))
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._chunk = chunk
        os.ftruncate(self._file, self.chunk_rows * self.row_bytes)
        self._array.resize(((chunk + 1) * self.chunk_rows, *self.row))


def write_all(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def chunk_file(array: Path, chunk: int, inner_axes: int) -> Path:
    """Zarr's default chunk key: `c/<i>` and a 0 for each axis that is not cut."""
    return array.joinpath("c", str(chunk), *["0"] * inner_axes)


class _Grid(BaseModel):
    class Shape(BaseModel):
        chunk_shape: tuple[int, ...]

    configuration: Shape


class _Codec(BaseModel):
    name: str


class _Metadata(BaseModel):
    """The part of an array's `zarr.json` that is needed to find a row."""

    shape: tuple[int, ...]
    data_type: str
    chunk_grid: _Grid
    codecs: tuple[_Codec, ...]


@dataclass(frozen=True, eq=False)
class ColumnReader:
    """Reads one such array straight from its chunk files: whole (`rows`) or a range of it without a copy (`view`)."""

    path: Path

    @cached_property
    def metadata(self) -> _Metadata:
        file = self.path / METADATA
        try:
            metadata = _Metadata.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
            raise BadInput(f"cannot read the array {self.path}: {error}", "tandem data check") from error
        if [codec.name for codec in metadata.codecs] != ["bytes"]:
            raise BadInput(f"{file} has codecs {[codec.name for codec in metadata.codecs]}; only 'bytes' is read")
        return metadata

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.metadata.data_type).newbyteorder("<")

    @property
    def row(self) -> tuple[int, ...]:
        return self.metadata.shape[1:]

    @property
    def chunk_rows(self) -> int:
        return self.metadata.chunk_grid.configuration.chunk_shape[0]

    def rows(self, count: int) -> ndarray:
        """The first `count` rows. Raises `BadInput` when a chunk file is missing or too short for them."""
        pieces = []
        for chunk in range(math.ceil(count / self.chunk_rows)):
            needed = min(self.chunk_rows, count - chunk * self.chunk_rows) * math.prod(self.row)
            file = chunk_file(self.path, chunk, len(self.row))
            try:
                values = np.fromfile(file, self.dtype, needed)
            except OSError as error:
                raise BadInput(f"cannot read {file}: {error}", "tandem data check") from error
            if len(values) < needed:
                raise BadInput(f"{file} is cut off: {len(values)} of {needed} values", "tandem data check")
            pieces.append(values.reshape(-1, *self.row))
        return np.concatenate(pieces) if pieces else np.zeros((0, *self.row), self.dtype)

    def view(self, start: int, count: int) -> memoryview:
        """Bytes of rows that lie in one chunk, mapped, not copied."""
        chunk, at = divmod(start, self.chunk_rows)
        size = self.dtype.itemsize * math.prod(self.row)
        return self._mapped(chunk)[at * size : (at + count) * size]

    @cached_property
    def _maps(self) -> dict[int, memoryview]:
        return {}

    def _mapped(self, chunk: int) -> memoryview:
        if chunk not in self._maps:
            file = chunk_file(self.path, chunk, len(self.row))
            try:
                with file.open("rb") as stream:
                    self._maps[chunk] = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:
                raise BadInput(f"cannot read {file}: {error}", "tandem data check") from error
        return self._maps[chunk]
