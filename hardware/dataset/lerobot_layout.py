"""A LeRobot dataset's folder (v2.0, v2.1, v3.0) in; its episodes and where their rows and pictures lie, out.

Nothing is believed here: files named by the metadata may be missing or wrong (`hardware.dataset.check_lerobot` looks).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardware.dataset.video import Clip
from hardware.errors import BadInput

INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that follow from the order of the episodes; all others are measurements."""


class Feature(BaseModel):
    """One column of a dataset, as `info.json` describes it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def is_video(self) -> bool:
        return self.dtype == "video"

    @property
    def is_picture(self) -> bool:
        return self.dtype in ("video", "image")

    @property
    def is_depth(self) -> bool:
        info = self.info or {}
        return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))

    @property
    def flat_names(self) -> list[str] | None:
        """Names as one list; v2.1 sets often nest them once more, or give them by axis."""
        names = list(self.names.values()) if isinstance(self.names, dict) else self.names
        while isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
            names = names[0]
        return [str(name) for name in names] if names else None


class Info(BaseModel):
    """`meta/info.json`. Keys that are not used here are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    codebase_version: str
    fps: float = Field(gt=0)
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    chunks_size: int = Field(1000, gt=0)
    total_episodes: int = 0
    total_frames: int = 0
    robot_type: str | None = None


@dataclass(frozen=True)
class EpisodeEntry:
    """What the metadata says of one episode."""

    number: int
    length: int
    tasks: tuple[str, ...]
    data_file: Path
    clips: dict[str, Clip]
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LerobotFolder:
    """The metadata, parsed. `rows` reads an episode's table."""

    root: Path
    info: Info
    tasks: dict[int, str]
    episodes: tuple[EpisodeEntry, ...]
    stats: dict[str, dict[str, Any]] | None

    @property
    def version(self) -> str:
        return self.info.codebase_version

    @property
    def major(self) -> int:
        return 3 if self.version.startswith("v3") else 2

    @property
    def videos(self) -> list[str]:
        return [key for key, feature in self.info.features.items() if feature.is_video]

    def missing_files(self, entry: EpisodeEntry) -> list[Path]:
        return [file for file in (entry.data_file, *(c.file for c in entry.clips.values())) if not file.is_file()]

    def is_present(self, entry: EpisodeEntry) -> bool:
        """Whether any file of the episode is there; v2 sets name one file per episode, so none means left out."""
        return self.major == 3 or len(self.missing_files(entry)) < 1 + len(entry.clips)

    def rows(self, entry: EpisodeEntry) -> pa.Table:
        """The episode's rows, as stored. Raises `BadInput` that names the file."""
        table = self._table(entry.data_file)
        if self.major == 2:
            return table
        if "episode_index" not in table.column_names:
            raise BadInput(f"{entry.data_file} has no column 'episode_index'")
        return table.filter(pc.field("episode_index") == entry.number)

    @cached_property
    def _cached(self) -> dict[Path, pa.Table]:
        return {}

    def _table(self, file: Path) -> pa.Table:
        if file not in self._cached:
            self._cached.clear()  # episodes come in order, so one file is enough
            self._cached[file] = read_table(file)
        return self._cached[file]

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())


def is_lerobot(root: Path) -> bool:
    return (root / INFO).is_file()


def read(root: Path) -> LerobotFolder:
    """Raises `BadInput` when the metadata cannot be read or is of a version that is not known here."""
    info = read_info(root)
    if info.codebase_version.startswith("v3."):
        return read_v3(root, info)
    if info.codebase_version in ("v2.0", "v2.1"):
        return read_v2(root, info)
    raise BadInput(
        f"{root / INFO} says '{info.codebase_version}'; have: v2.0, v2.1, v3.x",
        "convert it with LeRobot's own tools",
    )


def read_info(root: Path) -> Info:
    file = root / INFO
    try:
        return Info.model_validate(read_json(file))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{file} does not describe a LeRobot dataset: {wrong}") from error


