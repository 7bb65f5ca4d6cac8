"""One episode of a LeRobot dataset as the writer of another takes it; and what two datasets must share to be joined."""

from __future__ import annotations

from dataclasses import replace

from hardware.config import Config
from hardware.dataset.lerobot_layout import BOOKKEEPING, EpisodeEntry, LerobotFolder
from hardware.dataset.lerobot_writer import LerobotWriter, NewEpisode, column_values
from hardware.dataset.video import Clip
from hardware.errors import BadInput


class Written(Config):
    """What a command wrote, and how the pictures came over."""

    output: str
    episodes: int
    frames: int
    pictures_copied: int = 0
    """Bit for bit, packet by packet."""
    pictures_encoded: int = 0
    pictures_encoded_again: int = 0
    worst_psnr_db: float | None = None
    """Of the pictures that had to be decoded and encoded again."""


def written(writer: LerobotWriter, output: str) -> Written:
    taken = writer.taken
    return Written(
        output=output,
        episodes=writer.episodes,
        frames=writer.frames,
        pictures_copied=taken.copied,
        pictures_encoded=taken.encoded,
        pictures_encoded_again=taken.encoded_again,
        worst_psnr_db=min(taken.psnr_db, default=None),
    )


def describe(result: Written) -> str:
    parts = [f"{result.output}: {result.episodes} episodes, {result.frames} frames"]
    if result.pictures_copied:
        parts.append(f"{result.pictures_copied} pictures copied bit for bit")
    if result.pictures_encoded:
        parts.append(f"{result.pictures_encoded} pictures encoded")
    if result.pictures_encoded_again:
        parts.append(f"{result.pictures_encoded_again} encoded again (worst {result.worst_psnr_db:.1f} dB)")
    return ", ".join(parts)


def new_episode(folder: LerobotFolder, entry: EpisodeEntry, clips: dict[str, Clip], count: int) -> NewEpisode:
    """The first `count` rows and pictures of an episode. Columns are passed on as they are stored."""
    rows = folder.rows(entry).slice(0, count)
    features = folder.info.features
    keys = [key for key, feature in features.items() if not feature.is_video and key not in BOOKKEEPING]
    missing = [key for key in keys if key not in rows.column_names]
    if missing:
        raise BadInput(f"{entry.data_file} lacks {', '.join(missing)}", "tandem data repair")
    own = entry.tasks[0] if entry.tasks else ""
    texts = (own,) * count
    if "task_index" in rows.column_names:
        texts = tuple(folder.tasks.get(int(n), own) for n in column_values(rows["task_index"]).ravel())
    return NewEpisode(
        tasks=entry.tasks or (own,),
        columns={key: rows[key] for key in keys},
        pictures={key: replace(clip, count=count) for key, clip in clips.items()},
        length=count,
        task_of_row=texts,
    )


def whole_fps(fps: float, where: object) -> int:
    """LeRobot v3 has whole frames per second only."""
    if fps != round(fps):
        raise BadInput(f"{where} has {fps} frames per second; a LeRobot v3 dataset needs a whole number")
    return round(fps)


def differences(one: LerobotFolder, other: LerobotFolder) -> list[str]:
    """Why two datasets cannot be joined; empty when they can."""
    found = []
    if one.info.fps != other.info.fps:
        found.append(f"fps: {one.info.fps:g} and {other.info.fps:g}")
    if one.info.robot_type != other.info.robot_type:
        found.append(f"robot_type: {one.info.robot_type} and {other.info.robot_type}")
    mine, theirs = one.info.features, other.info.features
    for key in sorted(set(mine) ^ set(theirs)):
        found.append(f"'{key}' is only in {(one if key in mine else other).root}")
    for key in sorted(set(mine) & set(theirs)):
        for name in ("dtype", "shape", "flat_names"):
            a, b = getattr(mine[key], name), getattr(theirs[key], name)
            if a != b and not (name == "flat_names" and mine[key].is_picture):
                found.append(f"'{key}' {name.removeprefix('flat_')}: {a} and {b}")
    return found
