"""Our episode store as demonstrations: whole episodes that did not fail. One that nobody judged counts; one that a kill
cut off does not, for its end is no end of the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.page.silhouette import standing
from vla.demonstrations import Demonstration, Layout

STORE_FILE = "zarr.json"


def is_store(folder: Path) -> bool:
    return (folder / STORE_FILE).is_file()


class StoreDemonstrations:
    """Each episode's frames at its fixed rate, as the store's own index has them."""

    def __init__(self, name: str, layout: Layout, episodes: Sequence[StoredEpisode]) -> None:
        self.name, self.layout, self._episodes = name, layout, episodes

    @classmethod
    def open(cls, folder: Path, name: str) -> StoreDemonstrations:
        """Raises `BadInput` when no episode can be learned from, or the episodes differ in their columns."""
        finished = EpisodeStore.open(folder).finished()
        good = [episode for episode in finished if shows_the_task(episode)]
        if not good:
            raise BadInput(f"{folder} has {len(finished)} finished episodes: all failed, were cut off or are empty")
        layout = layout_of(good[0])
        for episode in good[1:]:
            if layout_of(episode) != layout:
                raise BadInput(
                    f"episode {episode.number} of {folder} has other columns than episode {good[0].number}"
                )
        return cls(name, layout, good)

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, episode: int, /) -> Demonstration:
        stored = self._episodes[episode]
        seen = stored.manifest.object_seen
        return Demonstration(
            instruction=stored.manifest.task,
            state=stored.q_rad[stored.index.joint_row].astype(np.float32),
            actions=stored.sent[stored.index.sent_row].astype(np.float32),
            pictures=lambda camera: pictures(stored, camera),
            T_base_object=None if seen is None else standing(seen, seen.z_m),
        )


def shows_the_task(episode: StoredEpisode) -> bool:
    manifest = episode.manifest
    return manifest.success is not False and not manifest.interrupted and len(episode) > 0


def layout_of(episode: StoredEpisode) -> Layout:
    manifest = episode.manifest
    return Layout(
        cameras=manifest.cameras,
        state_names=manifest.joint_names,
        action_names=manifest.action_names,
        rate_hz=manifest.alignment.rate_hz,
    )


def pictures(episode: StoredEpisode, camera: str) -> UInt8[ndarray, "T H W 3"]:
    if camera not in episode.cameras:
        raise BadInput(f"no camera '{camera}' in episode {episode.number}; have: {', '.join(episode.cameras)}")
    rows = episode.index.picture_row[:, episode.manifest.cameras.index(camera)]
    return np.stack([episode.cameras[camera].picture(int(row)) for row in rows])
