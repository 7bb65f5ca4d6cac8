"""A guided run's folder in; who reset the cell for its episodes, and a person's time that it saved, out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware.config import Config
from rl_online.lines import read_models
from rl_online.real.config import BACKWARD, STARTS, BroughtBack, PreparedStart


class ResetFigures(Config):
    """Of the starts that were prepared."""

    by_robot: int
    """By an episode in which it undid the task."""
    by_robot_elsewhere: int
    """Of those: not where the plan wanted the object, but in another of its cells, and taken as the start."""
    by_person: int
    """Or, on the bench, by the scripted stand-in for one."""
    failed_attempts: int
    """To undo the task: a person was asked after all."""
    backward_minutes: float
    """Of robot time, which episodes of the task are not."""
    person_s: float | None
    """The median time that a person, or the stand-in, took for a reset of this run; None: none was needed."""
    saved_minutes: float | None
    """Of a person's time: what the robot's resets would have taken them, each as long as one of theirs."""

    @property
    def words(self) -> str:
        saved = "" if not self.saved_minutes else f" ({self.saved_minutes:.1f} min of a person's time saved)"
        return f"{self.by_robot} by the robot{saved}, {self.by_person} by a person or stand-in"


def resets_of(run: Path) -> ResetFigures:
    starts = list({line.episode: line for line in read_models(run / STARTS, PreparedStart)}.values())
    robot = {line.episode for line in starts if line.placed_by == "robot"}
    attempts = read_models(run / BACKWARD, BroughtBack)
    took_s = [line.took_s for line in starts if line.placed_by != "robot"]
    person_s = float(np.median(took_s)) if took_s else None
    return ResetFigures(
        by_robot=len(robot),
        by_robot_elsewhere=len(robot & {line.episode for line in attempts if line.left == "elsewhere"}),
        by_person=len(took_s),
        failed_attempts=sum(line.left == "outside" for line in attempts),
        backward_minutes=sum(line.duration_s for line in attempts) / 60,
        person_s=person_s,
        saved_minutes=None if person_s is None else len(robot) * person_s / 60,
    )
