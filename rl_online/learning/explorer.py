"""A policy that draws no two chunks alike."""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy import ndarray

from vla.policy import ObservationBatch
from vla.tandem_vla import TandemVLA


class Explorer:
    """The policy with noise of its own for every chunk."""

    def __init__(self, policy: TandemVLA, seed: int) -> None:
        self.policy = policy
        self._noise = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        """`seed` is not used: no two chunks are drawn alike."""
        context = self.policy.context(self.policy.inputs(observations))
        shape = (len(context), self.policy.interface.horizon_steps, self.policy.interface.action_dims)
        noise = torch.randn(shape, generator=self._noise).to(self.policy.device)
        values = self.policy.consistency_head.act(context, noise).float().cpu().numpy()
        return self.policy.actions.denormalise(values)
