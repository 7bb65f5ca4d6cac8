"""`tandem data merge`: several datasets (or several stores) with the same features in, one out; others are refused."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from hardware.config import Config
from hardware.dataset import lerobot_episode
from hardware.dataset.convert import refuse_damaged
from hardware.dataset.dataset_kind import new_dataset, open_any
from hardware.dataset.episode_copy import copy_episode
from hardware.dataset.examine_lerobot import examine_all
from hardware.dataset.finding import write_json
from hardware.dataset.lerobot_episode import Written, describe, new_episode, whole_fps
from hardware.dataset.lerobot_layout import LerobotFolder
from hardware.dataset.lerobot_writer import LerobotWriter
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.dataset.video import Encoder
from hardware.errors import BadInput
from hardware.progress import progress


class MergeData(Config):
    """Joins datasets of one kind. Episodes are numbered anew, in the order of the sources."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more: all stores, or all LeRobot datasets."""
    output: Path
    """A folder that does not exist yet."""
    encoder: Encoder = Encoder()
    """Only for clips that cannot be copied."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


def run(config: MergeData) -> int:
    result = merge(config.sources, config.output, config.encoder)
    Console().print(describe(result))
    write_json(config.json_file, result)
    return 0


def merge(sources: Sequence[Path], output: Path, encoder: Encoder) -> Written:
    """Raises `BadInput` that names every difference between the first source and the others."""
    if len(sources) < 2:
        raise BadInput("merge needs two or more sources", "tandem data merge A B --output C")
    opened = [open_any(source) for source in sources]
    folders = [one for one in opened if isinstance(one, LerobotFolder)]
    stores = [one for one in opened if isinstance(one, EpisodeStore)]
    if folders and stores:
        raise BadInput("stores and LeRobot datasets do not mix", "tandem data publish turns a store into the other")
    if stores:
        return merge_stores(stores, output)
    return merge_folders(folders, output, encoder)


def merge_folders(folders: list[LerobotFolder], output: Path, encoder: Encoder) -> Written:
    for other in folders[1:]:
        refuse(lerobot_episode.differences(folders[0], other), folders[0].root, other.root)
    first = folders[0].info
    with (
        new_dataset(output, *(folder.root for folder in folders)) as staged,
        tempfile.TemporaryDirectory() as scratch,
    ):
        writer = LerobotWriter(staged, whole_fps(first.fps, output), first.features, first.robot_type, encoder)
        for folder in folders:
            examined = examine_all(folder, Path(scratch), decode_all=False)
            present = [one for one in examined if not one.is_missing]
            refuse_damaged(present)
            with progress(f"taking over {folder.root.name}", len(present)) as advance:
                for one in present:
                    writer.add(new_episode(folder, one.entry, one.clips, one.usable))
                    advance("")
        writer.close()
        return lerobot_episode.written(writer, str(output))


def merge_stores(stores: list[EpisodeStore], output: Path) -> Written:
    episodes = [episode for store in stores for episode in store.episodes()]
    if not episodes:
        raise BadInput("none of the stores has an episode")
    for other in episodes[1:]:
        refuse(store_differences(episodes[0], other), episodes[0].folder, other.folder)
    with new_dataset(output, *(store.folder for store in stores)) as staged:
        target = EpisodeStore.create(staged)
        with progress("copying episodes", len(episodes)) as advance:
            frames = 0
            for episode in episodes:
                frames += len(copy_episode(episode, target))
                advance("")
    return Written(output=str(output), episodes=len(episodes), frames=frames)


def refuse(found: list[str], one: Path, other: Path) -> None:
    if found:
        raise BadInput(f"{one} and {other} cannot be joined. {'; '.join(found)}")


def store_differences(one: StoredEpisode, other: StoredEpisode) -> list[str]:
    """Why episodes cannot be in one set; empty when they can."""
    found = []
    for name in ("joint_names", "action_names", "cameras"):
        a, b = getattr(one.manifest, name), getattr(other.manifest, name)
        if a != b:
            found.append(f"{name}: {', '.join(a)} and {', '.join(b)}")
    rates = one.manifest.alignment.rate_hz, other.manifest.alignment.rate_hz
    if rates[0] != rates[1]:
        found.append(f"rate_hz: {rates[0]:g} and {rates[1]:g}")
    for camera in sorted(set(one.manifest.cameras) & set(other.manifest.cameras)):
        sizes = [episode.cameras[camera].size for episode in (one, other) if episode.rows_of(f"cameras/{camera}")]
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            found.append(
                f"camera {camera}: {sizes[0].width}×{sizes[0].height} and {sizes[1].width}×{sizes[1].height}"
            )
    return found
