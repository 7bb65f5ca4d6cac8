"""Group-relative policy optimisation: rewards and log-probabilities of groups of chunks in, a loss out.

A group is what was sampled for one observation: its mean is the baseline, so no critic is needed. Ours where
LifeLong-RFT (arXiv 2602.10503) is silent: the ratio is each token's and a chunk's tokens are averaged, as GRPO was
published (arXiv 2402.03300); the deviation is the population's; ε is 0.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

EPSILON = 1e-6
"""Added to the deviation: a group of equal rewards has no advantage, and teaches nothing."""


@dataclass(frozen=True, eq=False)
class GrpoLoss:
    """`total` is what is differentiated; the rest is for the log."""

    total: Float[Tensor, ""]
    kl: Float[Tensor, ""]
    """From the policy to the reference, nats per token."""
    clipped_share: Float[Tensor, ""]
    """Of the tokens, whose ratio left 1 ± ε on the side where it no longer teaches."""


def advantages(rewards: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
    """(r − mean) / (std + 1e-6), each row by itself."""
    deviation = rewards.std(dim=1, correction=0, keepdim=True)
    return (rewards - rewards.mean(dim=1, keepdim=True)) / (deviation + EPSILON)


def surrogate(
    ratios: Float[Tensor, "B n L"], advantage: Float[Tensor, "B n"], clip: float
) -> Float[Tensor, "B n L"]:
    """min(ρ A, clip(ρ, 1 − ε, 1 + ε) A): a step is not rewarded for going further than ε."""
    wanted = advantage[:, :, None]
    return torch.minimum(ratios * wanted, ratios.clamp(1 - clip, 1 + clip) * wanted)


def k3(log_p: Float[Tensor, "*N"], log_reference: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """q/p − log(q/p) − 1 for samples of p: never negative, its mean is D_KL(p‖q)."""
    log_ratio = log_reference - log_p
    return log_ratio.exp() - log_ratio - 1


def loss(
    log_p: Float[Tensor, "B n L"],
    log_old: Float[Tensor, "B n L"],
    log_reference: Float[Tensor, "B n L"],
    mask: Bool[Tensor, "B n L"],
    advantage: Float[Tensor, "B n"],
    clip: float,
    kl_weight: float,
) -> GrpoLoss:
    """−J. `log_old` is of the policy that sampled, `log_reference` of the one not to leave (after SFT).

    Only `log_p` carries gradients. Log-probabilities where `mask` is false may be anything finite.
    """
    ratios = torch.exp(log_p - log_old)
    gained = surrogate(ratios, advantage, clip)
    kl = k3(log_p, log_reference)
    with torch.no_grad():
        clipped = gained < ratios * advantage[:, :, None]
    return GrpoLoss(
        total=-(_by_chunk(gained, mask) - kl_weight * _by_chunk(kl, mask)).mean(),
        kl=_by_chunk(kl.detach(), mask).mean(),
        clipped_share=_by_chunk(clipped.to(kl.dtype), mask).mean(),
    )


def _by_chunk(values: Float[Tensor, "B n L"], mask: Bool[Tensor, "B n L"]) -> Float[Tensor, "B n"]:
    """Means over each chunk's own tokens."""
    return (values * mask).sum(dim=2) / mask.sum(dim=2).clamp(min=1)
