"""Chunks that were tried, in; batches to learn from, out. On disk as Zarr v3, safe against `kill -9` at any moment.

`REPLAY/zarr.json`, `REPLAY/segments/000000/{zarr.json, commits, <column>}`: each process that opens the replay to write
begins a segment of its own and never touches an older one. Rows count once the segment's commit says so; only then are
they acknowledged. A transition's id is stored with it, so one that is offered again is taken for what it is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float16, Int, Shaped
from numpy import ndarray
from numpy.random import Generator

from hardware import artefact
from hardware.config import Config
from hardware.dataset import commits
from hardware.dataset.column import METADATA, ColumnReader, ColumnWriter
from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.manifest import read_attributes, write_attributes, write_group
from hardware.errors import BadInput

SEGMENTS, KEY, SEGMENT_KEY = "segments", "tandem_replay", "tandem_segment"
CORRECTING = (SOURCES.index("human"), SOURCES.index("scripted"))
"""Numbers in `SOURCES` of a person, and of whoever stands in for one."""
CHUNK_ROWS = 256
"""Rows per file of a column."""


class ReplayShape(Config):
    """What every row of a replay has; another policy's rows do not fit and are refused."""

    format: Literal[2] = 2
    percept: int
    """P, K and E of what is kept of an observation (`embedding.Looks`)."""
    known: int
    seen: int
    horizon_steps: int
    action_dims: int
    embedding: str
    """Of which policy's: a digest of the weights that it hangs on."""


class SegmentManifest(Config):
    """One writer's part."""

    process: int


@dataclass(frozen=True, eq=False)
class Transitions:
    """B chunks and what came of each. Actions are normalised as the policy's; rewards are per environment step."""

    id: Int[ndarray, " B"]
    """Unique for ever: `new_ids`."""
    percept: Float16[ndarray, "B P"]
    next_percept: Float16[ndarray, "B P"]
    known: Float[ndarray, "B K"]
    next_known: Float[ndarray, "B K"]
    seen: Float[ndarray, "B E"]
    next_seen: Float[ndarray, "B E"]
    actions: Float[ndarray, "B H D"]
    rewards: Float[ndarray, "B H"]
    terminated: Bool[ndarray, "B H"]
    executed: Int[ndarray, " B"]
    """Steps that were done; fewer than H where the next chunk came first, time ran out or a person took over."""
    floor: Float[ndarray, " B"]
    """The return that was reached from here (V^μ), by whoever acted; −inf where the episode's end is not known."""
    source: Int[ndarray, " B"]
    """Number in `SOURCES` of who chose the chunk."""
    episode: Int[ndarray, " B"]
    success: Int[ndarray, " B"]
    """Of the episode: 1, 0, or −1 for not known."""
    imitate: Bool[ndarray, " B"]
    """Demonstrated, corrected, or done by the policy on its own way to a success."""

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: ndarray) -> Transitions:
        """The rows of an index or a mask."""
        return Transitions(**{name: values[rows] for name, values in self.columns().items()})

    def columns(self) -> dict[str, ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def is_correction(self) -> Bool[ndarray, " B"]:
        """A person's, or whoever stands in for one."""
        return np.isin(self.source, CORRECTING)


def joined(parts: list[Transitions]) -> Transitions:
    return Transitions(
        **{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Transitions)}
    )


def new_ids(count: int) -> Int[ndarray, " B"]:
    """Random 63 bits each: two alike among a million are less likely than 1 in 10 million."""
    return np.frombuffer(os.urandom(8 * count), np.int64) & np.int64(2**63 - 1)


