"""A token policy against episodes it did not learn from: the reward of its samples, and how far its chunks are off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hardware.config import Config
from vla.policy import Batch, ObservationBatch, TokenPolicy
from vla.rft import samples as rft_samples
from vla.rft.config import Grpo
from vla.rft.process_rewards import ProcessRewards
from vla.rft.samples import Judge
from vla.tandem_vla import TandemVLA
from vla.windows import Windows

BATCH = 32
SEED = 20_241_124
"""Of all held-out samples: points of a curve differ by the weights only."""


class Standing(Config):
    """Means over the windows; rewards are of sampled chunks, errors of the chunks that it acts with."""

    reward: float
    qacr: float
    ctar: float
    fcr: float
    open_loop_error: dict[str, float]
    """By voice; mean |action − demonstrated| in units of half the action's 1–99 % range."""

    def scalars(self) -> dict[str, float]:
        errors = {f"open_loop_error/{voice}": error for voice, error in self.open_loop_error.items()}
        return {"reward": self.reward, "qacr": self.qacr, "ctar": self.ctar, "fcr": self.fcr} | errors


@torch.no_grad()
def standing(
    policy: TokenPolicy, windows: Windows, settings: Grpo, judge: Judge, most: int, rows: int = BATCH
) -> Standing:
    """Of at most `most` windows, `rows` at a time."""
    rewards: list[ProcessRewards] = []
    errors: dict[str, list[np.ndarray]] = {}
    for number, batch in enumerate(windows.in_order(rows, most)):
        samples = policy.sample(batch.observations, settings.group, settings.temperature, SEED + number)
        rewards.append(rft_samples.score(policy, batch, samples, judge))
        for voice, act in voices(policy).items():
            errors.setdefault(voice, []).append(distances(policy, batch, act(batch.observations)))
    means = rft_samples.means(rewards)
    return Standing(
        **means,
        open_loop_error={voice: float(np.concatenate(each).mean()) for voice, each in errors.items()},
    )


def voices(policy: TokenPolicy) -> dict[str, Callable[[ObservationBatch], np.ndarray]]:
    """Each way that the policy can act."""
    if not isinstance(policy, TandemVLA):
        return {"tokens": policy.act}
    found: dict[str, Callable[[ObservationBatch], np.ndarray]] = {
        "tokens": lambda seen: policy.act_as("tokens", seen)
    }
    if policy.config.consistency_weight > 0:
        found["consistency"] = lambda seen: policy.act_as("consistency", seen)
    return found


def distances(policy: TokenPolicy, batch: Batch, predicted: np.ndarray) -> np.ndarray:
    """Mean over the dims, of each step that is no padding."""
    names = batch.observations.datasets
    difference = policy.actions.normalise(predicted, names) - policy.actions.normalise(batch.actions, names)
    return np.abs(difference)[~batch.padded].mean(axis=1)
