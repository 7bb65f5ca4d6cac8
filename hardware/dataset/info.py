"""`tandem data info`: how much is in a store or a LeRobot dataset, who acted, and how it went."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hardware.config import Config
from hardware.dataset.dataset_kind import open_any
from hardware.dataset.finding import write_json
from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.lerobot_layout import LerobotFolder
from hardware.dataset.lerobot_writer import column_values
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import CAMERAS


class ShowDataInfo(Config):
    """Episodes, frames, sources, success, fps, cameras, size."""

    dataset: tyro.conf.Positional[Path]
    """An episode store, or a LeRobot dataset."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the figures here."""


class DataInfo(Config):
    """One dataset in figures. What it does not say is None."""

    path: str
    what: str
    episodes: int
    episodes_missing: int = 0
    unfinished: int = 0
    interrupted: int = 0
    frames: int
    duration_s: float
    fps: tuple[float, ...]
    cameras: dict[str, str]
    """Name → width×height."""
    joints: int
    tasks: tuple[str, ...]
    frames_by_source: dict[str, int] | None = None
    corrections: int | None = None
    """Spans in which a person acted."""
    success: dict[str, int] | None = None
    size_bytes: int


def run(config: ShowDataInfo) -> int:
    figures = info(config.dataset)
    show(figures, Console())
    write_json(config.json_file, figures)
    return 0


def info(path: Path) -> DataInfo:
    found = open_any(path)
    return of_store(found) if isinstance(found, EpisodeStore) else of_lerobot(found)


def of_store(store: EpisodeStore) -> DataInfo:
    episodes = store.episodes()
    frames: Counter[str] = Counter()
    success: Counter[str] = Counter()
    cameras: dict[str, str] = {}
    for episode in episodes:
        frames.update(SOURCES[code] for code in episode.index.source)
        success[{True: "yes", False: "no", None: "not judged"}[episode.manifest.success]] += 1
        for name, camera in episode.cameras.items():
            if episode.rows_of(f"{CAMERAS}/{name}"):
                cameras[name] = f"{camera.size.width}×{camera.size.height}"
    manifests = [episode.manifest for episode in episodes]
    return DataInfo(
        path=str(store.folder),
        what="Tandem store",
        episodes=len(episodes),
        unfinished=sum(manifest.state == "recording" for manifest in manifests),
        interrupted=sum(manifest.interrupted for manifest in manifests),
        frames=sum(map(len, episodes)),
        duration_s=sum(len(episode) / episode.manifest.alignment.rate_hz for episode in episodes),
        fps=tuple(sorted({manifest.alignment.rate_hz for manifest in manifests})),
        cameras=cameras,
        joints=max((len(manifest.joint_names) for manifest in manifests), default=0),
        tasks=tuple(sorted({manifest.task for manifest in manifests})),
        frames_by_source=dict(frames),
        corrections=sum(span.source == "human" for manifest in manifests for span in manifest.spans),
        success=dict(success),
        size_bytes=sum(episode.size_bytes for episode in episodes),
    )


def of_lerobot(folder: LerobotFolder) -> DataInfo:
    present = [entry for entry in folder.episodes if entry.data_file.is_file()]
    frames: Counter[str] = Counter()
    success: Counter[str] = Counter()
    corrections = 0
    labelled = "source" in folder.info.features and "success" in folder.info.features
    for entry in present if labelled else []:
        rows = folder.rows(entry)
        source = column_values(rows["source"]).ravel()
        frames.update(SOURCES[code] for code in source)
        human = (source == SOURCES.index("human")).astype(int)
        corrections += int((np.diff(human, prepend=0) == 1).sum())
        label = int(column_values(rows["success"]).ravel()[0])
        success[{1: "yes", 0: "no"}.get(label, "not judged")] += 1
    count = sum(entry.length for entry in present)
    return DataInfo(
        path=str(folder.root),
        what=f"LeRobot {folder.version}",
        episodes=len(present),
        episodes_missing=len(folder.episodes) - len(present),
        frames=count,
        duration_s=count / folder.info.fps,
        fps=(folder.info.fps,),
        cameras={key: f"{f.shape[1]}×{f.shape[0]}" for key, f in folder.info.features.items() if f.is_picture},
        joints=sum(f.shape[0] for key, f in folder.info.features.items() if key == "observation.state"),
        tasks=tuple(folder.tasks.values()),
        frames_by_source=dict(frames) if labelled else None,
        corrections=corrections if labelled else None,
        success=dict(success) if labelled else None,
        size_bytes=folder.size_bytes,
    )


def show(figures: DataInfo, console: Console) -> None:
    table = Table(title=figures.path, show_header=False, title_justify="left")
    missing = f" ({figures.episodes_missing} more are described but missing)" if figures.episodes_missing else ""
    broken_off = [f"{figures.unfinished} unfinished"] * bool(figures.unfinished)
    broken_off += [f"{figures.interrupted} interrupted"] * bool(figures.interrupted)
    table.add_row("kind", figures.what)
    table.add_row(
        "episodes", f"{figures.episodes}{missing}" + (f" ({', '.join(broken_off)})" if broken_off else "")
    )
    table.add_row(
        "frames", f"{figures.frames}, {figures.duration_s:.1f} s at {', '.join(f'{r:g}' for r in figures.fps)} Hz"
    )
    if figures.frames_by_source is not None:
        total = max(sum(figures.frames_by_source.values()), 1)
        shares = [f"{name} {100 * count / total:.0f} %" for name, count in figures.frames_by_source.items()]
        table.add_row("who acted", f"{', '.join(shares) or '-'}; {figures.corrections} corrections")
    if figures.success is not None:
        table.add_row("success", ", ".join(f"{name} {count}" for name, count in figures.success.items()) or "-")
    table.add_row("cameras", ", ".join(f"{name} {size}" for name, size in figures.cameras.items()) or "-")
    table.add_row("joints", str(figures.joints))
    table.add_row("tasks", "; ".join(figures.tasks[:5]) + (" …" if len(figures.tasks) > 5 else ""))
    table.add_row("size", f"{figures.size_bytes / 1e6:.1f} MB")
    console.print(table)
