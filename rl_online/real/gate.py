"""Weights that the learner has published in; a verdict out: may they go to the robot?

The new weights and those that act now are run in the twin from the same starts, half of them where demonstrations are
and half where the plan says that it fails. `vla.gate.compare` refuses a loss that the trials can show.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware import artefact
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.errors import BadInput
from rl_online.learning.agent import take_weights
from rl_online.learning.env import ChunkEnv
from rl_online.learning.rollout import Rollout, run_episodes
from rl_online.lines import add_line, read_models
from rl_online.real.config import ACCEPTED, GATES, SETTLED, GateChecks
from rl_online.starts.resets import ResetPlan
from vla.gate import compare
from vla.outcomes import Outcome
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)

PARTS = ("id", "target")


class Gated(Config):
    """One line of gates.jsonl."""

    version: int
    """Of the learner's weights; −1: those that the run began with."""
    digest: str
    after_episodes: int
    outcomes: dict[str, Outcome]
    """By part of the starts."""
    accepted: bool
    why: str


class Settled(Config):
    """settled.json: nothing is left to ask of the gate after so many episodes."""

    after_episodes: int


def is_due(run: Path, every_episodes: int, episodes: int) -> bool:
    """After every few episodes the gate is asked about the newest weights."""
    asked = [line.after_episodes for line in read_models(run / GATES, Gated) if line.version >= 0]
    return episodes - max(asked, default=0) >= every_episodes


def is_settled(run: Path, every_episodes: int, episodes: int) -> bool:
    """Whether it is not due, or was asked all the same, or there was nothing new to ask about."""
    file = run / SETTLED
    if not is_due(run, every_episodes, episodes):
        return True
    return file.is_file() and configs.read(Settled, file).after_episodes >= episodes


class WeightGate:
    """Owns its twin environment and a policy whose weights it changes. One thread."""

    def __init__(
        self, run: Path, policy: TandemVLA, env: ChunkEnv, plan: ResetPlan, checks: GateChecks, seed: int
    ) -> None:
        self._run, self._policy, self._env, self._checks, self._seed = run, policy, env, checks, seed
        self.starts = fixed_starts(plan, checks.trials, seed)

    def judge(self, version: int, weights: bytes, acting: bytes, after_episodes: int) -> Gated:
        """Writes the verdict, and the weights into `accepted.safetensors` when it lets them through."""
        before = self._measured(acting, -1, after_episodes)
        now = self._run_trials(weights)
        verdicts = compare(before, now, (), self._checks.confidence, self._checks.margin)
        lost = [verdict.task for verdict in verdicts if verdict.lost]
        said = Gated(
            version=version,
            digest=digest(weights),
            after_episodes=after_episodes,
            outcomes=now,
            accepted=not lost,
            why=f"lost on {', '.join(lost)}" if lost else "nothing was lost that the trials show",
        )
        if said.accepted:
            artefact.write_bytes(self._run / ACCEPTED, weights)
        add_line(self._run / GATES, said)
        return said

    def _measured(self, weights: bytes, version: int, after_episodes: int) -> dict[str, Outcome]:
        """Of weights that act already: measured once."""
        for line in read_models(self._run / GATES, Gated):
            if line.digest == digest(weights):
                return line.outcomes
        found = self._run_trials(weights)
        said = Gated(
            version=version, digest=digest(weights), after_episodes=after_episodes, outcomes=found, accepted=True,
            why="the weights that the run began with",
        )  # fmt: skip
        add_line(self._run / GATES, said)
        return found

    def _run_trials(self, weights: bytes) -> dict[str, Outcome]:
        take_weights(self._policy, weights)
        won = np.zeros(len(self.starts), bool)

        def keep(rollout: Rollout) -> None:
            won[rollout.number] = rollout.success

        run_episodes(self._env, self._policy, [start for _, start in self.starts], self._seed, keep)
        parts = {part: [won[n] for n, (name, _) in enumerate(self.starts) if name == part] for part in PARTS}
        return {part: Outcome(successes=int(sum(own)), trials=len(own)) for part, own in parts.items() if own}


def fixed_starts(plan: ResetPlan, trials: int, seed: int) -> Sequence[tuple[str, TaskStart]]:
    """In turn from cells of the demonstrated part and from S_target; from one alone where the other is empty."""
    rng = np.random.default_rng([seed, 31])
    inside = [score.cell for score in plan.scores if score.cell.part == "id"]
    target = [score.cell for score, wanted in zip(plan.scores, plan.target, strict=True) if wanted]
    pools = [(name, pool) for name, pool in zip(PARTS, (inside, target), strict=True) if pool]
    if not pools:
        pools = [("id", [score.cell for score in plan.scores])]
    chosen = []
    for number in range(trials):
        name, pool = pools[number % len(pools)]
        chosen.append((name, pool[int(rng.integers(len(pool)))].draw(rng)))
    return chosen


def digest(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()[:16]


def acting_weights(run: Path, initial: bytes) -> bytes:
    """What the robot runs now."""
    file = run / ACCEPTED
    try:
        return file.read_bytes() if file.is_file() else initial
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error}") from error
