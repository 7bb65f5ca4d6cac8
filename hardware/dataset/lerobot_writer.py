"""Episodes in, a LeRobot dataset v3.0 out: rows in Parquet, pictures in MP4, statistics and metadata as LeRobot's own.

Bookkeeping columns are made anew: row k of an episode is at k / fps. Video that already has the right coding is joined
without decoding it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from numpy import ndarray

from hardware import artefact
from hardware.dataset import stats as statistics
from hardware.dataset.lerobot_layout import BOOKKEEPING, INFO, STATS, TASKS, Feature
from hardware.dataset.stats import Stats
from hardware.dataset.video import Clip, Encoder
from hardware.dataset.video_track import CHUNKS_SIZE, VIDEO_FILE_MB, VIDEO_PATH, Pictures, Taken, VideoTrack
from hardware.errors import BadInput

VERSION = "v3.0"
DATA_FILE_MB = 100
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_FILE = "meta/episodes/chunk-000/file-000.parquet"

BOOKKEEPING_FEATURES = {
    "timestamp": Feature(dtype="float32", shape=(1,)),
    **{name: Feature(dtype="int64", shape=(1,)) for name in BOOKKEEPING[1:]},
}


@dataclass(frozen=True)
class NewEpisode:
    """One episode for the writer: its measurements by column, its pictures by key, the task of all its rows."""

    tasks: tuple[str, ...]
    columns: dict[str, pa.Array | pa.ChunkedArray]
    pictures: dict[str, Clip | Pictures]
    length: int
    task_of_row: tuple[str, ...] | None = None
    """None: the first task throughout."""


class LerobotWriter:
    """Add episodes in order, then `close`. Write into `artefact.staged_folder`: a half-written set is no set."""

    def __init__(
        self, root: Path, fps: int, features: dict[str, Feature], robot_type: str | None, encoder: Encoder
    ) -> None:
        self.root, self.fps, self.robot_type, self.encoder = root, fps, robot_type, encoder
        for key, feature in features.items():
            if feature.is_depth:
                raise BadInput(f"'{key}' holds depth maps, which are not written here", "use LeRobot's own tools")
        self.features = {key: feature for key, feature in features.items() if key not in BOOKKEEPING}
        self.taken = Taken()
        self._tracks = {
            key: VideoTrack(root, key, fps, encoder, self.taken)
            for key, feature in self.features.items()
            if feature.is_video
        }
        self._data = DataFiles(root)
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self._frames = 0

    def add(self, episode: NewEpisode) -> None:
        """Appends one episode. Raises `BadInput` when its columns are not those of the set."""
        number = len(self._episodes)
        table = self._table(episode, number)
        data_chunk, data_file = self._data.append(table)
        line: dict[str, Any] = {
            "episode_index": number,
            "tasks": list(episode.tasks),
            "length": episode.length,
            "data/chunk_index": data_chunk,
            "data/file_index": data_file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + episode.length,
        }
        stats = {key: statistics.of_column(column_values(table[key])) for key in self._numeric(table)}
        for key, feature in self.features.items():
            if feature.dtype == "image":
                stats[key] = statistics.of_pictures(list(stored_pictures(table[key])))
        for key, track in self._tracks.items():
            placed, stats[key] = track.append(episode.pictures[key])
            line |= {f"videos/{key}/{name}": value for name, value in placed.items()}
        line |= {f"stats/{key}/{name}": value.tolist() for key, of in stats.items() for name, value in of.items()}
        line |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._episodes.append(line)
        self._stats.append(stats)
        self._frames += episode.length

    def close(self) -> None:
        """Writes the metadata. Raises `BadInput` for a set without episodes: LeRobot cannot load one."""
        if not self._episodes:
            raise BadInput("no episode is left to write", "tandem data check tells what is wrong with them")
        self._data.close()
        for track in self._tracks.values():
            track.close()
        (self.root / EPISODES_FILE).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), self.root / EPISODES_FILE)
        write_tasks(self.root, self._tasks)
        combined = {key: statistics.combined([of[key] for of in self._stats]) for key in self._stats[0]}
        plain = {key: {name: value.tolist() for name, value in of.items()} for key, of in combined.items()}
        artefact.write_text(self.root / STATS, json.dumps(plain, indent=4) + "\n")
        artefact.write_text(self.root / INFO, json.dumps(self._info(), indent=4) + "\n")

    @property
    def episodes(self) -> int:
        return len(self._episodes)

    @property
    def frames(self) -> int:
        return self._frames

    def _numeric(self, table: pa.Table) -> list[str]:
        return [
            key
            for key in table.column_names
            if key in BOOKKEEPING or self.features[key].dtype not in ("image", "string")
        ]

    def _table(self, episode: NewEpisode, number: int) -> pa.Table:
        wanted = [key for key, feature in self.features.items() if not feature.is_video]
        if set(episode.columns) != set(wanted):
            raise BadInput(f"the episode has columns {sorted(episode.columns)}, the set {sorted(wanted)}")
        rows = np.arange(episode.length)
        texts = episode.task_of_row or (episode.tasks[0],) * episode.length
        for text in (*episode.tasks, *texts):
            self._tasks.setdefault(text, len(self._tasks))
        columns = {key: episode.columns[key] for key in wanted}
        columns |= {
            "timestamp": pa.array((rows / self.fps).astype(np.float32)),
            "frame_index": pa.array(rows),
            "episode_index": pa.array(np.full(episode.length, number)),
            "index": pa.array(self._frames + rows),
            "task_index": pa.array(np.array([self._tasks[text] for text in texts], np.int64)),
        }
        return pa.table(columns)

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for key, feature in (self.features | BOOKKEEPING_FEATURES).items():
            features[key] = {"dtype": feature.dtype, "shape": list(feature.shape), "names": feature.flat_names}
            if feature.is_video:
                features[key]["info"] = self._tracks[key].info()
            elif feature.info:
                features[key]["info"] = feature.info
        return {
            "codebase_version": VERSION,
            "fps": self.fps,
            "features": features,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNKS_SIZE,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._tracks else None,
            "robot_type": self.robot_type,
            "splits": {"train": f"0:{len(self._episodes)}"},
        }


class DataFiles:
    """Parquet files with one row group per episode; a full file is followed by the next."""

    def __init__(self, root: Path) -> None:
        self.root, self.number, self.bytes = root, 0, 0
        self._writer: pq.ParquetWriter | None = None

    def append(self, table: pa.Table) -> tuple[int, int]:
        """(chunk, file) where the episode went."""
        if self._writer is not None and self.bytes + table.nbytes > DATA_FILE_MB << 20:
            self.close()
            self.number += 1
        chunk, number = divmod(self.number, CHUNKS_SIZE)
        if self._writer is None:
            file = self.root / DATA_PATH.format(chunk_index=chunk, file_index=number)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._writer, self.bytes = pq.ParquetWriter(file, table.schema), 0
        self._writer.write_table(table)
        self.bytes += table.nbytes
        return chunk, number

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def column_values(column: pa.ChunkedArray | pa.Array) -> ndarray:
    """[T] or [T, D] of a numeric column; lists of lists are laid flat."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    count = len(array)
    while (
        pa.types.is_list(array.type)
        or pa.types.is_fixed_size_list(array.type)
        or pa.types.is_large_list(array.type)
    ):
        array = array.flatten()
    values = array.to_numpy(zero_copy_only=False)
    return values if len(values) == count else values.reshape(count, -1)


def stored_pictures(column: pa.ChunkedArray) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Sampled pictures of an `image` column, which holds encoded files."""
    for number in statistics.sample(len(column)):
        data = column[number].as_py()["bytes"]
        rgb = cv2.imdecode(np.frombuffer(data or b"", np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
        if rgb is None:
            raise BadInput(f"picture {number} of an image column cannot be decoded")
        yield rgb.astype(np.uint8, copy=False)


def write_tasks(root: Path, tasks: dict[str, int]) -> None:
    """With the text as pandas' index, which is how LeRobot looks it up."""
    import pandas

    file = root / TASKS
    file.parent.mkdir(parents=True, exist_ok=True)
    index = pandas.Index(list(tasks), name="task")
    pandas.DataFrame({"task_index": list(tasks.values())}, index=index).to_parquet(file)
