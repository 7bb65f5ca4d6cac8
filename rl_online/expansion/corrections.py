"""Corrections in the twin: a policy acts until it is stuck; the demonstration that is kept shows the way from there.

DAgger (Ross et al., arXiv 1011.0686), with HG-DAgger's rule (arXiv 1810.02890) that whoever corrects takes over and
keeps the wheel; the corrector is the twin's generator, so that no person and no robot is needed. What the policy did
is not shown to anyone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.kinematics import Unreachable
from rl_online.expansion.generators import Part, Parts, WarpGenerator
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Chooser
from rl_online.worlds.world import Moment, World
from vla.policy_file import load_policy

log = logging.getLogger(__name__)

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


class Patience:
    """Of whoever looks at a policy that tries. Moments are of one environment."""

    def __init__(self, now: Moment, closed: float, rate_hz: float, rng: np.random.Generator) -> None:
        """`closed`: an opening of the jaws below which they have closed."""
        self._stood_m, self._closed, self._rate_hz, self._rng = now.Ts_base_object[0, 2, 3], closed, rate_hz, rng
        self.renew()

    def renew(self) -> None:
        """It begins anew."""
        self.left, self._has_closed = round(HESITANT_S * self._rate_hz), False

    def passes(self, now: Moment, steps: int) -> Literal["holds", "waits", "over"]:
        """So many steps later. holds: the policy has the object."""
        self.left -= steps
        if now.Ts_base_object[0, 2, 3] > self._stood_m + LIFTED_M:
            return "holds"
        if not self._has_closed and now.gripper_open[0] < self._closed:
            self._has_closed, self.left = True, round(float(self._rng.uniform(*PATIENCE_S)) * self._rate_hz)
        return "waits" if self.left > 0 else "over"


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
        patience = Patience(now, CLOSED * self.ways.opened(now), self.rate_hz, rng)
        while patience.left > 0:
            most = min(patience.left, self.env.execute_steps)
            chunk = self.policy.act(self.env.observe())[0][:most].astype(np.float64)
            now = yield Part(chunk, is_shown=False)
            if patience.passes(now, len(chunk)) == "holds":
                raise NothingToCorrect
        yield from self.ways.again(now)


def open_corrections(policy: Path, world: World, ways: WarpGenerator) -> CorrectionGenerator:
    """Raises `BadInput` where the policy does not fit the world."""
    trained = load_policy(policy)
    return CorrectionGenerator(ways, trained, ChunkEnv(world, trained.interface, Rewards(), 1.0), world.rate_hz)


class Way:
    """A generator's parts, cut into chunks."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._rows, self._at = parts, next(parts).actions, 0

    def chunk(self, now: Moment, horizon_steps: int, done_steps: int) -> Float[ndarray, "T D"] | None:
        """The next H rows, of which `done_steps` will be done; the last is held. None: the way is over."""
        if self._at >= len(self._rows):
            try:
                self._rows, self._at = self._parts.send(now).actions, 0
            except StopIteration:
                return None
        rows = self._rows[(self._at + np.arange(horizon_steps)).clip(max=len(self._rows) - 1)]
        self._at += done_steps
        return rows


class Corrector:
    """A `Supervisor` of all environments of a world; it looks at a share of the episodes, drawn by its seed.

    Where the policy gets no further, it takes over with a demonstration bent to the way on, as HIL-SERL's person does
    (arXiv 2410.21845); the policy goes on when that is over.
    """

    def __init__(self, world: World, ways: WarpGenerator, done_steps: int, share: float, seed: int) -> None:
        """`done_steps` of a chunk are done before the next."""
        self.world, self.ways, self.done_steps, self.share = world, ways, done_steps, share
        self._patience: dict[int, Patience] = {}
        self._way: dict[int, Way] = {}
        self._has_acted: set[int] = set()
        """Where the policy has done a chunk since the episode, or its turn, began."""
        self._looks, self._patient = (np.random.default_rng([seed, stream]) for stream in (1, 2))

    def begin(self, env: int) -> None:
        self._way.pop(env, None)
        self._patience.pop(env, None)
        self._has_acted.discard(env)
        if self._looks.random() < self.share:
            now = self._now(env)
            self._patience[env] = Patience(now, CLOSED * self.ways.opened(now), self.world.rate_hz, self._patient)

    def correction(self, env: int, horizon_steps: int) -> Float[ndarray, "T D"] | None:
        patience = self._patience.get(env)
        if patience is None:
            return None
        now = self._now(env)
        try:
            if env in self._way:
                chunk = self._way[env].chunk(now, horizon_steps, self.done_steps)
                if chunk is not None:
                    return chunk
                del self._way[env]
                self._has_acted.discard(env)
            said = patience.passes(now, self.done_steps if env in self._has_acted else 0)
            self._has_acted.add(env)
            if said != "waits":
                patience.renew()
            if said != "over":
                return None
            self._way[env] = Way(self.ways.again(now))
            return self._way[env].chunk(now, horizon_steps, self.done_steps)
        except Unreachable as error:
            log.debug("no way on: %s", error)
            self._way.pop(env, None)
            del self._patience[env]
            return None

    def _now(self, env: int) -> Moment:
        """Of one environment."""
        now = self.world.moment()
        return Moment(**{field.name: getattr(now, field.name)[env : env + 1] for field in fields(now)})
