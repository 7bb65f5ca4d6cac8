"""Batches of measurements in, columns on disk and a commit after each batch out. The recorder's thread runs this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from hardware.dataset import picture
from hardware.dataset.column import ColumnWriter
from hardware.dataset.commits import CommitLog
from hardware.dataset.frame_grid import Streams
from hardware.dataset.manifest import EpisodeManifest, write_attributes, write_group
from hardware.dataset.picture import Jpeg, Raw
from hardware.dataset.stored_episode import CAMERA_KEY, CAMERAS, JOINTS, SENT, CameraManifest

ROWS_PER_CHUNK = 4096
"""41 s at 100 Hz."""
BYTES_PER_CHUNK = 1 << 24
"""16 MiB: some 180 JPEG pictures of 640×480, or 18 raw ones."""
PICTURES_PER_COMMIT = 8

Waiting = Mapping[str, list[tuple[int, Any]]]


class StreamWriters:
    """All columns of one episode. Cameras begin with their first picture, which fixes their size."""

    def __init__(self, folder: Path, manifest: EpisodeManifest, *, power_safe: bool) -> None:
        self.folder, self.manifest, self.power_safe = folder, manifest, power_safe
        joints, actions = len(manifest.joint_names), len(manifest.action_names)
        joint = {"stamp_ns": ("int64", ()), "q_rad": ("float64", (joints,)), "dq_rad_s": ("float64", (joints,))}
        self.joint = group(folder / JOINTS, joint)
        sent = {"stamp_ns": ("int64", ()), "action": ("float64", (actions,)), "source": ("uint8", ())}
        self.sent = group(folder / SENT, sent)
        self.cameras: dict[str, CameraWriter] = {}
        write_group(folder / CAMERAS, {})
        self.commits = CommitLog(folder, manifest.streams)

    def counts(self) -> dict[str, int]:
        """Rows per stream, written and committed."""
        cameras = {f"{CAMERAS}/{name}": self._camera_counts(name)[0] for name in self.manifest.cameras}
        return {JOINTS: self.joint["stamp_ns"].rows, SENT: self.sent["stamp_ns"].rows, **cameras}

    def write(self, waiting: Waiting, pool: Executor) -> Iterator[tuple[int, int]]:
        """Writes it all; after each commit gives (measurements, bytes of pictures) that it made safe.

        Numbers go first: they are small, and encoding pictures takes time.
        """
        joints, sent = waiting.get(JOINTS, []), waiting.get(SENT, [])
        if joints:
            q, dq = zip(*(item for _, item in joints), strict=True)
            append(self.joint, stamp_ns=stamps(joints), q_rad=np.array(q), dq_rad_s=np.array(dq))
        if sent:
            action, source = zip(*(item for _, item in sent), strict=True)
            append(self.sent, stamp_ns=stamps(sent), action=np.array(action), source=np.array(source, np.uint8))
        if joints or sent:
            self.commit()
            yield len(joints) + len(sent), 0
        for name in self.manifest.cameras:
            for some in batched(waiting.get(f"{CAMERAS}/{name}", []), PICTURES_PER_COMMIT):
                self.camera(name, *some[0][1].shape[:2]).append(list(some), pool)
                self.commit()
                yield len(some), sum(rgb.nbytes for _, rgb in some)

    def copy(self, streams: Streams, q_rad: ndarray, dq_rad_s: ndarray, action: ndarray) -> None:
        """Appends whole streams of numbers at once; pictures go through `camera`."""
        append(self.joint, stamp_ns=streams.joint_ns, q_rad=q_rad, dq_rad_s=dq_rad_s)
        append(self.sent, stamp_ns=streams.sent_ns, action=action, source=streams.sent_source)

    def commit(self) -> None:
        """Makes everything written so far count."""
        if self.power_safe:
            for column in self._columns():
                column.sync()
        counts = [self.joint["stamp_ns"].rows, self.sent["stamp_ns"].rows]
        for name in self.manifest.cameras:
            counts += self._camera_counts(name)
        self.commits.write(counts)
        if self.power_safe:
            self.commits.column.sync()

    def camera(self, name: str, height: int, width: int) -> CameraWriter:
        if name not in self.cameras:
            self.cameras[name] = CameraWriter(self.folder / CAMERAS / name, self.manifest.encoding, height, width)
        return self.cameras[name]

    def close(self) -> None:
        for column in self._columns():
            column.close()

    def _camera_counts(self, name: str) -> tuple[int, int]:
        camera = self.cameras.get(name)
        return (camera.index.rows, camera.packed.rows) if camera else (0, 0)

    def _columns(self) -> list[ColumnWriter]:
        cameras = [column for camera in self.cameras.values() for column in camera.columns]
        return [*self.joint.values(), *self.sent.values(), *cameras, self.commits.column]


class CameraWriter:
    """Encoded pictures end to end; none straddles two chunk files, so each is read by one mapping."""

    def __init__(self, folder: Path, encoding: Jpeg | Raw, height: int, width: int) -> None:
        self.encoding, self.height, self.width = encoding, height, width
        self.stamp = ColumnWriter(folder, "stamp_ns", "int64", (), ROWS_PER_CHUNK)
        self.index = ColumnWriter(folder, "index", "int64", (3,), ROWS_PER_CHUNK)
        chunk = max(BYTES_PER_CHUNK, 2 * height * width * 3)
        self.packed = ColumnWriter(folder, "bytes", "uint8", (), chunk)
        write_attributes(folder, CAMERA_KEY, CameraManifest(height=height, width=width))

    @property
    def columns(self) -> tuple[ColumnWriter, ...]:
        return self.stamp, self.index, self.packed

    def append(self, pictures: list[tuple[int, ndarray]], pool: Executor) -> None:
        for _, rgb in pictures:
            if rgb.shape != (self.height, self.width, 3):
                raise ValueError(f"a camera's pictures changed from {self.height}×{self.width} to {rgb.shape}")
        encoded = list(pool.map(lambda item: picture.encode(self.encoding, item[1]), pictures))
        self.append_encoded(stamps(pictures), encoded)

    def append_encoded(self, stamps_ns: ndarray, pictures: Sequence[bytes | memoryview]) -> None:
        places = [(self._place(data), len(data), picture.fingerprint(data)) for data in pictures]
        self.stamp.append(stamps_ns)
        self.index.append(np.array(places, np.int64).reshape(-1, 3))

    def _place(self, data: bytes | memoryview) -> int:
        """Writes the bytes and gives their offset."""
        if self.packed.rows % self.packed.chunk_rows + len(data) > self.packed.chunk_rows:
            self.packed.skip_to_next_chunk()
        offset = self.packed.rows
        self.packed.append(np.frombuffer(data, np.uint8))
        return offset


def group(folder: Path, arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, ColumnWriter]:
    write_group(folder, {})
    return {name: ColumnWriter(folder, name, dtype, row, ROWS_PER_CHUNK) for name, (dtype, row) in arrays.items()}


def append(columns: Mapping[str, ColumnWriter], **rows: ndarray) -> None:
    for name, values in rows.items():
        columns[name].append(values)


def stamps(items: list[tuple[int, Any]]) -> ndarray:
    return np.array([stamp_ns for stamp_ns, _ in items], np.int64)
