"""One episode of a store, for reading: also while it is being recorded, also after its recorder was killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.config import Config
from hardware.dataset import commits, picture
from hardware.dataset.column import ColumnReader
from hardware.dataset.frame_grid import SOURCES, FrameIndex, Streams, align
from hardware.dataset.manifest import EpisodeManifest, read_attributes, read_episode
from hardware.episode import Episode, Frame
from hardware.errors import BadInput
from hardware.messages import Observation

JOINTS, SENT, CAMERAS, FRAMES = "joints", "sent", "cameras", "frames"
CAMERA_KEY = "tandem_camera"
OFFSET, LENGTH, CRC = 0, 1, 2
"""Columns of a camera's `index` array."""


class CameraManifest(Config):
    """The size of every picture of one camera."""

    height: int
    width: int


@dataclass(frozen=True, eq=False)
class StoredEpisode:
    """Raw streams as measured, and frames at the fixed rate (`index`)."""

    folder: Path

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @cached_property
    def manifest(self) -> EpisodeManifest:
        return read_episode(self.folder)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Rows that count: joints, sent, then pictures and bytes of each camera."""
        return commits.read_last(self.folder, self.manifest.streams)

    @cached_property
    def streams(self) -> Streams:
        return Streams(
            joint_ns=self.column(JOINTS, "stamp_ns").astype(np.int64),
            sent_ns=self.column(SENT, "stamp_ns").astype(np.int64),
            sent_source=self.column(SENT, "source").astype(np.uint8),
            picture_ns={camera: self.picture_stamps(camera) for camera in self.manifest.cameras},
        )

    def picture_stamps(self, camera: str) -> ndarray:
        return self.column(f"{CAMERAS}/{camera}", "stamp_ns").astype(np.int64)

    @cached_property
    def q_rad(self) -> Float[ndarray, "M J"]:
        return self.column(JOINTS, "q_rad").astype(np.float64)

    @cached_property
    def dq_rad_s(self) -> Float[ndarray, "M J"]:
        """NaN where the arm did not measure it."""
        return self.column(JOINTS, "dq_rad_s").astype(np.float64)

    @cached_property
    def sent(self) -> Float[ndarray, "M D"]:
        return self.column(SENT, "action").astype(np.float64)

    @cached_property
    def index(self) -> FrameIndex:
        """Stored when the episode was finished; worked out anew for one that is not."""
        if self.manifest.state == "recording":
            return align(self.manifest.alignment, self.streams)
        count, cameras = self.manifest.frames, bool(self.manifest.cameras)

        def stored(name: str) -> ndarray:
            return ColumnReader(self.folder / FRAMES / name).rows(count)

        return FrameIndex(
            stamp_ns=stored("stamp_ns").astype(np.int64),
            joint_row=stored("joint_row").astype(np.int64),
            sent_row=stored("sent_row").astype(np.int64),
            picture_row=stored("picture_row").astype(np.int64) if cameras else np.zeros((count, 0), np.int64),
            source=stored("source").astype(np.uint8),
            late=stored("late").astype(bool),
        )

    def __len__(self) -> int:
        return len(self.index)

    def rows_of(self, stream: str) -> int:
        """How many rows of `joints`, `sent` or `cameras/<name>` count."""
        if stream in (JOINTS, SENT):
            return self.counts[(JOINTS, SENT).index(stream)]
        return self.counts[2 + 2 * self.manifest.cameras.index(stream.removeprefix(f"{CAMERAS}/"))]

    def column(self, stream: str, name: str) -> ndarray:
        """All rows of one array that count; none where the stream never began."""
        count, reader = self.rows_of(stream), ColumnReader(self.folder / stream / name)
        if count == 0 and not reader.path.exists():
            return np.zeros(0, np.int64)
        return reader.rows(count)

    @cached_property
    def cameras(self) -> dict[str, StoredCamera]:
        return {name: StoredCamera(self, name) for name in self.manifest.cameras}

    def frame(self, number: int) -> Frame:
        """Frame `number` with all its pictures."""
        index = self.index
        rows = dict(zip(self.manifest.cameras, index.picture_row[number], strict=True))
        dq = self.dq_rad_s[index.joint_row[number]]
        observation = Observation(
            stamp_ns=int(index.stamp_ns[number]),
            joint_names=self.manifest.joint_names,
            q_rad=self.q_rad[index.joint_row[number]],
            dq_rad_s=dq if np.isfinite(dq).all() else None,
            images={name: self.cameras[name].picture(int(row)) for name, row in rows.items()},
            image_stamps_ns={name: int(self.streams.picture_ns[name][row]) for name, row in rows.items()},
            instruction=self.manifest.task,
        )
        return Frame(observation, self.sent[index.sent_row[number]], SOURCES[index.source[number]])

    def episode(self) -> Episode:
        """The whole of it in memory, pictures too."""
        frames = [self.frame(number) for number in range(len(self))]
        return Episode(self.manifest.task, frames, self.manifest.success)

    @property
    def size_bytes(self) -> int:
        """What it takes on disk (holes do not count)."""
        return sum(file.stat().st_blocks * 512 for file in self.folder.rglob("*") if file.is_file())


@dataclass(frozen=True, eq=False)
class StoredCamera:
    """The pictures of one camera, as they were measured."""

    episode: StoredEpisode
    name: str

    @property
    def folder(self) -> Path:
        return self.episode.folder / CAMERAS / self.name

    @cached_property
    def size(self) -> CameraManifest:
        return read_attributes(self.folder, CAMERA_KEY, CameraManifest)

    @cached_property
    def places(self) -> ndarray:
        """[N, 3]: offset, length, CRC-32 of each picture."""
        return self.episode.column(f"{CAMERAS}/{self.name}", "index")

    @cached_property
    def packed(self) -> ColumnReader:
        return ColumnReader(self.folder / "bytes")

    def encoded(self, row: int) -> memoryview:
        offset, length, _ = self.places[row].tolist()
        return self.packed.view(offset, length)

    def intact(self, row: int) -> bool:
        """Whether the bytes are those that were written."""
        return picture.fingerprint(self.encoded(row)) == int(self.places[row, CRC])

    def picture(self, row: int) -> UInt8[ndarray, "H W 3"]:
        """Raises `BadInput` that names the picture when it cannot be decoded."""
        try:
            return picture.decode(
                self.episode.manifest.encoding, self.encoded(row), self.size.height, self.size.width
            )
        except BadInput as error:
            raise BadInput(f"picture {row} of {self.folder}: {error.problem}", error.fix) from error


@contextmanager
def locked(folder: Path) -> Generator[bool]:
    """Holds the episode for writing; gives False when another process does. A dead holder lets go by itself."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)
