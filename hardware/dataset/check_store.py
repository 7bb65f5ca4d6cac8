"""An episode store in; every episode that was cut off, changed since it was finished, or has damaged pictures, out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardware.dataset.column import METADATA
from hardware.dataset.finding import CheckReport, Finding, Kind, ranges
from hardware.dataset.frame_grid import FrameIndex, align, spans_of
from hardware.dataset.store import EpisodeStore, checksums
from hardware.dataset.stored_episode import CAMERAS, StoredEpisode, locked
from hardware.errors import BadInput
from hardware.progress import progress


@dataclass
class ExaminedEpisode:
    """One episode looked at. `broken` pictures by camera; `readable`: its numbers are as they were written."""

    folder: Path
    episode: StoredEpisode | None = None
    findings: list[Finding] = field(default_factory=list)
    broken: dict[str, set[int]] = field(default_factory=dict)
    readable: bool = False
    frames: int = 0

    def found(self, kind: Kind, detail: str, where: str = "", *, warning: bool = False) -> None:
        severity = "warning" if warning else "error"
        number = int(self.folder.name)
        self.findings.append(Finding(kind=kind, where=where, detail=detail, episode=number, severity=severity))


def check(store: EpisodeStore, *, decode_all: bool) -> CheckReport:
    """Compares every checksum; with `decode_all` also decodes every picture."""
    examined = examine_all(store, decode_all=decode_all)
    return CheckReport(
        path=str(store.folder),
        what="Tandem store",
        episodes_described=len(examined),
        episodes_present=sum(one.readable for one in examined),
        frames_present=sum(one.frames for one in examined),
        findings=tuple(finding for one in examined for finding in one.findings),
    )


def examine_all(store: EpisodeStore, *, decode_all: bool) -> list[ExaminedEpisode]:
    examined = []
    with progress("checking episodes", len(store.folders())) as advance:
        for folder in store.folders():
            examined.append(examine(folder, decode_all=decode_all))
            advance("")
    return examined


def examine(folder: Path, *, decode_all: bool) -> ExaminedEpisode:
    one = ExaminedEpisode(folder)
    with locked(folder) as mine:
        is_live = not mine
    if not (folder / METADATA).is_file():
        if not is_live:
            one.found("interrupted", "was begun and holds nothing acknowledged", warning=True)
        return one
    episode = StoredEpisode(folder)
    try:
        if episode.manifest.state == "recording" and not is_live:
            one.found("interrupted", f"its recorder died; {len(episode)} frames are readable", warning=True)
        one.frames = len(episode)
        compare(one, episode)
        for camera in episode.manifest.cameras:
            look_at_pictures(one, episode, camera, decode_all=decode_all)
        one.readable = not any(finding.kind == "wrong-checksum" for finding in one.findings)
    except BadInput as error:
        one.found("broken-episode", error.problem)
        return one
    one.episode = episode
    return one


def compare(one: ExaminedEpisode, episode: StoredEpisode) -> None:
    """A finished episode with what it was when it was finished."""
    manifest = episode.manifest
    for name, number in manifest.lost.items():
        one.found("lost", f"the recorder could not take {number} of {name}", warning=True)
    for gap in manifest.gaps:
        frames = f"frames {gap.start}…{gap.stop - 1}"
        one.found("gap", f"{gap.stream} up to {gap.worst_age_s:.3f} s old in {frames}", warning=True)
    if manifest.state == "recording":
        return
    now = checksums(episode)
    for name in sorted(set(now) | set(manifest.checksums)):
        if now.get(name) != manifest.checksums.get(name):
            one.found("wrong-checksum", "is not what was written", name)
    fresh, index = align(manifest.alignment, episode.streams), episode.index
    same = all(np.array_equal(getattr(fresh, n), getattr(index, n)) for n in FrameIndex.__dataclass_fields__)
    if not same or spans_of(index.source) != manifest.spans:
        one.found("wrong-frames", "the stored frames do not follow from the stamps", "frames")


def look_at_pictures(one: ExaminedEpisode, episode: StoredEpisode, name: str, *, decode_all: bool) -> None:
    camera, broken = episode.cameras[name], set()
    for row in range(episode.rows_of(f"{CAMERAS}/{name}")):
        try:
            if not camera.intact(row):
                broken.add(row)
            elif decode_all:
                camera.picture(row)
        except BadInput:
            broken.add(row)
    if broken:
        one.broken[name] = broken
        one.found("broken-picture", f"{len(broken)} pictures are not what was written: {ranges(broken)}", name)
