"""Corrections in the twin: a policy acts until it is stuck; the demonstration that is kept shows the way from there.

DAgger (Ross et al., arXiv 1011.0686), with HG-DAgger's rule (arXiv 1810.02890) that whoever corrects takes over and
keeps the wheel; the corrector is the twin's generator, so that no person and no robot is needed. What the policy did
is not shown to anyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_online.expansion.generators import Part, Parts, WarpGenerator
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Chooser
from rl_online.worlds.world import Moment, World
from vla.policy_file import load_policy

PATIENCE_S = (1.5, 8.0)
"""How long the policy goes on after its jaws first closed, without the object in them: drawn evenly, for the states
that it gets into are many."""
HESITANT_S = 8.0
"""After so long with open jaws it is corrected too."""
CLOSED = 0.5
"""Of the demonstrated opening."""
LIFTED_M = 0.01


class NothingToCorrect(Exception):
    """The policy has solved it, or is about to."""


@dataclass(frozen=True, eq=False)
class CorrectionGenerator:
    """`policy` acts in `env`'s world, which is the one that moments come from."""

    ways: WarpGenerator
    policy: Chooser
    env: ChunkEnv
    rate_hz: float

    def demo_for(self, now: Moment) -> int | None:
        return self.ways.demo_for(now)

    def parts(self, now: Moment, rng: np.random.Generator) -> Parts:
        """Raises `NothingToCorrect` as soon as the policy holds the object, or where it ends with a success."""
        stood_m, closed = now.Ts_base_object[0, 2, 3], CLOSED * self.ways.opened(now)
        left, has_closed = round(HESITANT_S * self.rate_hz), False
        while left > 0:
            chunk = self.policy.act(self.env.observe())[0][: min(left, self.env.execute_steps)].astype(np.float64)
            now = yield Part(chunk, is_shown=False)
            left -= len(chunk)
            if now.Ts_base_object[0, 2, 3] > stood_m + LIFTED_M:
                raise NothingToCorrect
            if not has_closed and now.gripper_open[0] < closed:
                has_closed, left = True, round(float(rng.uniform(*PATIENCE_S)) * self.rate_hz)
        yield from self.ways.again(now)


def open_corrections(policy: Path, world: World, ways: WarpGenerator) -> CorrectionGenerator:
    """Raises `BadInput` where the policy does not fit the world."""
    trained = load_policy(policy)
    return CorrectionGenerator(ways, trained, ChunkEnv(world, trained.interface, Rewards(), 1.0), world.rate_hz)
