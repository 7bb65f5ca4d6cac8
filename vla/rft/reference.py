"""A policy as it was, beside the same policy as it learns: only what learns is kept twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float, Int
from torch import Tensor, nn

from vla.policy import ObservationBatch, TokenPolicy


class Reference:
    """What the KL is measured to. All that is frozen is shared with the policy: of one whose adapters learn, the base
    is in memory once, and what is kept here are the adapters as they came (new ones add nothing to the base).
    """

    def __init__(self, policy: TokenPolicy) -> None:
        self._policy = policy
        self._kept = {name: weight.detach().clone() for name, weight in trained(module(policy)).items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the policy has the weights it came with. Nothing is copied, and nothing may learn there."""
        weights = trained(module(self._policy))
        now = {name: weight.data for name, weight in weights.items()}
        try:
            for name, weight in weights.items():
                weight.data = self._kept[name]
            yield
        finally:
            for name, weight in weights.items():
                weight.data = now[name]

    def log_probabilities(
        self, observations: ObservationBatch, tokens: Int[Tensor, "B n L"], temperature: float
    ) -> Float[Tensor, "B n L"]:
        """As `TokenPolicy.log_probabilities`."""
        with self.in_place():
            return self._policy.log_probabilities(observations, tokens, temperature)


def trained(policy: nn.Module) -> dict[str, Tensor]:
    """What learning changes: with the source policy, all of the state."""
    return {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}


def module(policy: TokenPolicy) -> nn.Module:
    if not isinstance(policy, nn.Module):
        raise TypeError(f"{type(policy).__name__} has no weights to learn with")
    return policy
