"""What the policy saw and a whole chunk in, an ensemble's values out; and the losses that teach it.

The observation comes as what the policy that the run began with made of it, once (`embedding.Looks.seen`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hardware.config import Config


class CriticSize(Config):
    """Of each member of the ensemble."""

    members: PositiveInt = 2
    width: PositiveInt = 256
    layers: PositiveInt = 2


class CalQL(Config):
    """The conservative term (arXiv 2303.05479), for offline data."""

    alpha: NonNegativeFloat = 0.1
    """0: none, as online."""
    samples: PositiveInt = 4
    """Of each kind: uniform chunks, π(s), π(s′). The paper has 10; π's chunks for one state are nearly alike here, and
    drawing them is most of an offline update's time."""
    temperature: float = Field(default=1.0, gt=0)


class EnsembleLinear(nn.Module):
    """One linear layer for each member, in one product."""

    def __init__(self, members: int, inward: int, outward: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inward)
        self.weight = nn.Parameter(torch.empty(members, inward, outward).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outward).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "K B I"]) -> Float[Tensor, "K B O"]:
        return torch.baddbmm(self.bias, x, self.weight)


class ChunkCritic(nn.Module):
    """Q_k(s, a_{t:t+h}) for each member k: of a chunk, the h steps that are done before the next one."""

    def __init__(self, embedding: int, done_steps: int, action_dims: int, size: CriticSize, seed: int = 0) -> None:
        super().__init__()
        self.done_steps = done_steps
        widths = [embedding + done_steps * action_dims, *[size.width] * size.layers]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.members = size.members
            self.layers = nn.ModuleList(EnsembleLinear(size.members, one, two) for one, two in pairwise(widths))
            self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
            self.outward = EnsembleLinear(size.members, widths[-1], 1)

    def forward(self, seen: Float[Tensor, "B E"], chunk: Float[Tensor, "B H D"]) -> Float[Tensor, "K B"]:
        """`chunk` is normalised and whole, as the policy's heads give it."""
        x = torch.cat([seen, chunk[:, : self.done_steps].flatten(1)], dim=1).expand(self.members, -1, -1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nn.functional.gelu(norm(layer(x)))
        return self.outward(x)[..., 0]

    def of_samples(self, seen: Float[Tensor, "B E"], chunks: Float[Tensor, "B n H D"]) -> Float[Tensor, "K B n"]:
        """n chunks for each observation."""
        rows, count = chunks.shape[:2]
        values = self(seen.repeat_interleave(count, dim=0), chunks.flatten(0, 1))
        return values.unflatten(1, (rows, count))


def target(
    reward: Float[Tensor, " B"], bootstrap: Float[Tensor, " B"], next_values: Float[Tensor, "K B"]
) -> Float[Tensor, " B"]:
    """Σ γ^i r_i + γ^k m min_k Q̄_k(s′, a′). No entropy is added."""
    return reward + bootstrap * next_values.min(dim=0).values


def td_loss(values: Float[Tensor, "K B"], targets: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The members' squared errors, added; the mean over the batch."""
    return ((values - targets.detach()) ** 2).sum(dim=0).mean()


def calibrated_gap(
    on_data: Float[Tensor, "K B"],
    elsewhere: Float[Tensor, "K B n"],
    floor: Float[Tensor, " B"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T·log mean exp(max(Q, V^μ) / T) − Q(data), added over members, mean over the batch.

    `elsewhere` are chunks that were not done there; `floor` is the return that was reached from there (Cal-QL: a value
    is not pushed below it). The mean, not the sum, of the n samples goes into the logarithm (ours: a constant), so
    that n does not move the loss. A consistency policy has no density, so samples are not weighted by theirs.
    """
    floored = torch.maximum(elsewhere, floor[None, :, None])
    count = elsewhere.shape[-1]
    soft = temperature * (torch.logsumexp(floored / temperature, dim=-1) - math.log(count))
    return (soft - on_data).sum(dim=0).mean()


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """slow ← (1 − τ) slow + τ fast."""
    for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
        old.lerp_(new, tau)
