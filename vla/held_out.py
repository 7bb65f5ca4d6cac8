"""A policy against episodes it did not learn from: its loss, and how far its chunks are from the demonstrated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from vla.policy import TokenPolicy
from vla.windows import Windows

BATCH = 64
SEED = 20_240_605
"""The noise of every held-out loss: points of a curve differ by the weights only."""


@dataclass(frozen=True, eq=False)
class Score:
    """Means over the windows."""

    loss: float
    token_loss: float | None
    consistency_loss: float | None
    open_loop_error: float
    """In units of half the 1–99 % range of each action."""
    error_by_action: Float[ndarray, " D"]
    """Mean absolute, physical units."""


@torch.no_grad()
def score(policy: TokenPolicy, windows: Windows, most: int, rows: int = BATCH) -> Score:
    """Open loop: each chunk is predicted from the demonstrated observation; steps past the end do not count.

    Of at most `most` windows, `rows` at a time.
    """
    count = 0
    sums: dict[str, float] = {}
    normal, physical, steps = 0.0, np.zeros(policy.interface.action_dims), 0
    for number, batch in enumerate(windows.in_order(rows, most)):
        for name, value in policy.loss(batch, SEED + number).parts.items():
            sums[name] = sums.get(name, 0.0) + value * len(batch)
        count += len(batch)
        datasets = batch.observations.datasets
        predicted, real = policy.act(batch.observations), ~batch.padded
        distance = np.abs(
            policy.actions.normalise(predicted, datasets) - policy.actions.normalise(batch.actions, datasets)
        )
        normal += float(distance[real].mean(axis=1).sum())
        physical += np.abs(predicted - batch.actions)[real].sum(axis=0)
        steps += int(real.sum())
    means = {name: total / count for name, total in sums.items()}
    return Score(
        loss=means["total"],
        token_loss=means.get("token"),
        consistency_loss=means.get("consistency"),
        open_loop_error=normal / steps,
        error_by_action=physical / steps,
    )


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode, open loop: chunks predicted one behind the other from demonstrated observations."""

    demonstrated: Float[ndarray, "T D"]
    predicted: Float[ndarray, "T D"]


@torch.no_grad()
def trace(policy: TokenPolicy, windows: Windows, episode: int) -> Trace:
    """Of the `episode`-th in the windows' list."""
    demonstrated = windows.episodes[episode].actions
    starts = range(0, len(demonstrated), policy.interface.horizon_steps)
    batch = windows.batch([(episode, step) for step in starts], [0] * len(starts))
    predicted = policy.act(batch.observations).reshape(-1, demonstrated.shape[1])
    return Trace(demonstrated, predicted[: len(demonstrated)])
