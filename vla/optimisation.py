"""One optimiser step: the learning rate of a step, averaged weights, and a batch that is halved if need be."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hardware.errors import TandemError
from vla.policy import Batch
from vla.sft.config import Schedule
from vla.tandem_vla import TandemVLA


class OutOfMemory(TandemError):
    """Not even one window fits the device."""


class Learner(nn.Module):
    """A policy's loss as a forward call, which is what data-parallel training wraps."""

    def __init__(self, policy: TandemVLA) -> None:
        super().__init__()
        self.policy = policy.train()
        if policy.config.token_weight == 0:
            policy.token_head.requires_grad_(False)
        if policy.config.consistency_weight == 0:
            policy.consistency_head.requires_grad_(False)
        self.parts: dict[str, float] = {}

    def forward(self, batch: Batch, seed: int) -> Tensor:
        losses = self.policy.loss(batch, seed)
        self.parts = dict(losses.parts)
        return losses.total


def adamw(policy: nn.Module, settings: Schedule) -> torch.optim.AdamW:
    """Weights decay, biases, norms and embeddings of places do not; an unfrozen encoder learns more slowly."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith("places")
            groups.setdefault((name.startswith("encoder."), decays), []).append(parameter)
    described = [
        {
            "params": parameters,
            "weight_decay": settings.weight_decay if decays else 0.0,
            "share": settings.encoder_share if of_encoder else 1.0,
        }
        for (of_encoder, decays), parameters in groups.items()
    ]
    return torch.optim.AdamW(described, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)


def learning_rate(settings: Schedule, step: int) -> float:
    """Of step 0 … steps − 1: linear up, then a cosine down to `last_share`."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.learning_rate * (settings.last_share + (1 - settings.last_share) * cosine)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


def take_step(optimiser: torch.optim.Optimizer, lighter: str) -> None:
    """Weights may be half updated when memory runs out here, so nothing is tried again: raises `OutOfMemory`."""
    try:
        optimiser.step()
    except torch.OutOfMemoryError as error:
        raise OutOfMemory("the optimiser's moments do not fit beside the batch", lighter) from error
    optimiser.zero_grad()


@torch.no_grad()
def average(averaged: Iterable[Tensor], current: Iterable[Tensor], decay: float, step: int) -> None:
    """Exponential moving average in place; young averages forget faster, so that the start does not linger."""
    kept = min(decay, (1 + step) / (10 + step))
    for old, new in zip(averaged, current, strict=True):
        old.lerp_(new, 1 - kept)


def halved(batch: int, lighter: str = "take a smaller architecture or image_px") -> int:
    """`lighter`: what helps where one window is too much."""
    if batch == 1:
        raise OutOfMemory("one window does not fit the device's memory", lighter)
    return batch // 2