def layout(shape: ReplayShape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Column → dtype on disk and shape of a row."""
    return {
        "id": ("int64", ()),
        "percept": ("float16", (shape.percept,)),
        "next_percept": ("float16", (shape.percept,)),
        "known": ("float32", (shape.known,)),
        "next_known": ("float32", (shape.known,)),
        "seen": ("float32", (shape.seen,)),
        "next_seen": ("float32", (shape.seen,)),
        "actions": ("float32", (shape.horizon_steps, shape.action_dims)),
        "rewards": ("float32", (shape.horizon_steps,)),
        "terminated": ("uint8", (shape.horizon_steps,)),
        "executed": ("int64", ()),
        "floor": ("float32", ()),
        "source": ("int64", ()),
        "episode": ("int64", ()),
        "success": ("int64", ()),
        "imitate": ("uint8", ()),
    }


class Replay:
    """All rows in memory, all acknowledged rows on disk. One process writes, from one thread."""

    def __init__(self, folder: Path, shape: ReplayShape) -> None:
        """Opens or makes it. Raises `BadInput` for another shape, and where another process writes."""
        self.folder, self.shape = folder, shape
        self._make()
        self._lock = lock(folder)
        self._stored = Growing(layout(shape))
        self._ids: set[int] = set()
        for segment in segments(folder):
            self._remember(read_segment(segment, shape))
        self._writers: dict[str, ColumnWriter] = {}
        self._commits: commits.CommitLog | None = None

    @staticmethod
    def shape_of(folder: Path) -> ReplayShape:
        """Of the replay that lies there. Raises `BadInput` where there is none, or one of another version."""
        try:
            return read_attributes(folder, KEY, ReplayShape)
        except BadInput as error:
            raise BadInput(f"{folder} holds no replay of this version: {error}", "name a new --output") from error

    def __len__(self) -> int:
        return self._stored.rows

    def has(self, row_id: int) -> bool:
        return row_id in self._ids

    def add(self, offered: Transitions) -> int:
        """Appends what is new of it; when this returns, no kill takes it away. Returns how many were new."""
        new = offered.take(self._unknown(offered.id))
        if len(new) == 0:
            return 0
        self._check(new)
        if self._commits is None:
            self._begin_segment()
        for name, values in new.columns().items():
            writer = self._writers[name]
            writer.append(values.astype(writer.dtype))
        assert self._commits is not None
        self._commits.write([self._writers["id"].rows])
        self._remember(new)
        return len(new)

    def rows(self, chosen: Int[ndarray, " B"]) -> Transitions:
        return as_transitions(self._stored.take(chosen))

    def sample(self, count: int, rng: Generator) -> Transitions:
        """With replacement, every row alike."""
        if len(self) == 0:
            raise BadInput(f"the replay {self.folder} is empty", "add demonstrations or episodes first")
        return self.rows(rng.integers(len(self), size=count))

    def column(self, name: str) -> Shaped[ndarray, "B ..."]:
        return self._stored.column(name)

    def close(self) -> None:
        """Lets another process write. Safe to call twice."""
        for writer in self._writers.values():
            writer.close()
        if self._commits is not None:
            self._commits.column.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._writers, self._commits = {}, None

    def _make(self) -> None:
        if (self.folder / METADATA).is_file():
            if self.shape_of(self.folder) != self.shape:
                raise BadInput(
                    f"{self.folder} holds chunks of another policy or size", "name a new folder for this run"
                )
            return
        if self.folder.is_dir() and any(path.name != SEGMENTS for path in self.folder.iterdir()):
            raise BadInput(f"{self.folder} holds something that is no replay", "name an empty or new folder")
        (self.folder / SEGMENTS).mkdir(parents=True, exist_ok=True)
        write_group(self.folder / SEGMENTS, {})
        write_attributes(self.folder, KEY, self.shape)

    def _unknown(self, ids: Int[ndarray, " B"]) -> Bool[ndarray, " B"]:
        """Not stored yet, and the first of its id in this very batch."""
        seen: set[int] = set()
        fresh = []
        for one in ids.tolist():
            fresh.append(one not in self._ids and one not in seen)
            seen.add(one)
        return np.array(fresh, bool)

    def _check(self, new: Transitions) -> None:
        for name, (dtype, row) in layout(self.shape).items():
            values = getattr(new, name)
            if values.shape[1:] != row:
                raise BadInput(f"'{name}' has rows of {values.shape[1:]}, the replay's are {row}")
            kept = values.astype(dtype)
            if name != "floor" and kept.dtype.kind == "f" and not np.isfinite(kept).all():
                raise BadInput(f"'{name}' of a transition is not finite as {dtype}")

    def _begin_segment(self) -> None:
        taken = segments(self.folder)
        number = int(taken[-1].name) + 1 if taken else 0
        folder = self.folder / SEGMENTS / f"{number:06d}"
        with artefact.staged_folder(folder) as staged:
            write_attributes(staged, SEGMENT_KEY, SegmentManifest(process=os.getpid()))
        self._writers = {
            name: ColumnWriter(folder, name, dtype, row, CHUNK_ROWS)
            for name, (dtype, row) in layout(self.shape).items()
        }
        self._commits = commits.CommitLog(folder, 1)

    def _remember(self, rows: Transitions) -> None:
        self._stored.append(rows.columns())
        self._ids.update(rows.id.tolist())


class Growing:
    """Named columns in memory; room is doubled when it runs out."""

    def __init__(self, columns: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        self.rows = 0
        self._room = {name: np.empty((0, *row), dtype) for name, (dtype, row) in columns.items()}

    def append(self, columns: Mapping[str, ndarray]) -> None:
        count = len(columns["id"])
        for name, room in self._room.items():
            if self.rows + count > len(room):
                larger = np.empty((max(2 * len(room), self.rows + count, 64), *room.shape[1:]), room.dtype)
                larger[: self.rows] = room[: self.rows]
                self._room[name] = room = larger
            room[self.rows : self.rows + count] = columns[name]
        self.rows += count

    def take(self, chosen: Int[ndarray, " B"]) -> dict[str, ndarray]:
        return {name: room[: self.rows][chosen] for name, room in self._room.items()}

    def column(self, name: str) -> ndarray:
        return self._room[name][: self.rows].copy()


def as_transitions(columns: Mapping[str, ndarray]) -> Transitions:
    """Columns as they lie on disk → rows."""
    truths = {name: columns[name].astype(bool) for name in ("terminated", "imitate")}
    return Transitions(**{**columns, **truths})


def segments(folder: Path) -> list[Path]:
    found = (folder / SEGMENTS).glob("[0-9]*")
    return sorted(path for path in found if path.name.isdecimal() and (path / METADATA).is_file())


def read_segment(folder: Path, shape: ReplayShape) -> Transitions:
    """The rows that count. A segment whose writer died before its first commit has none."""
    expected = layout(shape)
    whole = (folder / commits.NAME / METADATA).is_file()
    [count] = commits.read_last(folder, 1) if whole else [0]
    missing = [name for name in expected if count and not (folder / name).is_dir()]
    if missing:
        raise BadInput(f"{folder} is of an earlier version: it has no column '{missing[0]}'", "name a new --output")
    columns = {
        name: ColumnReader(folder / name).rows(count) if count else np.empty((0, *row), dtype)
        for name, (dtype, row) in expected.items()
    }
    return as_transitions(columns)


def lock(folder: Path) -> int:
    """Held until closed or until the process is gone. Raises `BadInput` when another holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise BadInput(f"another process writes {folder}", "stop it first: one learner per run") from error
    return handle


def read_all(folder: Path) -> Transitions:
    """Every acknowledged row, in the order of coming, of a replay that another process may be writing."""
    shape = Replay.shape_of(folder)
    return joined([read_segment(segment, shape) for segment in segments(folder)] or [empty(shape)])


def empty(shape: ReplayShape) -> Transitions:
    return as_transitions({name: np.empty((0, *row), dtype) for name, (dtype, row) in layout(shape).items()})


def episodes_of(rows: Transitions, success: bool, count: int) -> Transitions:
    """The last `count` whole episodes that ended so, or as many as there are. An episode's rows lie together."""
    if len(rows) == 0:
        return rows
    begins = np.flatnonzero(np.diff(rows.episode, prepend=-1))
    ends = np.append(begins[1:], len(rows))
    spans = [span for span in zip(begins, ends, strict=True) if rows.success[span[0]] == int(success)]
    chosen = [np.arange(*span) for span in spans[len(spans) - min(count, len(spans)) :]]
    return rows.take(np.concatenate(chosen) if chosen else np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Half the batch from demonstrations and corrections, half from what was tried (HIL-SERL, arXiv 2410.21845).

    `seeds`: tried elsewhere, in the twin, before this run's first episode; they belong to the half that was tried.
    """

    demos: Replay
    online: Replay
    seeds: Replay | None = None

    def add(self, offered: Transitions) -> int:
        """Everything goes to the online replay, corrections to the demonstrations too, and those first: what is
        acknowledged is in both, and what is offered again after a kill in between ends up in each once.
        """
        corrections = offered.take(offered.is_correction)
        if len(corrections):
            self.demos.add(corrections)
        return self.online.add(offered)

    def sample(self, count: int, rng: Generator) -> Transitions:
        """Half and half, the odd one from the demonstrations; all from one side while the other is empty."""
        seeded = 0 if self.seeds is None else len(self.seeds)
        have = seeded + len(self.online)
        tried = count if len(self.demos) == 0 else 0 if have == 0 else count // 2
        parts = [self.demos.sample(count - tried, rng)] if tried < count else []
        rows = rng.integers(have, size=tried) if tried else np.zeros(0, np.int64)
        if self.seeds is not None and (rows < seeded).any():
            parts.append(self.seeds.rows(rows[rows < seeded]))
        if (rows >= seeded).any():
            parts.append(self.online.rows(rows[rows >= seeded] - seeded))
        return joined(parts)

    def close(self) -> None:
        for replay in (self.demos, self.online, self.seeds):
            if replay is not None:
                replay.close()
