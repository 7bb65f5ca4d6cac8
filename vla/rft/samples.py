"""A policy and demonstrated chunks in, groups of sampled chunks with their process rewards out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vla.policy import Batch, Samples, TokenPolicy
from vla.rft import process_rewards
from vla.rft.config import Grpo
from vla.rft.process_rewards import ProcessRewards, RewardWeights
from vla.rft.reference import Reference


@dataclass(frozen=True, eq=False)
class Judge:
    """How samples are scored."""

    gripper: tuple[int, ...]
    """Columns of the action."""
    weights: RewardWeights


@dataclass(frozen=True, eq=False)
class Rollout:
    """What one step learns from: drawn on-policy, then fixed."""

    samples: Samples
    rewards: ProcessRewards
    log_reference: Float[Tensor, "B n L"]


def rollout(
    policy: TokenPolicy, reference: Reference, batch: Batch, settings: Grpo, judge: Judge, seed: int
) -> Rollout:
    """`settings.group` chunks for each observation, scored beside the demonstrated one."""
    samples = policy.sample(batch.observations, settings.group, settings.temperature, seed)
    with torch.no_grad():
        log_reference = reference.log_probabilities(batch.observations, samples.tokens, settings.temperature)
    return Rollout(samples, score(policy, batch, samples, judge), log_reference)


def score(policy: TokenPolicy, batch: Batch, samples: Samples, judge: Judge) -> ProcessRewards:
    """In normalised actions. The expert's chunk is its tokens decoded: the same tokens are worth all of CTAR."""
    names = batch.observations.datasets
    each = samples.tokens.shape[1]
    said = policy.cut(samples.tokens.flatten(0, 1))
    expert = policy.tokenise(batch.actions, names)
    meant = decoded(policy, expert, names)
    demonstrated = policy.actions.normalise(batch.actions, names)
    return process_rewards.score(
        said,
        *decoded(policy, said, [name for name in names for _ in range(each)]),
        expert,
        np.where(meant[1][:, None, None], meant[0], demonstrated),
        judge.gripper,
        judge.weights,
    )


def decoded(
    policy: TokenPolicy, tokens: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised chunks, and which are valid."""
    actions, valid = policy.detokenise(tokens, names)
    return policy.actions.normalise(actions, names), valid


def means(rewards: Sequence[ProcessRewards]) -> dict[str, float]:
    """Over all samples: `reward`, `qacr`, `ctar`, `fcr`."""
    parts = {"reward": "total", "qacr": "qacr", "ctar": "ctar", "fcr": "fcr"}
    return {
        name: float(np.concatenate([getattr(each, field).ravel() for each in rewards]).mean())
        for name, field in parts.items()
    }