def read_v2(root: Path, info: Info) -> LerobotFolder:
    lines = list(read_lines(root / "meta/episodes.jsonl"))
    tasks = {int(line["task_index"]): str(line["task"]) for line in read_lines(root / "meta/tasks.jsonl")}
    stats_file = root / "meta/episodes_stats.jsonl"
    stats = (
        {line["episode_index"]: line["stats"] for line in read_lines(stats_file)} if stats_file.is_file() else {}
    )
    entries = []
    try:
        for line in sorted(lines, key=lambda line: line["episode_index"]):
            number, length = int(line["episode_index"]), int(line["length"])
            names = {"episode_chunk": number // info.chunks_size, "episode_index": number}
            clips = {
                key: Clip(
                    root / (info.video_path or "").format(video_key=key, **names), 0.0, length, info.fps, alone=True
                )
                for key, feature in info.features.items()
                if feature.is_video
            }
            entries.append(
                EpisodeEntry(
                    number=number,
                    length=length,
                    tasks=tuple(line["tasks"]),
                    data_file=root / info.data_path.format(**names),
                    clips=clips,
                    stats=stats.get(number, {}),
                )
            )
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{root / 'meta/episodes.jsonl'} lacks or misstates a key: {error!r}") from error
    return LerobotFolder(root, info, tasks, tuple(entries), read_stats(root))


def read_v3(root: Path, info: Info) -> LerobotFolder:
    files = sorted((root / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise BadInput(f"{root} has no meta/episodes/*/*.parquet")
    lines = [line for file in files for line in read_table(file).to_pylist()]
    videos = [key for key, feature in info.features.items() if feature.is_video]
    try:
        ordered = sorted(lines, key=lambda line: line["episode_index"])
        entries = tuple(v3_entry(root, info, videos, line) for line in ordered)
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{root / 'meta/episodes'} lacks or misstates a key: {error!r}") from error
    return LerobotFolder(root, info, read_v3_tasks(root), entries, read_stats(root))


def v3_entry(root: Path, info: Info, videos: list[str], line: dict[str, Any]) -> EpisodeEntry:
    def place(prefix: str) -> dict[str, int]:
        return {"chunk_index": line[f"{prefix}/chunk_index"], "file_index": line[f"{prefix}/file_index"]}

    clips = {
        key: Clip(
            file=root / (info.video_path or "").format(video_key=key, **place(f"videos/{key}")),
            start_s=float(line[f"videos/{key}/from_timestamp"]),
            count=int(line["length"]),
            rate_hz=info.fps,
            end_s=float(line[f"videos/{key}/to_timestamp"]),
        )
        for key in videos
    }
    stats: dict[str, dict[str, Any]] = {}
    for key, value in line.items():
        if key.startswith("stats/"):
            feature, _, name = key.removeprefix("stats/").rpartition("/")
            stats.setdefault(feature, {})[name] = value
    return EpisodeEntry(
        number=int(line["episode_index"]),
        length=int(line["length"]),
        tasks=tuple(line["tasks"]),
        data_file=root / info.data_path.format(**place("data")),
        clips=clips,
        stats=stats,
    )


def read_v3_tasks(root: Path) -> dict[int, str]:
    """The table's index (`task`, or pandas' own name for it) is the text."""
    file = root / TASKS
    table = read_table(file)
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise BadInput(f"{file} has columns {table.column_names}, not task_index and the text")
    numbers = table["task_index"].to_pylist()
    return {int(number): str(text) for number, text in zip(numbers, table[texts[0]].to_pylist(), strict=True)}


def read_stats(root: Path) -> dict[str, dict[str, Any]] | None:
    return read_json(root / STATS) if (root / STATS).is_file() else None


def read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield json.loads(line)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error


def read_table(file: Path) -> pa.Table:
    try:
        return pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"cannot read {file}: {error}", "tandem data repair") from error
