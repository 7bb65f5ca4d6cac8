"""Rewards of single steps in; what one chunk is worth out: discounted sums, bootstrap factors, returns to the end.

γ is per environment step, so a chunk of k executed steps discounts what follows by γ^k (Q-chunking, arXiv 2507.07969;
using γ once per chunk is a known mistake of peers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class ChunkReturns:
    """Of each chunk: target = `reward` + `bootstrap` · Q̄(s after it, a′)."""

    reward: Float[ndarray, " B"]
    """Σ γ^i r_i over the steps that count."""
    bootstrap: Float[ndarray, " B"]
    """γ^k m: 0 where a step of it ended the task, γ^k where k steps were done and the task goes on."""


def of_chunks(
    rewards: Float[ndarray, "B H"], terminated: Bool[ndarray, "B H"], executed: Int[ndarray, " B"], gamma: float
) -> ChunkReturns:
    """Rewards after the first terminated step, and of steps that were not executed, do not count.

    A time-out or an interruption in mid-chunk shortens `executed` and leaves `terminated` False: it bootstraps, from
    the state in which it was cut off.
    """
    steps = np.arange(rewards.shape[1])
    done = terminated & (steps < executed[:, None])
    ends = done.any(axis=1)
    counted = np.where(ends, done.argmax(axis=1) + 1, executed)
    discounts = gamma ** steps.astype(np.float64)
    kept = np.where(steps < counted[:, None], rewards, 0.0)
    return ChunkReturns(kept @ discounts, np.where(ends, 0.0, gamma ** counted.astype(np.float64)))


def to_the_end(rewards: Sequence[float], gamma: float, timed_out: bool) -> Float[ndarray, " T"]:
    """V^μ: the discounted return from each step of one episode on.

    An episode that ran out of time would have gone on: its last reward is taken to repeat for ever, r / (1 − γ).
    """
    values = np.empty(len(rewards))
    follows = rewards[-1] / (1 - gamma) if timed_out and len(rewards) else 0.0
    for step in range(len(rewards) - 1, -1, -1):
        follows = rewards[step] + gamma * follows
        values[step] = follows
    return values


def worth_imitating(success: bool, corrected: Bool[ndarray, " C"]) -> Bool[ndarray, " C"]:
    """Of the chunks of one episode: corrections, and what the policy did itself on its way to a success.

    What led to a takeover had failed, however well it went on from there.
    """
    last = int(np.flatnonzero(corrected).max(initial=-1))
    return corrected | (success & (np.arange(len(corrected)) > last))
