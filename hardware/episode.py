"""One episode: frames in time order, each labelled with who acted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal, get_args

from jaxtyping import Float
from numpy import ndarray

from hardware.messages import Observation

Source = Literal["policy", "human", "scripted", "twin"]
"""Who chose the action. `scripted` stands in for a person or a planner and is never called human."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What was seen, and the action that was *really sent* (after the limits)."""

    observation: Observation
    action: Float[ndarray, " D"]
    source: Source
    reward: float = 0.0
    terminated: bool = False

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise ValueError(f"no source '{self.source}'; have: {', '.join(get_args(Source))}")


@dataclass(frozen=True)
class Span:
    """Frames `start` (included) to `stop` (excluded) that one source acted."""

    start: int
    stop: int
    source: Source


@dataclass(frozen=True, eq=False)
class Episode:
    """Whole and unbroken: corrections by a person are spans inside it, not cuts."""

    task: str
    frames: Sequence[Frame]
    success: bool | None = None
    """None: not judged."""

    def __post_init__(self) -> None:
        for before, after in pairwise(self.frames):
            if after.observation.stamp_ns <= before.observation.stamp_ns:
                raise ValueError(
                    f"stamps must increase: {before.observation.stamp_ns} ns is followed by "
                    f"{after.observation.stamp_ns} ns"
                )
            if after.observation.joint_names != before.observation.joint_names:
                raise ValueError(f"joint names change within the episode: {after.observation.joint_names}")
            if after.action.shape != before.action.shape:
                raise ValueError(f"the action changes shape: {before.action.shape} → {after.action.shape}")
            if before.terminated:
                raise ValueError("a frame follows one that terminated the episode")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def duration_s(self) -> float:
        if not self.frames:
            return 0.0
        return (self.frames[-1].observation.stamp_ns - self.frames[0].observation.stamp_ns) * 1e-9

    def spans(self) -> list[Span]:
        """The episode as runs of one source; they tile it without gap or overlap."""
        spans: list[Span] = []
        for _, run in groupby(self.frames, key=lambda frame: frame.source):
            frames = list(run)
            start = spans[-1].stop if spans else 0
            spans.append(Span(start, start + len(frames), frames[0].source))
        return spans
