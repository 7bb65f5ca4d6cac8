"""All frames of a store, for training: any batch of indices in, arrays with decoded pictures out.

Numbers lie in memory; pictures are decoded from mapped files by a few threads (OpenCV lets go of Python's lock).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hardware.dataset.merge import refuse, store_differences
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput

MOST_THREADS = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Frames in the order that was asked for."""

    episode: Int[ndarray, " B"]
    """The episode's number in the store."""
    frame: Int[ndarray, " B"]
    stamp_ns: Int[ndarray, " B"]
    q_rad: Float[ndarray, "B J"]
    actions: Float[ndarray, "B T D"]
    """This frame's and the next ones' actions; the last of the episode is repeated where it ends."""
    is_pad: Bool[ndarray, "B T"]
    """Where an action is such a repetition."""
    source: UInt8[ndarray, " B"]
    """Place in `frame_grid.SOURCES`."""
    images: dict[str, UInt8[ndarray, "B H W 3"]]
    """Per camera."""


class Frames:
    """Every frame of the chosen episodes, end to end. Safe to use from several threads.

    Raises `BadInput` when episodes differ in joints, cameras or rate.
    """

    def __init__(
        self, store: EpisodeStore | Path, episodes: Sequence[int] | None = None, threads: int | None = None
    ) -> None:
        opened = store if isinstance(store, EpisodeStore) else EpisodeStore.open(store)
        chosen = opened.finished() if episodes is None else [opened.episode(number) for number in episodes]
        self.episodes: list[StoredEpisode] = [episode for episode in chosen if len(episode)]
        if not self.episodes:
            raise BadInput(f"{opened.folder} has no finished episode with a frame")
        for other in self.episodes[1:]:
            refuse(store_differences(self.episodes[0], other), self.episodes[0].folder, other.folder)
        self.cameras = self.episodes[0].manifest.cameras
        self._ends = np.cumsum([len(episode) for episode in self.episodes])
        self._load_numbers()
        count = threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="decode")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _load_numbers(self) -> None:
        pairs = [(episode, episode.index) for episode in self.episodes]
        self._q = np.concatenate([episode.q_rad[index.joint_row] for episode, index in pairs])
        self._actions = np.concatenate([episode.sent[index.sent_row] for episode, index in pairs])
        self._stamp = np.concatenate([index.stamp_ns for _, index in pairs])
        self._source = np.concatenate([index.source for _, index in pairs])
        self._picture = np.concatenate([index.picture_row for _, index in pairs])

    def batch(
        self, indices: Sequence[int] | Int[ndarray, " B"], cameras: Sequence[str] | None = None, horizon: int = 1
    ) -> Batch:
        """`cameras` None: all. Raises `IndexError` for an index outside, `BadInput` for a damaged picture."""
        rows = np.asarray(indices, np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"frames are 0 … {len(self) - 1}, got {rows.min()} … {rows.max()}")
        which = np.searchsorted(self._ends, rows, side="right")
        ahead = rows[:, None] + np.arange(horizon)
        last = self._ends[which][:, None] - 1
        starts = self._ends - [len(episode) for episode in self.episodes]
        return Batch(
            episode=np.array([self.episodes[place].number for place in which], np.int64),
            frame=rows - starts[which],
            stamp_ns=self._stamp[rows],
            q_rad=self._q[rows],
            actions=self._actions[np.minimum(ahead, last)],
            is_pad=ahead > last,
            source=self._source[rows],
            images=self._images(rows, which, self.cameras if cameras is None else cameras),
        )

    def _images(self, rows: ndarray, which: ndarray, cameras: Sequence[str]) -> dict[str, ndarray]:
        images = {}
        jobs: list[tuple[str, int]] = []
        for name in cameras:
            size = self.episodes[0].cameras[name].size
            images[name] = np.empty((len(rows), size.height, size.width, 3), np.uint8)
            jobs += [(name, place) for place in range(len(rows))]

        def decode(job: tuple[str, int]) -> None:
            name, place = job
            row = self._picture[rows[place], self.cameras.index(name)]
            images[name][place] = self.episodes[which[place]].cameras[name].picture(int(row))

        list(self._pool.map(decode, jobs))
        return images
