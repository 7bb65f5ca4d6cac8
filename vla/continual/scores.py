"""Success rates by stage and task in, FWT, NBT and AUC out (as LIBERO has them, arXiv 2306.03310)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vla.intervals import wilson


@dataclass(frozen=True, eq=False)
class Scores:
    """Means over the tasks. A base stage teaches several tasks at once: all of them are learned at stage 0 (ours)."""

    fwt: float
    """Forward transfer: the success right after a task was learned."""
    nbt: float
    """Negative backward transfer: what later stages lost of it. 0 where no task has a later stage."""
    auc: float
    """The mean success over the stages since a task was learned."""


def scores(rates: Float[ndarray, "Q K"], learned_at: Sequence[int]) -> Scores:
    """`rates[q, k]`: success on task k after stage q, in 0 … 1. Stages before `learned_at[k]` are not looked at.

    The last stage's tasks have no later one, so they have no NBT and do not count in its mean.
    """
    fwt, nbt, auc = [], [], []
    for task, first in enumerate(learned_at):
        since = rates[first:, task]
        fwt.append(since[0])
        auc.append(since.mean())
        if len(since) > 1:
            nbt.append((since[0] - since[1:]).mean())
    return Scores(float(np.mean(fwt)), float(np.mean(nbt)) if nbt else 0.0, float(np.mean(auc)))


def intervals(
    successes: Int[ndarray, "Q K"], trials: Int[ndarray, "Q K"], learned_at: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """95 % of each score given the trials, from the rates' Wilson intervals (a linear function of binomial proportions:
    Zou, Huang & Zhang 2009, doi 10.1016/j.csda.2008.09.033).

    It says what more trials of these policies could change, not what another training run would.
    """
    rates = successes / np.maximum(trials, 1)
    low, high = wilson(successes, trials)
    found = {}
    for name, shares in weights(rates.shape, learned_at).items():
        value = float((shares * rates).sum())
        down = shares * np.where(shares > 0, rates - low, high - rates)
        up = shares * np.where(shares > 0, high - rates, rates - low)
        found[name] = (value - float(np.linalg.norm(down)), value + float(np.linalg.norm(up)))
    return found


def weights(shape: tuple[int, ...], learned_at: Sequence[int]) -> dict[str, Float[ndarray, "Q K"]]:
    """What each rate counts in each score: they are linear in the rates."""
    alone = [scores(one.reshape(shape), learned_at) for one in np.eye(int(np.prod(shape)))]
    return {name: np.array([getattr(one, name) for one in alone]).reshape(shape) for name in ("fwt", "nbt", "auc")}
