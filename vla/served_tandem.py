"""A policy's folder behind the policy server: messages in, chunks out, several clients' questions in one pass."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vla import exchange
from vla.adapters import folder as folders
from vla.policy import Policy, stack

LARGEST_BATCH = 16


class ServedTandem:
    """A `BatchedPolicy`. It keeps nothing between calls."""

    largest_batch = LARGEST_BATCH

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def metadata(self) -> Mapping[str, object]:
        interface = self._policy.interface
        facts = exchange.Facts(
            action_names=interface.action_names,
            rate_hz=interface.rate_hz,
            horizon_steps=interface.horizon_steps,
            space=interface.space,
            cameras=interface.cameras,
        )
        return facts.metadata()

    def infer(self, observation: dict) -> dict:
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: Sequence[dict]) -> list[dict]:
        """Raises `BadInput` that names what an observation lacks."""
        seen = stack([exchange.observation(message) for message in observations], self._policy.interface)
        return [{exchange.ACTIONS: actions.astype(float)} for actions in self._policy.act(seen)]


def open_tandem(folder: Path) -> ServedTandem:
    """A TandemVLA or a LeRobot checkpoint, on a GPU where there is one.

    On a processor it takes two cores: more gain nothing at this size.
    """
    torch.set_num_threads(min(2, len(os.sched_getaffinity(0))))
    return ServedTandem(folders.open_policy(folder, "cuda" if torch.cuda.is_available() else "cpu"))
