"""A finished episode of an environment in; an episode of a store out, as `tandem vla sft` and `rl expand` read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.dataset.frame_grid import Alignment
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.stored_episode import StoredEpisode
from hardware.episode import Source
from hardware.errors import TandemError
from hardware.messages import NANOSECONDS_PER_SECOND


@dataclass(eq=False)
class EpisodeLog:
    """One episode as it goes on: a row for each control step, before the action of that step."""

    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    rate_hz: float
    states: list[Float[ndarray, " S"]] = field(default_factory=list)
    actions: list[Float[ndarray, " D"]] = field(default_factory=list)
    pictures: list[Mapping[str, UInt8[ndarray, "H W 3"]]] = field(default_factory=list)
    """One for each `picture_stride` steps, from the first on."""
    picture_stride: int = 1

    def __len__(self) -> int:
        return len(self.actions)


def store_episode(
    log: EpisodeLog, store: Path, task: str, source: Source, success: bool | None, cameras: Sequence[str], cell: str
) -> StoredEpisode:
    """Appends it to the store, finished. Row i is stamped i / rate."""
    period_s = 1 / log.rate_hz
    alignment = Alignment(
        rate_hz=log.rate_hz,
        joint_tolerance_s=period_s,
        sent_tolerance_s=2 * period_s,
        picture_tolerance_s=log.picture_stride * period_s,
    )
    recording = Recording(
        store, task, cameras, log.state_names, log.action_names, cell, config=RecordingConfig(alignment=alignment)
    )
    for number in range(len(log)):
        stamp_ns = round((number + 1) * NANOSECONDS_PER_SECOND / log.rate_hz)
        taken = [recording.joint(stamp_ns, log.states[number].astype(np.float64))]
        taken.append(recording.sent(stamp_ns, log.actions[number].astype(np.float64), source))
        if number % log.picture_stride == 0:
            pictures = log.pictures[number // log.picture_stride] if cameras else {}
            taken += [recording.image(camera, stamp_ns, pictures[camera]) for camera in cameras]
        if not all(taken):
            recording.discard()
            raise TandemError(f"step {number} of an episode could not be stored", "see the recorder's words above")
        if cameras and number % 40 == 39:
            recording.flush()  # the queue holds a few seconds of pictures
    return recording.finish(success)
