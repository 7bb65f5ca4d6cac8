"""A LeRobot dataset in; every file that is missing, cut off or at odds with the metadata out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hardware.dataset import stats as statistics
from hardware.dataset import video
from hardware.dataset.examine_lerobot import Examined, examine_all
from hardware.dataset.finding import CheckReport, Finding
from hardware.dataset.lerobot_layout import BOOKKEEPING, LerobotFolder
from hardware.dataset.lerobot_writer import column_values
from hardware.dataset.video import Clip

STATS_TOLERANCE = 1e-3
"""Relative to the column's spread; float32 sums over 10⁵ rows differ by less."""
PICTURE_STATS_TOLERANCE, COARSE_PICTURE_STATS_TOLERANCE = 0.02, 0.25
"""Of full scale, for the mean of an episode's pictures: from all that LeRobot samples, and from only a few of them."""
FEW_PICTURES = 4


def check(folder: LerobotFolder, *, decode_all: bool) -> CheckReport:
    """Looks at every episode; decodes the last pictures of each clip, or all."""
    with tempfile.TemporaryDirectory() as scratch:
        return report(
            folder, list(examine_all(folder, Path(scratch), decode_all=decode_all)), decode_all=decode_all
        )


def report(folder: LerobotFolder, examined: list[Examined], *, decode_all: bool) -> CheckReport:
    findings = [finding for one in examined for finding in one.findings]
    findings += unlisted(folder)
    present = [one for one in examined if not one.is_missing]
    findings += totals(folder, present)
    findings += check_stats(folder, [one for one in present if one.table is not None], decode_all=decode_all)
    return CheckReport(
        path=str(folder.root),
        what=f"LeRobot {folder.version}",
        episodes_described=max(len(folder.episodes), folder.info.total_episodes),
        episodes_present=len(present),
        frames_present=sum(one.entry.length for one in present),
        findings=tuple(findings),
    )


def unlisted(folder: LerobotFolder) -> list[Finding]:
    """Files that no episode names."""
    named = {entry.data_file for entry in folder.episodes}
    named |= {clip.file for entry in folder.episodes for clip in entry.clips.values()}
    found = [*folder.root.glob("data/**/*.parquet"), *folder.root.glob("videos/**/*.mp4")]
    return [
        Finding(
            kind="unlisted-file",
            where=str(file.relative_to(folder.root)),
            detail="no episode names it",
            severity="warning",
        )
        for file in sorted(found)
        if file not in named
    ]


def totals(folder: LerobotFolder, present: list[Examined]) -> list[Finding]:
    """What `info.json` counts against what the episodes' table counts."""
    info = folder.info
    pairs = {
        "total_episodes": (info.total_episodes, len(folder.episodes)),
        "total_frames": (info.total_frames, sum(entry.length for entry in folder.episodes)),
    }
    numbers = [entry.number for entry in folder.episodes]
    found = []
    if folder.major == 3 and numbers != list(range(len(numbers))):
        detail = "episodes are not numbered 0, 1, 2, …; LeRobot finds them by their place"
        found.append(Finding(kind="bad-bookkeeping", where="meta/episodes", detail=detail))
    return found + [
        Finding(
            kind="wrong-totals", where="meta/info.json", detail=f"{name} is {said}, the episodes add up to {sums}"
        )
        for name, (said, sums) in pairs.items()
        if said != sums
    ]


def check_stats(folder: LerobotFolder, present: list[Examined], *, decode_all: bool) -> list[Finding]:
    """Each present episode's stated statistics against its rows; the whole set's too, when the whole set is there."""
    findings: list[Finding] = []
    tolerance = PICTURE_STATS_TOLERANCE if decode_all else COARSE_PICTURE_STATS_TOLERANCE
    per_key: dict[str, list[statistics.Stats]] = {}
    for one in present:
        for key, computed in computed_stats(folder, one, decode_all=decode_all).items():
            per_key.setdefault(key, []).append(computed)
            stated = one.entry.stats.get(key)
            if stated and (wrong := difference(stated, computed, tolerance)):
                detail = f"{key}: {wrong}"
                findings.append(
                    Finding(kind="wrong-stats", where="its statistics", detail=detail, episode=one.entry.number)
                )
    if folder.stats is None:
        if folder.major == 3:
            findings.append(Finding(kind="missing-stats", where="meta/stats.json", detail="is not there"))
        return findings
    if len(present) == len(folder.episodes):
        for key, episodes in per_key.items():
            wrong = difference(folder.stats.get(key, {}), statistics.combined(episodes), tolerance)
            if wrong:
                findings.append(Finding(kind="wrong-stats", where="meta/stats.json", detail=f"{key}: {wrong}"))
    return findings


def computed_stats(folder: LerobotFolder, one: Examined, *, decode_all: bool) -> dict[str, statistics.Stats]:
    """Of every column of numbers, and of the pictures of every sound clip (a few, unless all are decoded anyway)."""
    computed: dict[str, statistics.Stats] = {}
    assert one.table is not None
    for key, feature in folder.info.features.items():
        if feature.is_picture or key in BOOKKEEPING or feature.dtype == "string" or not len(one.table):
            continue
        if key in one.table.column_names:
            values = column_values(one.table[key])
            if values.dtype.kind in "fiub" and np.isfinite(values.astype(np.float64)).all():
                computed[key] = statistics.of_column(values.astype(np.float64))
    if one.usable == one.entry.length:
        for key, clip in one.clips.items():
            wanted = np.linspace(0, clip.count - 1, min(FEW_PICTURES, clip.count)).astype(int)
            pictures = list(
                statistics.sampled(video.decode(clip), clip.count)
                if decode_all
                else (rgb for at in wanted for rgb in video.decode(single(clip, int(at))))
            )
            if pictures:
                computed[key] = statistics.of_pictures(pictures)
    return computed


def single(clip: Clip, number: int) -> Clip:
    """One picture of a clip whose stamps are sound."""
    return Clip(clip.file, clip.start_s + number / clip.rate_hz, 1, clip.rate_hz)


def difference(stated: dict[str, object], computed: statistics.Stats, picture_tolerance: float) -> str:
    """What is wrong with the stated statistics, or ""."""
    is_picture = computed["mean"].ndim == 3
    for name in ("mean",) if is_picture else ("min", "max", "mean", "std"):
        if name not in stated:
            return f"no {name}"
        value, wanted = np.array(stated[name], np.float64).ravel(), computed[name].ravel()
        if value.shape != wanted.shape:
            return f"{name} has {value.size} numbers, not {wanted.size}"
        spread = 1.0 if is_picture else np.maximum(computed["max"] - computed["min"], 1e-6).ravel()
        tolerance = picture_tolerance if is_picture else STATS_TOLERANCE
        off = np.abs(value - wanted) / spread
        if not (off <= tolerance).all():
            at = int(np.nanargmax(np.where(np.isfinite(off), off, np.inf)))
            return f"{name}[{at}] is {value[at]:.6g}, the data give {wanted[at]:.6g}"
    return ""
