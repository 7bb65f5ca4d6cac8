"""The scripted intervener: stands in for the person who takes over when a policy fails, and is labelled `scripted`.

By the truth it sees when the task makes no progress any more, takes over, brings the task one sub-goal further with
the demonstrator's own means, and gives control back. It is asked at every tick of a control loop and answers with what
it wants the arm to do, or None while the policy may act.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmName
from hardware.bench.demonstrator import Demonstrator
from hardware.config import Config
from hardware.kinematics import Unreachable
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk
from hardware.ports import JointReading
from hardware.spatial import Pose

log = logging.getLogger(__name__)


class InterveneWhen(Config):
    """How patient the stand-in for a person is."""

    patience_s: float = 5.0
    """So long without progress, and it takes over. A demonstrator who misses and tries again needs up to 4: a policy
    that learned from it has its own second try."""
    progress_m: float = 0.01
    """Less than this nearer to the next sub-goal is no progress."""
    fallen_m: float = 0.08
    """So much further from the goal than it was at best, and it takes over at once: something was dropped or pushed."""
    least_s: float = 1.0
    """It never gives back sooner."""
    replan_s: float = 0.4


@dataclass(frozen=True, eq=False)
class Correction:
    """What the arm should do now."""

    q_rad: Float[ndarray, " J"]
    gripper_open: float


class Intervener:
    """Of one task with one arm; one thread."""

    source = "scripted"

    def __init__(self, task: str, arm: ArmName, when: InterveneWhen | None = None, rate_hz: float = 20.0) -> None:
        self.when = when or InterveneWhen()
        self._demonstrator = Demonstrator(task, arm, rate_hz)
        self.forget()

    def forget(self) -> None:
        """A new episode: nothing has been seen, the policy acts."""
        self.times = 0
        """How often it has taken over in this episode."""
        self._is_beyond_help = False
        self._give_back()

    def _give_back(self) -> None:
        self._demonstrator.forget()
        self._goal_m: Float[ndarray, 3] | None = None
        self._best_m = np.inf
        self._best_ns: int | None = None
        self._since_ns: int | None = None
        self._to_the_end = False
        self._chunk: ActionChunk | None = None

    @property
    def is_acting(self) -> bool:
        return self._since_ns is not None

    def watch(
        self, now_ns: int, reading: JointReading, gripper_open: float, truth: Mapping[str, Pose]
    ) -> Correction | None:
        """None: the policy may act. Call it at every tick, whoever acts."""
        chunk = self.plan(now_ns, reading, gripper_open, truth)
        if chunk is None:
            return None
        row = _at(chunk, now_ns, np.append(reading.q_rad, gripper_open))
        return Correction(row[:-1], float(row[-1]))

    def plan(
        self, now_ns: int, reading: JointReading, gripper_open: float, truth: Mapping[str, Pose]
    ) -> ActionChunk | None:
        """As `watch`, for who acts in chunks: what it does from `start_ns` on, which is at most `replan_s` ago."""
        if self._is_beyond_help:
            return None
        if self._since_ns is None:
            if not self._is_failing(now_ns, reading, gripper_open, truth):
                return None
            self._take_over(now_ns, reading, gripper_open, truth)
        elif self._has_recovered(now_ns, reading, gripper_open, truth):
            self._give_back()
            return None
        chunk = self._chunk
        if chunk is None or (now_ns - chunk.start_ns) / NANOSECONDS_PER_SECOND > self.when.replan_s:
            try:
                chunk = self._chunk = self._demonstrator.chunk(now_ns, reading, gripper_open, truth)
            except Unreachable as error:  # pushed where no hand of this arm gets it: a person, too, would let go
                log.info("beyond help: %s", error.problem)
                self._give_back()
                self._is_beyond_help = True
                return None
        return chunk

    def _is_failing(
        self, now_ns: int, reading: JointReading, gripper_open: float, truth: Mapping[str, Pose]
    ) -> bool:
        left_m = self._demonstrator.left_m(reading.q_rad, gripper_open, truth)
        goal = self._demonstrator.script.goal(truth)
        if self._goal_m is None or math.dist(goal.translation_m, self._goal_m) > 1e-3:  # the task's next piece
            self._goal_m, self._best_ns = goal.translation_m, None
        if self._best_ns is None or left_m < self._best_m - self.when.progress_m:
            self._best_m, self._best_ns = left_m, now_ns
        if left_m == 0.0:
            return False
        waited_s = (now_ns - self._best_ns) / NANOSECONDS_PER_SECOND
        return waited_s > self.when.patience_s or left_m > self._best_m + self.when.fallen_m

    def _take_over(
        self, now_ns: int, reading: JointReading, gripper_open: float, truth: Mapping[str, Pose]
    ) -> None:
        self._since_ns = now_ns
        self.times += 1
        self._to_the_end = self.times > 1 or self._demonstrator.holds(reading.q_rad, gripper_open, truth)
        self._demonstrator.forget()
        self._chunk = None

    def _has_recovered(
        self, now_ns: int, reading: JointReading, gripper_open: float, truth: Mapping[str, Pose]
    ) -> bool:
        """The object is in the gripper and lifted; or the task is done, if it was held before, or help did not help."""
        assert self._since_ns is not None
        if (now_ns - self._since_ns) / NANOSECONDS_PER_SECOND < self.when.least_s:
            return False
        if self._demonstrator.script.is_done(truth):
            return self._demonstrator.phase(now_ns) == "rest"
        if self._to_the_end:
            return False
        return self._demonstrator.is_carrying(now_ns) and self._demonstrator.holds(
            reading.q_rad, gripper_open, truth
        )


def _at(chunk: ActionChunk, now_ns: int, before: Float[ndarray, " D"]) -> Float[ndarray, " D"]:
    """Between the chunk's rows at that moment; `before` is where the arm was at its start."""
    steps = (now_ns - chunk.start_ns) / NANOSECONDS_PER_SECOND * chunk.rate_hz
    number = min(int(steps), len(chunk) - 1)
    earlier = before if number == 0 else chunk.values[number - 1]
    part = min(max(steps - number, 0.0), 1.0)
    return earlier + part * (chunk.values[number] - earlier)
