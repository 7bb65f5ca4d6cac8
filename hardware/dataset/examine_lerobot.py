"""One episode of a LeRobot dataset in; what is wrong with its rows and films, and how much of it can be used, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray

from hardware.dataset import retag, video
from hardware.dataset.finding import Finding, Kind
from hardware.dataset.lerobot_layout import BOOKKEEPING, EpisodeEntry, Feature, LerobotFolder
from hardware.dataset.lerobot_writer import column_values
from hardware.dataset.video import Clip, VideoFacts
from hardware.errors import BadInput
from hardware.progress import progress

TIMESTAMP_TOLERANCE_S = 1e-4
"""LeRobot's own: a picture farther than this from its row's timestamp is refused when it is read."""
TYPES: dict[str, Callable[[pa.DataType], bool]] = {
    "float32": pa.types.is_floating,
    "float64": pa.types.is_floating,
    "int64": pa.types.is_integer,
    "int32": pa.types.is_integer,
    "bool": pa.types.is_boolean,
    "string": pa.types.is_string,
}


@dataclass
class Examined:
    """One episode looked at. `usable` rows are sound in every stream; 0: none of it can be kept."""

    entry: EpisodeEntry
    findings: list[Finding] = field(default_factory=list)
    usable: int = 0
    data_fps: float = 0.0
    video_fps: float = 0.0
    table: pa.Table | None = None
    clips: dict[str, Clip] = field(default_factory=dict)
    """Its films, where they can be decoded from: a file with a wrong tag is replaced by a copy with the right one."""

    def found(self, kind: Kind, where: Path | str, detail: str, *, warning: bool = False) -> None:
        severity = "warning" if warning else "error"
        self.findings.append(
            Finding(kind=kind, where=str(where), detail=detail, episode=self.entry.number, severity=severity)
        )

    @property
    def is_missing(self) -> bool:
        return any(finding.kind == "missing-episode" for finding in self.findings)


def examine_all(folder: LerobotFolder, scratch: Path, *, decode_all: bool) -> Iterator[Examined]:
    """`scratch` takes copies of films whose tag is wrong; keep it as long as the clips are used."""
    looker = Examiner(folder, scratch, decode_all=decode_all)
    with progress("checking episodes", len(folder.episodes)) as advance:
        for entry in folder.episodes:
            yield looker.examine(entry)
            advance("")


class Examiner:
    """Keeps the facts of the last video file, which v3 episodes share."""

    def __init__(self, folder: LerobotFolder, scratch: Path, *, decode_all: bool) -> None:
        self.folder, self.scratch, self.decode_all = folder, scratch, decode_all
        self._facts: dict[Path, VideoFacts] = {}
        self._retagged: dict[Path, Path] = {}

    def examine(self, entry: EpisodeEntry) -> Examined:
        one = Examined(entry)
        missing = self.folder.missing_files(entry)
        if len(missing) == 1 + len(entry.clips):
            one.found("missing-episode", "", "none of its files is there")
            return one
        for file in missing:
            one.found("missing-file", self._name(file), "is not there")
        rows = self._rows(one) if entry.data_file not in missing else None
        counts = [0 if rows is None else len(rows)]
        for key, clip in entry.clips.items():
            counts.append(self._clip(one, key, clip, rows) if clip.file not in missing else 0)
        one.usable = min(counts)
        one.table = rows
        if any(f.kind in ("missing-column", "wrong-type", "not-finite", "wrong-size") for f in one.findings):
            one.usable = 0
        return one

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.folder.root))

    def _rows(self, one: Examined) -> pa.Table | None:
        name, info = self._name(one.entry.data_file), self.folder.info
        try:
            rows = self.folder.rows(one.entry)
        except BadInput as error:
            one.found("broken-data", name, error.problem)
            return None
        if len(rows) != one.entry.length:
            one.found("wrong-length", name, f"{len(rows)} rows, the metadata says {one.entry.length}")
        for key, feature in info.features.items():
            if not feature.is_video:
                check_column(one, name, key, feature, rows)
        if "timestamp" in rows.column_names and len(rows):
            one.data_fps = check_timestamps(one, name, column_values(rows["timestamp"]).ravel(), info.fps)
        check_bookkeeping(one, name, rows, self.folder)
        return rows

    def _clip(self, one: Examined, key: str, clip: Clip, rows: pa.Table | None) -> int:
        """How many pictures of the clip are sound."""
        name = self._name(clip.file)
        try:
            clip = self._readable(one, name, clip)
            facts = self._probe(clip.file)
        except BadInput as error:
            one.found("broken-video", name, error.problem)
            return 0
        one.clips[key] = clip
        check_coding(one, name, self.folder.info.features[key], facts)
        times = shown(clip, facts)
        if len(times) == 0:
            one.found("truncated-video", name, f"none of its {one.entry.length} pictures is there")
            return 0
        check_video_times(one, name, times - (times[0] if clip.alone else clip.start_s), rows, clip.rate_hz)
        count = self._sound_pictures(clip, facts, times)
        if count < one.entry.length:
            said = f"{count} pictures can be decoded, the metadata says {one.entry.length}"
            one.found("truncated-video", name, said)
        elif clip.alone and len(facts) > one.entry.length:
            one.found("wrong-length", name, f"{len(facts)} pictures, the metadata says {one.entry.length}")
        return count

    def _readable(self, one: Examined, name: str, clip: Clip) -> Clip:
        """The clip in a copy with the right tag, if its own is wrong."""
        if clip.file not in self._retagged:
            self._retagged[clip.file] = retag.retagged(clip.file, self.scratch) or clip.file
        copy = self._retagged[clip.file]
        if copy != clip.file:
            one.found("wrong-codec-tag", name, "its four-letter tag names another codec than its configuration")
        return replace(clip, file=copy)

    def _probe(self, file: Path) -> VideoFacts:
        if file not in self._facts:
            self._facts.clear()
            self._facts[file] = video.probe(file)
        return self._facts[file]

    def _sound_pictures(self, clip: Clip, facts: VideoFacts, times: ndarray) -> int:
        """Decodes from the last keyframe on; if that falls short, or on demand, everything."""
        whole = replace(clip, count=min(clip.count, len(times)))
        if not self.decode_all and len(times) >= clip.count:
            last = np.flatnonzero(facts.keyframe & (facts.time_s <= times[-1] + 1e-9))
            start_s = float(facts.time_s[last[-1]]) if len(last) else 0.0
            tail = int(np.count_nonzero(times >= start_s - 1e-9))
            if video.decodable(Clip(clip.file, start_s, tail, facts.rate_hz or clip.rate_hz)) == tail:
                return len(times)
        return video.decodable(whole)


def shown(clip: Clip, facts: VideoFacts) -> Float[ndarray, " N"]:
    """Stamps of the pictures that the clip means."""
    if clip.alone:
        return facts.time_s[: clip.count]
    start_s, stop_s = clip.window_s
    return facts.time_s[(facts.time_s >= start_s) & (facts.time_s < stop_s)][: clip.count]


def check_column(one: Examined, name: str, key: str, feature: Feature, rows: pa.Table) -> None:
    if key not in rows.column_names:
        one.found("missing-column", name, f"no column '{key}'; have: {', '.join(rows.column_names)}")
        return
    if feature.dtype == "image":
        return
    column = rows[key]
    inner = column.type
    while pa.types.is_nested(inner) and inner.num_fields == 1:
        inner = inner.field(0).type
    is_right = TYPES.get(feature.dtype)
    if is_right is not None and not is_right(inner):
        one.found("wrong-type", name, f"'{key}' holds {inner}, the metadata says {feature.dtype}")
        return
    if not pa.types.is_floating(inner) or not len(rows):
        return
    values = column_values(column).reshape(len(rows), -1)
    width = int(np.prod(feature.shape))
    if values.shape[1] != width:
        one.found("wrong-type", name, f"'{key}' has {values.shape[1]} numbers a row, the metadata says {width}")
    elif not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        one.found("not-finite", name, f"'{key}' has a value that is not finite in row {row}")


def check_timestamps(one: Examined, name: str, stamps_s: Float[ndarray, " T"], fps: float) -> float:
    """The rate that the stamps show; findings where they leave k / fps."""
    steps = np.diff(stamps_s.astype(np.float64))
    rate = float(1 / np.median(steps)) if len(steps) and np.median(steps) > 0 else 0.0
    back = np.flatnonzero(steps <= 0)
    off = np.abs(stamps_s - np.arange(len(stamps_s)) / fps)
    if len(back):
        one.found("bad-timestamps", name, f"row {back[0] + 1} is not later than the row before it")
    elif rate and abs(rate / fps - 1) > 0.01:
        one.found("bad-timestamps", name, f"rows are 1/{rate:.4g} s apart, the metadata says {fps:g} fps")
    elif off.max() > TIMESTAMP_TOLERANCE_S:
        row = int(off.argmax())
        one.found("bad-timestamps", name, f"row {row} is {off[row]:.4g} s off k / fps")
    return rate


def check_bookkeeping(one: Examined, name: str, rows: pa.Table, folder: LerobotFolder) -> None:
    def column(key: str) -> ndarray | None:
        return column_values(rows[key]).ravel() if key in rows.column_names else None

    frames, episodes, index, tasks = map(column, BOOKKEEPING[1:])
    if frames is not None and not np.array_equal(frames, np.arange(len(frames))):
        one.found("bad-bookkeeping", name, "frame_index does not count 0, 1, 2, …")
    if episodes is not None and (episodes != one.entry.number).any():
        one.found("bad-bookkeeping", name, f"episode_index is not {one.entry.number} throughout")
    if index is not None and (np.diff(index) != 1).any():
        one.found("bad-bookkeeping", name, "index does not count up by one")
    if tasks is not None:
        unknown = sorted(set(tasks.tolist()) - set(folder.tasks))
        if unknown:
            one.found("unknown-task", name, f"task_index {unknown} is in no task table")


def check_coding(one: Examined, name: str, feature: Feature, facts: VideoFacts) -> None:
    info = feature.info or {}
    said = str(info.get("video.codec", "")).removeprefix("lib").replace("svtav1", "av1").replace("dav1d", "av1")
    if said and said != facts.codec:
        one.found("wrong-codec-tag", name, f"is coded as {facts.codec}, the metadata says {said}")
    if facts.codec in video.TAGS and facts.tag not in video.TAGS[facts.codec]:
        one.found("wrong-codec-tag", name, f"is coded as {facts.codec}, its own tag says '{facts.tag}'")
    sizes = {facts.height, facts.width}
    if not sizes <= set(feature.shape):
        one.found("wrong-size", name, f"is {facts.width}×{facts.height}, the metadata says {feature.shape}")


def check_video_times(
    one: Examined, name: str, times_s: Float[ndarray, " N"], rows: pa.Table | None, fps: float
) -> None:
    steps = np.diff(times_s)
    if not len(steps):
        return
    one.video_fps = float(1 / np.median(steps)) if np.median(steps) > 0 else 0.0
    if (steps <= 0).any():
        one.found("bad-timestamps", name, f"two pictures share the stamp {times_s[np.argmin(steps)]:.4f} s")
    elif one.video_fps and abs(one.video_fps / fps - 1) > 0.01:
        said = f"pictures are 1/{one.video_fps:.4g} s apart, the metadata says {fps:g} fps"
        one.found("bad-timestamps", name, said)
    if rows is None or "timestamp" not in rows.column_names:
        return
    stamps_s = column_values(rows["timestamp"]).ravel()[: len(times_s)].astype(np.float64)
    off = np.abs(times_s[: len(stamps_s)] - stamps_s)
    if len(off) and off.max() > TIMESTAMP_TOLERANCE_S:
        row = int(off.argmax())
        one.found("video-drift", name, f"picture {row} is {off[row]:.4g} s away from its row's timestamp")
