"""A failed episode of the robot in; the same start in the twin, and what came of it there, out: the plan grows by it.

Twice: the commands that were really sent are replayed (does the twin fail as the robot did?), and the policy is run
anew from there (is this start hard for it?). The second joins the grid's counts; a start that no cell holds gets one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from rl_online.learning.env import ChunkEnv
from rl_online.learning.rollout import Chooser, Rollout, run_episodes
from rl_online.starts.regions import Cell, cell_of
from rl_online.starts.resets import CellScore, ResetPlan

log = logging.getLogger(__name__)

HALF_M = 0.015
"""Of a new cell round a start that lay outside the grid."""
HALF_RAD = 0.3


class Recreated(Config):
    """One line of recreated.jsonl."""

    episode: int
    start: TaskStart
    replay_succeeded: bool
    """The robot's own commands, replayed in the twin, succeed there: the twin does not know this failure."""
    rollouts: int
    successes: int


def recreate(
    env: ChunkEnv,
    chooser: Chooser,
    episode: int,
    start: TaskStart,
    sent: Float[ndarray, "T D"],
    rollouts: int,
    seed: int,
) -> Recreated:
    """`sent`: a row for each control step, joints and then the gripper."""
    won = 0

    def keep(rollout: Rollout) -> None:
        nonlocal won
        won += rollout.success

    replayed = replay(env, start, sent)
    run_episodes(env, chooser, [start] * rollouts, seed, keep)
    return Recreated(episode=episode, start=start, replay_succeeded=replayed, rollouts=rollouts, successes=won)


def replay(env: ChunkEnv, start: TaskStart, sent: Float[ndarray, "T D"]) -> bool:
    """Whether it is a success at any moment."""
    env.reset([start], [0])
    for row in sent:
        env.world.step(row[None], [0])
        if env.world.moment().success[0]:
            return True
    return False


def grown(plan: ResetPlan, found: Sequence[Recreated]) -> ResetPlan:
    """The plan with all of them in its counts."""
    scores = list(plan.scores)
    for one in found:
        number = cell_of(one.start, [score.cell for score in scores])
        if number is None:
            scores.append(CellScore(cell=around(one.start)))
            number = len(scores) - 1
        score = scores[number]
        scores[number] = CellScore(
            cell=score.cell, rollouts=score.rollouts + one.rollouts, successes=score.successes + one.successes
        )
    return ResetPlan(scores=tuple(scores), tau=plan.tau, guided=plan.guided)


def around(start: TaskStart) -> Cell:
    return Cell(
        part="ood",
        region="recreated",
        lower_m=(start.x_m - HALF_M, start.y_m - HALF_M),
        upper_m=(start.x_m + HALF_M, start.y_m + HALF_M),
        yaw_rad=(start.yaw_rad - HALF_RAD, start.yaw_rad + HALF_RAD),
    )


def sent_rows(sent: Float[ndarray, "M D"], rows: ndarray) -> Float[ndarray, "T D"]:
    """The commands at the frames of an episode."""
    return np.ascontiguousarray(sent[rows])
