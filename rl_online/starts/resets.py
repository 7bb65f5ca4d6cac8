"""Successes per cell in; where the next episodes start out: the failure map's numbers and the plan drawn from them.

TwinRL (arXiv 2602.09023): S_target = { s0 : SR_twin(s0) < τ }, and real resets are drawn from it first. Ours: cells
are drawn with p ∝ 1 − SR_lower + 0.05 (SR_lower: Wilson's 95 % lower bound), so that what is learned stays practised.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from numpy.random import Generator
from pydantic import Field, model_validator

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.errors import BadInput
from rl_online.starts.regions import Cell
from vla.intervals import wilson

TAU = 0.5
FLOOR = 0.05
"""Added to every cell's weight: none is forgotten."""


class CellScore(Config):
    """What a policy reached from the starts of one cell."""

    cell: Cell
    rollouts: int = Field(default=0, ge=0)
    successes: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> CellScore:
        if self.successes > self.rollouts:
            raise ValueError(f"{self.successes} successes of {self.rollouts} rollouts")
        return self

    @property
    def rate(self) -> float:
        """NaN where nothing was tried."""
        return self.successes / self.rollouts if self.rollouts else float("nan")


class ResetPlan(Config):
    """Scores of every cell, and what follows from them. Written by `tandem rl mine`."""

    scores: tuple[CellScore, ...] = Field(min_length=1)
    tau: float = Field(default=TAU, gt=0, le=1)
    guided: bool = True
    """False: every cell alike, whatever its score (the baseline)."""

    @property
    def bounds(self) -> tuple[Float[ndarray, " N"], Float[ndarray, " N"]]:
        """Wilson's 95 % (lower, upper) of each cell."""
        return wilson([score.successes for score in self.scores], [score.rollouts for score in self.scores])

    @property
    def target(self) -> Bool[ndarray, " N"]:
        """S_target: cells with a measured rate below τ, and those that were never tried."""
        return np.array([not score.rate >= self.tau for score in self.scores])

    @property
    def probabilities(self) -> Float[ndarray, " N"]:
        """Of each cell to be the next start."""
        return (
            reset_probabilities(self.bounds[0]) if self.guided else np.full(len(self.scores), 1 / len(self.scores))
        )

    def draw(self, rng: Generator) -> tuple[int, TaskStart]:
        """A cell by its probability and a start inside it, uniform."""
        number = int(rng.choice(len(self.scores), p=self.probabilities))
        return number, self.scores[number].cell.draw(rng)

    def draw_target(self, rng: Generator) -> tuple[int, TaskStart]:
        """As `draw`, but from S_target alone; from all cells once nothing is left in it."""
        within = self.probabilities * self.target
        if within.sum() == 0:
            return self.draw(rng)
        number = int(rng.choice(len(self.scores), p=within / within.sum()))
        return number, self.scores[number].cell.draw(rng)


def reset_probabilities(lower: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    """p ∝ 1 − SR_lower + 0.05."""
    weights = 1 - lower + FLOOR
    return weights / weights.sum()


def allocate(
    successes: Int[ndarray, " N"], rollouts: Int[ndarray, " N"], budget: int, least: int, tau: float = TAU
) -> Int[ndarray, " N"]:
    """How many of `budget` rollouts each cell gets next.

    First every cell is brought to `least`; what is left goes, one by one, to the cell whose rate is least known: cells
    whose interval holds τ first (they may or may not belong to S_target), the widest interval among them first. A
    rollout that was given narrows the interval as if it had come out as the rate so far.
    """
    if budget < 0:
        raise BadInput(f"a budget of {budget} rollouts")
    given = np.zeros(len(rollouts), np.int64)
    for _ in range(budget):
        short = least - rollouts - given
        number = int(np.argmax(short)) if short.max() > 0 else least_known(successes, rollouts, given, tau)
        given[number] += 1
    return given


def least_known(
    successes: Int[ndarray, " N"], rollouts: Int[ndarray, " N"], given: Int[ndarray, " N"], tau: float
) -> int:
    """The cell that the next rollout should go to, with `given` more under way in each."""
    trials = rollouts + given
    rate = np.where(rollouts > 0, successes / np.maximum(rollouts, 1), 0.5)
    low, high = wilson(rate * trials, trials)
    undecided = (low < tau) & (tau < high)
    return int(np.argmax(high - low + undecided))
