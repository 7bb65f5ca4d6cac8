"""Runs episodes: reset, record and run, judge, stop; without ROS.

Paced by the clock, one episode follows another and the referee ends it. Paced by a person, each begins when they ask
for it and ends with their verdict; between episodes they may move the arm. Results go to `episodes.jsonl` of the run
folder, one line each; after a crash it goes on behind the last line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from hardware import announcement
from hardware.announcement import EpisodeResult, Stage
from hardware.episode_request import VERDICTS, Requests, What
from hardware.referee import Referee

JUDGE_S = 0.05
LONGEST_PERSON_S = 600.0
LOOK_AFTER_ARM_S = 0.5


@runtime_checkable
class Announce(Protocol):
    """Tells everybody the stage, and returns when (monotonic ns)."""

    def __call__(
        self, stage: Stage, episode: int, success: bool | None = None, discarded: bool = False, /
    ) -> int: ...


@dataclass(frozen=True, eq=False)
class Conductor:
    run: Path
    episodes: int
    """0: until `closing`."""
    seed: int
    """Of the first episode's start."""
    by_person: bool
    episode_s: float
    """The longest that an episode lasts which no person paces."""
    referee: Referee
    requests: Requests
    reach: Callable[[Literal["inactive", "active"]], object]
    """Brings the arm into a state of its life cycle."""
    announce: Announce
    closing: threading.Event

    def run_all(self) -> None:
        done = len(announcement.results(self.run))
        while not self.closing.is_set() and (self.episodes == 0 or done < self.episodes):
            asked = self._asked(done) if self.by_person else "start"
            if asked is None:
                break
            if asked == "start" and (result := self._episode(done)) is not None:
                announcement.add_result(self.run, result)
            done += 1
        self.announce("finished", done)

    def _episode(self, episode: int) -> EpisodeResult | None:
        """None when it was thrown away, or cut short by the end of the run."""
        self.announce("resetting", episode)
        self.reach("inactive")
        self.referee.reset(self.seed + episode)
        self.reach("active")
        began_ns = looked_ns = self.announce("running", episode)
        success: bool | None = None
        asked: What | None = None
        longest_s = LONGEST_PERSON_S if self.by_person else self.episode_s
        while not success and _since_s(began_ns) < longest_s:
            asked = self.requests.wait(JUDGE_S)
            if self.closing.is_set():
                return None
            if asked in VERDICTS:
                success = VERDICTS[asked]
                break
            success = None if self.by_person else self.referee.has_succeeded()
            if _since_s(looked_ns) > LOOK_AFTER_ARM_S:
                looked_ns = time.monotonic_ns()
                self.reach("active")  # it may have come back from a crash
        discarded = asked == "discard"
        lasted_s = (self.announce("judged", episode, success, discarded) - began_ns) * 1e-9
        if discarded:
            return None
        return EpisodeResult(episode=episode, success=success, duration_s=lasted_s, began_ns=began_ns)

    def _asked(self, episode: int) -> Literal["start", "skip"] | None:
        """The arm is free to move until a person begins the episode or leaves it out; None: the run ends before."""
        self.reach("active")
        self.announce("free", episode)
        self.requests.take()
        while not self.closing.is_set():
            asked = self.requests.wait(LOOK_AFTER_ARM_S)
            if asked in ("start", "skip"):
                return asked
            self.reach("active")
        return None


def _since_s(stamp_ns: int) -> float:
    return (time.monotonic_ns() - stamp_ns) * 1e-9
