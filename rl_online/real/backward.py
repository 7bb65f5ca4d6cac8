"""One episode of a guided run in which the robot undoes the task, so that it can be tried again. Light to import."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from hardware.announcement import Stage

LOOK_S, LOOK_AFTER_ARM_S = 0.1, 0.5


@runtime_checkable
class RunBackward(Protocol):
    """Runs one, for the episode that it prepares, until `is_over` or time is out. Afterwards the arm is idle."""

    def __call__(
        self, episode: int, by: Literal["policy", "scripted"], task: str, is_over: Callable[[], bool], /
    ) -> None: ...


@dataclass(frozen=True, eq=False)
class BackwardEpisode:
    """The stages are those of a forward one, under the same number: `running` and `judged` say who undoes."""

    reach: Callable[[Literal["inactive", "active"]], object]
    """Brings the arm into a state of its life cycle."""
    announce: Callable[[Stage, bool | None], object]
    closing: threading.Event
    longest_s: float

    def run(self, is_over: Callable[[], bool]) -> None:
        """Cut short by `closing`, it is kept without a label."""
        self.reach("active")
        self.announce("running", None)
        now_s = looked_s = time.monotonic()
        until_s, done = now_s + self.longest_s, False
        while not done and now_s < until_s and not self.closing.wait(LOOK_S):
            done, now_s = is_over(), time.monotonic()
            if now_s - looked_s > LOOK_AFTER_ARM_S:
                looked_s = now_s
                self.reach("active")  # it may have come back from a crash
        self.announce("judged", None if self.closing.is_set() else done)
        self.reach("inactive")
