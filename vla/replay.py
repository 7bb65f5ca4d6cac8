"""A recorded run as a policy: each session gets the recording's next actions, by the time since its first question.

For trying a cell and its timing without a network. The file is a `.npz` without pickle: `actions` [T, D],
`action_names` [D], `rate_hz`, `space`.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware import artefact
from hardware.episode import Episode
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND, ActionSpace
from vla import exchange

HORIZON_STEPS = 50
"""The most rows of one answer; a recording that is shorter is answered whole."""


@dataclass(frozen=True, eq=False)
class Recording:
    actions: Float[ndarray, "T D"]
    action_names: tuple[str, ...]
    rate_hz: float
    space: ActionSpace = "joint_pos_rad"

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or not self.actions.size or self.actions.shape[1] != len(self.action_names):
            raise ValueError(f"actions of shape {self.actions.shape} for {len(self.action_names)} names")
        if not np.isfinite(self.actions).all() or not 0 < self.rate_hz < 10_000:
            raise ValueError("actions and rate_hz must be finite, and rate_hz positive")
        if self.space not in get_args(ActionSpace):
            raise ValueError(f"no action space '{self.space}'; have: {', '.join(get_args(ActionSpace))}")


def write(file: Path, recording: Recording) -> None:
    with artefact.staged_file(file) as staged, staged.open("wb") as out:
        np.savez(
            out,
            actions=recording.actions,
            action_names=np.array(recording.action_names),
            rate_hz=recording.rate_hz,
            space=recording.space,
        )


def read(file: Path) -> Recording:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return Recording(
                actions=stored["actions"].astype(float),
                action_names=tuple(map(str, stored["action_names"])),
                rate_hz=float(stored["rate_hz"]),
                space=cast(ActionSpace, str(stored["space"])),
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{file} is not a recording to replay: {error}",
            "an .npz with actions [T, D], action_names [D], rate_hz and space",
        ) from error


def of_episode(episode: Episode, action_names: tuple[str, ...]) -> Recording:
    """What was really sent in an episode, whoever chose it. Raises `BadInput` on fewer than two frames."""
    if len(episode) < 2:
        raise BadInput(f"an episode of {len(episode)} frames has no rate to replay at")
    actions = np.array([frame.action for frame in episode.frames], float)
    return Recording(actions, action_names, rate_hz=(len(episode) - 1) / episode.duration_s)


class Replay:
    """One session, from its first question on. The clock is the observations' where they have stamps."""

    def __init__(self, recording: Recording, horizon_steps: int = HORIZON_STEPS) -> None:
        self._recording = recording
        self._horizon_steps = min(horizon_steps, len(recording.actions))
        self._began_ns: int | None = None

    @property
    def metadata(self) -> Mapping[str, object]:
        recording = self._recording
        facts = exchange.Facts(recording.action_names, recording.rate_hz, self._horizon_steps, recording.space)
        return facts.metadata()

    def session(self) -> Replay:
        return Replay(self._recording, self._horizon_steps)

    def infer(self, observation: dict) -> dict:
        """Rows from now on; after the end the last one, so that the arm stays there."""
        now_ns = observation.get(exchange.STAMP)
        if not isinstance(now_ns, int):
            now_ns = time.monotonic_ns()
        if self._began_ns is None or now_ns < self._began_ns:
            self._began_ns = now_ns
        elapsed_s = (now_ns - self._began_ns) / NANOSECONDS_PER_SECOND
        # Counted in Python's integers, which have no largest: a stamp may be anything.
        first = int(elapsed_s * self._recording.rate_hz + 1e-6)
        last = len(self._recording.actions) - 1
        rows = [min(first + step, last) for step in range(self._horizon_steps)]
        return {exchange.ACTIONS: self._recording.actions[rows], "done": first > last}


def open_replay(file: Path) -> Replay:
    return Replay(read(file))
