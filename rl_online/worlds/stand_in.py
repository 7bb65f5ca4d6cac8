"""The scripted stand-in for a person beside an actor on the bench: it takes over between two chunks (`scripted`)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.intervener import Intervener, InterveneWhen
from hardware.messages import NANOSECONDS_PER_SECOND
from rl_online.worlds.bench import BenchWorld


class StandIn:
    """A `Supervisor` of all environments of a world; it looks at a share of the episodes, drawn by its seed."""

    def __init__(self, world: BenchWorld, share: float, seed: int, when: InterveneWhen | None = None) -> None:
        self.world, self.share = world, share
        task, arm = world.config.task, world.config.arm_model
        self._interveners = [Intervener(task, arm, when, world.rate_hz) for _ in world.plants]
        self._looks = [False] * world.n_envs
        self._rng = np.random.default_rng([seed, 1])

    def begin(self, env: int) -> None:
        self._interveners[env].forget()
        self._looks[env] = bool(self._rng.random() < self.share)

    def correction(self, env: int, horizon_steps: int) -> Float[ndarray, "T D"] | None:
        if not self._looks[env]:
            return None
        plant = self.world.plants[env]
        chunk = self._interveners[env].plan(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        if chunk is None:
            return None
        since_s = (plant.now_ns - chunk.start_ns) / NANOSECONDS_PER_SECOND
        rows = round(since_s * chunk.rate_hz) + np.arange(horizon_steps)
        return chunk.values[rows.clip(max=len(chunk) - 1)]
