"""What the control loop did, on disk: deadlines, seams and chunks go in; a kill at any moment loses half a second.

    run.json      who, at what rate, under which scheduler (`RunInfo`)
    ticks.bin     one record of three little-endian int64 per control step: deadline, woke, done, in monotonic ns
    seams.jsonl   one `Seam` per line
    chunks.jsonl  one chunk per line as it was offered, with the stamps of its observation and its arrival

Only ever appended to. A record that a kill cut short is left out when read, and taken away before anything is added.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.execution.deadline import scheduler
from hardware.execution.seam import Seam
from hardware.messages import ActionChunk

log = logging.getLogger(__name__)

INFO, TICKS, SEAMS, CHUNKS = "run.json", "ticks.bin", "seams.jsonl", "chunks.jsonl"
_TICK = np.dtype("<i8")
_COLUMNS = 3
_FLUSH_S = 0.5
_WAITING = 100_000  # records; a disk that hangs for longer than 15 minutes loses the oldest


class RunInfo(Config):
    joint_names: tuple[str, ...]
    names: tuple[str, ...]
    """The columns of a chunk."""
    rate_hz: float
    scheduler: str = ""
    """Of the thread that ticks; filled in when it does."""
    started_at: str
    """UTC, ISO 8601; of the newest start, if the process was started again on the same folder."""


@dataclass(frozen=True, eq=False)
class RecordedChunk:
    chunk: ActionChunk
    observation_ns: int
    arrived_ns: int


@dataclass(frozen=True, eq=False)
class Run:
    info: RunInfo
    ticks_ns: Int[ndarray, "N 3"]
    """Deadline, woke, done."""
    seams: tuple[dict, ...]
    """As `Seam.as_record` gives them."""
    chunks: tuple[RecordedChunk, ...]


class RunLog:
    """Takes records without waiting, from any thread; a thread of its own writes them. Close it at the end."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        artefact.write_model(folder / INFO, info)
        self.folder = folder
        self._info, self._scheduler = info, ""
        self._ticks: deque[tuple[int, int, int]] = deque(maxlen=_WAITING)
        self._seams: deque[Seam] = deque(maxlen=_WAITING)
        self._chunks: deque[RecordedChunk] = deque(maxlen=_WAITING)
        _cut_torn_record(folder / TICKS, _COLUMNS * _TICK.itemsize)
        for name in (SEAMS, CHUNKS):
            _cut_torn_line(folder / name)
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="run-log", daemon=True)
        self._thread.start()

    def ticked(self, deadline_ns: int, woke_ns: int, done_ns: int) -> None:
        """From the control thread."""
        if not self._scheduler:
            self._scheduler = scheduler()
        self._ticks.append((deadline_ns, woke_ns, done_ns))

    def sewn(self, seam: Seam) -> None:
        self._seams.append(seam)

    def offered(self, chunk: ActionChunk, observation_ns: int, arrived_ns: int) -> None:
        self._chunks.append(RecordedChunk(chunk, observation_ns, arrived_ns))

    def flush(self) -> None:
        with self._writing:
            if self._scheduler and self._info.scheduler != self._scheduler:
                self._info = self._info.but(scheduler=self._scheduler)
                artefact.write_model(self.folder / INFO, self._info)
            ticks = np.array(list(_drained(self._ticks)), dtype=_TICK)
            _append(self.folder / TICKS, ticks.tobytes())
            _append(self.folder / SEAMS, _lines(seam.as_record() for seam in _drained(self._seams)))
            _append(self.folder / CHUNKS, _lines(_chunk_record(chunk) for chunk in _drained(self._chunks)))

    def close(self) -> None:
        """Safe to call twice."""
        self._closing.set()
        self._thread.join()

    def _write(self) -> None:
        ends = False
        while not ends:
            ends = self._closing.wait(_FLUSH_S)
            try:
                self.flush()
            except OSError as error:
                log.error("cannot write the control loop's log: %s", error)


def started(joint_names: tuple[str, ...], names: tuple[str, ...], rate_hz: float) -> RunInfo:
    """The information of a run that starts now."""
    return RunInfo(
        joint_names=joint_names,
        names=names,
        rate_hz=rate_hz,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_run(folder: Path) -> Run:
    """Also of a run that still goes on, or that was killed. Raises `BadInput` when there is none."""
    if not (folder / INFO).is_file():
        found = sorted(file.parent for file in folder.rglob(INFO) if (file.parent / TICKS).exists())
        hint = f"there is one in {found[0]}" if found else "the executor writes one into its run folder"
        raise BadInput(f"{folder} holds no log of a control loop", hint)
    info = read(RunInfo, folder / INFO)
    ticks = np.frombuffer(_content(folder / TICKS), dtype=np.uint8)
    whole = len(ticks) // (_COLUMNS * _TICK.itemsize) * _COLUMNS * _TICK.itemsize
    return Run(
        info=info,
        ticks_ns=ticks[:whole].view(_TICK).astype(np.int64).reshape(-1, _COLUMNS),
        seams=tuple(_records(folder / SEAMS)),
        chunks=tuple(_chunk(record, info) for record in _records(folder / CHUNKS)),
    )


def _chunk_record(recorded: RecordedChunk) -> dict[str, object]:
    chunk = recorded.chunk
    return {
        "observation_ns": recorded.observation_ns,
        "arrived_ns": recorded.arrived_ns,
        "start_ns": chunk.start_ns,
        "rate_hz": chunk.rate_hz,
        "values": np.round(chunk.values, 7).tolist(),
    }


def _chunk(record: dict, info: RunInfo) -> RecordedChunk:
    chunk = ActionChunk(
        start_ns=record["start_ns"],
        rate_hz=record["rate_hz"],
        space="joint_pos_rad",
        names=info.names,
        values=np.array(record["values"], dtype=np.float64),
    )
    return RecordedChunk(chunk, record["observation_ns"], record["arrived_ns"])


def _lines(records: Iterator[dict[str, object]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _records(file: Path) -> Iterator[dict]:
    """Of all whole lines."""
    for line in _content(file).splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _append(file: Path, data: bytes) -> None:
    with file.open("ab") as stream:
        stream.write(data)


def _cut_torn_record(file: Path, size: int) -> None:
    if file.exists():
        with file.open("rb+") as stream:
            stream.truncate(file.stat().st_size // size * size)


def _cut_torn_line(file: Path) -> None:
    content = _content(file)
    if content and not content.endswith(b"\n"):
        with file.open("rb+") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def _drained[T](messages: deque[T]) -> Iterator[T]:
    while messages:
        yield messages.popleft()
