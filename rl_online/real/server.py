"""`python -m rl_online.real.server`: the policy server of a guided run, a process of its own.

As `tandem vla serve`, with four differences: each chunk is drawn with noise of its own, weights that the gate has
accepted are taken up while it serves, a chunk that collides in the twin is not sent: another is drawn, and in the words
of the way back it is another policy, or the bench's script, that is asked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import tyro

from hardware import config as configs
from hardware import notify
from hardware.cell import CellConfig
from hardware.config import Config
from hardware.errors import TandemError
from rl_online.learning.agent import take_weights
from rl_online.learning.explorer import Explorer
from rl_online.lines import add_line
from rl_online.real.bench import ScriptedWayBack
from rl_online.real.config import ACCEPTED, CELL, GUIDANCE, POLICY, REFUSED, SETTINGS, Guidance, GuideReal
from rl_online.real.learner import start_of
from rl_online.real.preflight import Collision, Preflight, open_preflight
from vla import exchange
from vla.policy import stack
from vla.policy_file import load_policy
from vla.serve import PolicyServer, ServePolicy
from vla.served_tandem import ServedTandem
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)

DRAWS = 4
"""Chunks that are drawn before the arm is left to hold still."""


class ServeRun(Config):
    """Serve the newest accepted policy of a guided run."""

    run: Path
    port: int


class RefusedChunk(Config):
    """One line of preflight.jsonl."""

    at_ns: int
    draw: int
    what: str


class Collides(TandemError):
    """No chunk was found that stays clear."""

    exit_code = 4


@runtime_checkable
class Actor(Protocol):
    """Whoever answers the questions in one task's words."""

    def infer(self, observation: dict) -> dict: ...


class ActingPolicy:
    """A `ServedPolicy`. One thread. `accepted`: the file of weights that the gate has let through."""

    def __init__(
        self, policy: TandemVLA, run: Path, preflight: Preflight | None, seed: int, accepted: Path | None
    ) -> None:
        self._policy, self._run, self._preflight, self._accepted = policy, run, preflight, accepted
        self._explorer = Explorer(policy, seed)
        self._taken: tuple[int, int] | None = None

    @property
    def metadata(self) -> Mapping[str, object]:
        return ServedTandem(self._policy).metadata

    def infer(self, observation: dict) -> dict:
        self.take_accepted()
        seen = stack([exchange.observation(observation)], self._policy.interface)
        joints = len(self._policy.interface.action_names) - 1
        now_rad = np.asarray(observation[exchange.STATE], float)[:joints]
        found: Collision | None = None
        for draw in range(DRAWS):
            actions = self._explorer.act(seen)[0].astype(float)
            found = None if self._preflight is None else self._preflight.collision(now_rad, actions)
            if found is None:
                return {exchange.ACTIONS: actions}
            add_line(self._run / REFUSED, RefusedChunk(at_ns=time.monotonic_ns(), draw=draw, what=str(found)))
        raise Collides(f"{DRAWS} chunks collide in the twin: {found}", "the arm holds; a person may take over")

    def take_accepted(self) -> None:
        """Weights that the gate has let through since the last question."""
        file = self._accepted
        if file is None or not file.is_file():
            return
        stat = file.stat()
        if (stat.st_mtime_ns, stat.st_size) != self._taken:
            take_weights(self._policy, file.read_bytes())
            self._taken = (stat.st_mtime_ns, stat.st_size)
            log.info("new weights")


class BothWays:
    """A `ServedPolicy`: the task's own policy, and in the words of the way back another."""

    def __init__(self, forward: ActingPolicy, words: str, backward: Actor) -> None:
        self.metadata, self._forward, self._words, self._backward = forward.metadata, forward, words, backward

    def infer(self, observation: dict) -> dict:
        actor = self._backward if observation[exchange.PROMPT] == self._words else self._forward
        return actor.infer(observation)


def acting(run: Path) -> ActingPolicy | BothWays:
    """All that the run's settings ask for."""
    settings, guidance = configs.read(GuideReal, run / SETTINGS), configs.read(Guidance, run / GUIDANCE)
    policy = load_policy(start_of(settings))
    preflight = open_preflight(settings.world) if settings.preflight else None
    seed = int.from_bytes(np.random.default_rng().bytes(4))
    forward = ActingPolicy(policy, run, preflight, seed, run / ACCEPTED)
    forward.take_accepted()
    if guidance.way_back is None:
        return forward
    if settings.backward_policy is None:
        backward: Actor = ScriptedWayBack(configs.read(CellConfig, run / CELL), run, policy.interface)
    else:
        backward = ActingPolicy(load_policy(settings.backward_policy), run, preflight, seed + 1, None)
    return BothWays(forward, guidance.way_back.task, backward)


def serve(config: ServeRun) -> int:
    """Until SIGTERM."""
    torch.set_num_threads(1)
    server = PolicyServer(acting(config.run), ServePolicy(policy=config.run / POLICY, port=config.port))

    def is_ready(address: str) -> None:
        log.info("serving at %s", address)
        notify.ready()

    asyncio.run(server.serve(is_ready))
    return 0


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    return serve(tyro.cli(ServeRun, prog="python -m rl_online.real.server"))


if __name__ == "__main__":
    sys.exit(main())
