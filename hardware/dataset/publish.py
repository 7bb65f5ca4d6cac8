"""`tandem data publish`: an episode store in, a LeRobot dataset v3.0 that `lerobot-train` takes, out.

Besides state, action and pictures each row has `source` (0 policy, 1 human, 2 scripted, 3 twin), `success` (1, 0, −1
not judged; of the whole episode) and `measured_ns` (when its joint state was measured, from the first one on).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import tyro
from jaxtyping import UInt8
from numpy import ndarray
from rich.console import Console

from hardware.config import Config
from hardware.dataset.dataset_kind import new_dataset
from hardware.dataset.finding import write_json
from hardware.dataset.lerobot_episode import Written, describe, whole_fps, written
from hardware.dataset.lerobot_layout import Feature
from hardware.dataset.lerobot_writer import LerobotWriter, NewEpisode
from hardware.dataset.merge import refuse, store_differences
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.dataset.video import Encoder
from hardware.dataset.video_track import Pictures
from hardware.errors import BadInput
from hardware.progress import progress

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images"
NOT_JUDGED = -1


class PublishData(Config):
    """Writes the store's episodes as a LeRobot dataset v3.0. Pictures become video; all else is exact (float32)."""

    store: tyro.conf.Positional[Path]
    output: tyro.conf.Positional[Path]
    """A folder that does not exist yet."""
    episodes: tuple[int, ...] = ()
    """Their numbers; none: all."""
    outcome: Literal["all", "judged", "success"] = "all"
    """Which to take, by their success label."""
    gaps: Literal["keep", "skip"] = "keep"
    """Episodes in which a stream was older than its tolerance: take them (the last measurement stands in), or not."""
    robot_type: str | None = None
    """None: the name of the cell."""
    encoder: Encoder = Encoder()
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


class Published(Config):
    """What `publish` did; numbers are the store's."""

    written: Written
    episodes: tuple[int, ...]
    left_out: dict[int, str]
    frames_in_gaps: int


def run(config: PublishData) -> int:
    result = publish(config)
    console = Console()
    for number, why in result.left_out.items():
        console.print(f"[yellow]episode {number} is left out: {why}[/]")
    if result.frames_in_gaps:
        console.print(f"[yellow]{result.frames_in_gaps} frames lie in gaps; the last measurement stands in[/]")
    console.print(describe(result.written))
    write_json(config.json_file, result)
    return 0


def publish(config: PublishData) -> Published:
    """Raises `BadInput` when the episodes differ in joints, cameras or rate, or none is left."""
    store = EpisodeStore.open(config.store)
    chosen, left_out = choose(config, store)
    if not chosen:
        why = "; ".join(f"{number}: {why}" for number, why in left_out.items())
        raise BadInput(f"no episode of {config.store} can be published ({why or 'the store is empty'})")
    for other in chosen[1:]:
        refuse(store_differences(chosen[0], other), chosen[0].folder, other.folder)
    first = chosen[0].manifest
    fps = whole_fps(first.alignment.rate_hz, config.store)
    with new_dataset(config.output, config.store) as staged:
        writer = LerobotWriter(
            staged, fps, features(chosen[0]), config.robot_type or first.cell or None, config.encoder
        )
        with progress("encoding episodes", len(chosen)) as advance:
            for episode in chosen:
                writer.add(new_episode(episode))
                advance(f"episode {episode.number}")
        writer.close()
        result = written(writer, str(config.output))
    return Published(
        written=result,
        episodes=tuple(episode.number for episode in chosen),
        left_out=left_out,
        frames_in_gaps=sum(int(episode.index.late.any(1).sum()) for episode in chosen),
    )


def choose(config: PublishData, store: EpisodeStore) -> tuple[list[StoredEpisode], dict[int, str]]:
    """The episodes to take, and why the others are not."""
    all_of_them = store.episodes()
    wanted = [store.episode(number) for number in config.episodes] or all_of_them
    chosen, left_out = [], {}
    for episode in wanted:
        why = objection(config, episode)
        if why:
            left_out[episode.number] = why
        else:
            chosen.append(episode)
    return chosen, left_out


def objection(config: PublishData, episode: StoredEpisode) -> str:
    manifest = episode.manifest
    if manifest.state == "recording":
        return "it is not finished"
    if manifest.frames < 2:
        return f"it has {manifest.frames} frames"
    if config.outcome == "judged" and manifest.success is None:
        return "its success is not judged"
    if config.outcome == "success" and manifest.success is not True:
        return "it is no success"
    if config.gaps == "skip" and manifest.gaps:
        return f"{manifest.gaps[0].stream} has a gap of {manifest.gaps[0].worst_age_s:.3f} s"
    return ""


def features(episode: StoredEpisode) -> dict[str, Feature]:
    manifest = episode.manifest
    joints, actions = manifest.joint_names, manifest.action_names
    columns = {
        STATE: Feature(dtype="float32", shape=(len(joints),), names=list(joints)),
        ACTION: Feature(dtype="float32", shape=(len(actions),), names=list(actions)),
        **{name: Feature(dtype="int64", shape=(1,)) for name in ("source", "success", "measured_ns")},
    }
    for name, camera in episode.cameras.items():
        shape = (camera.size.height, camera.size.width, 3)
        columns[f"{IMAGES}.{name}"] = Feature(dtype="video", shape=shape, names=["height", "width", "channels"])
    return columns


def new_episode(episode: StoredEpisode) -> NewEpisode:
    index, manifest = episode.index, episode.manifest
    measured_ns = episode.streams.joint_ns[index.joint_row]
    success = NOT_JUDGED if manifest.success is None else int(manifest.success)
    return NewEpisode(
        tasks=(manifest.task,),
        columns={
            STATE: vectors(episode.q_rad[index.joint_row]),
            ACTION: vectors(episode.sent[index.sent_row]),
            "source": pa.array(index.source.astype(np.int64)),
            "success": pa.array(np.full(len(index), success, np.int64)),
            "measured_ns": pa.array(measured_ns - measured_ns[0]),
        },
        pictures={
            f"{IMAGES}.{name}": Pictures(len(index), lambda name=name: pictures(episode, name))
            for name in manifest.cameras
        },
        length=len(index),
    )


def pictures(episode: StoredEpisode, name: str) -> Iterator[UInt8[ndarray, "H W 3"]]:
    camera = episode.cameras[name]
    for row in episode.index.picture_row[:, episode.manifest.cameras.index(name)]:
        yield camera.picture(int(row))


def vectors(values: ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
