"""Starts in, finished episodes out: N environments kept busy, each taking the next start when its episode is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from rl_online.learning.env import ChunkEnv
from vla.policy import ObservationBatch


@runtime_checkable
class Chooser(Protocol):
    """Observations in, chunks out, in physical units: a policy, or a policy with exploration."""

    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]: ...


@runtime_checkable
class Supervisor(Protocol):
    """Looks on between two chunks and may take over, as a person at the arm does."""

    def begin(self, env: int) -> None:
        """An episode begins there."""
        ...

    def correction(self, env: int, horizon_steps: int) -> Float[ndarray, "T D"] | None:
        """The chunk to be done in place of the policy's; None: the policy goes on."""
        ...


@dataclass(frozen=True, eq=False)
class ChunkStep:
    """One chunk of one episode."""

    state: Float[ndarray, " S"]
    """All columns of the environment (`ChunkEnv.columns`) before it."""
    observed: ObservationBatch
    """Of this environment alone (one row), as the policy was shown it."""
    actions: Float[ndarray, "T D"]
    rewards: Float[ndarray, " T"]
    terminated: Bool[ndarray, " T"]
    executed: int
    corrected: bool = False
    """Done by the supervisor."""


@dataclass(eq=False)
class Rollout:
    """An episode as it was run."""

    number: int
    """Of its start in the list."""
    start: TaskStart
    chunks: list[ChunkStep] = field(default_factory=list)
    success: bool = False
    timed_out: bool = False
    last: ObservationBatch | None = None
    """What was seen after the last chunk."""

    @property
    def steps(self) -> int:
        return sum(chunk.executed for chunk in self.chunks)

    @property
    def corrected(self) -> Bool[ndarray, " C"]:
        """Per chunk: whether the supervisor did it."""
        return np.array([chunk.corrected for chunk in self.chunks], bool)

    @property
    def rewards(self) -> list[float]:
        """Per environment step."""
        return [float(reward) for chunk in self.chunks for reward in chunk.rewards[: chunk.executed]]


def run_episodes(
    env: ChunkEnv,
    chooser: Chooser,
    starts: Sequence[TaskStart],
    seed: int,
    on_done: Callable[[Rollout], None],
    keep: bool = False,
    supervisor: Supervisor | None = None,
) -> None:
    """Runs one episode from each start and hands it over when it is over; `keep` keeps what was seen in each chunk.

    Without a supervisor an episode depends on its start and the seed only, not on N: every chunk is drawn with the
    same noise.
    """
    waiting = list(enumerate(starts))[::-1]
    active: dict[int, Rollout] = {}
    for number in range(env.n_envs):
        _begin(env, number, waiting, active, supervisor)
    while active:
        envs = sorted(active)
        observations, states = env.observe(envs), env.all_states()
        actions, corrected = _supervised(chooser.act(observations, seed), envs, supervisor)
        outcome = env.run(actions, envs)
        for row, number in enumerate(envs):
            rollout = active[number]
            rollout.chunks.append(
                ChunkStep(
                    state=states[number],
                    observed=row_of(observations, row) if keep else EMPTY,
                    actions=actions[row],
                    rewards=outcome.rewards[row],
                    terminated=outcome.terminated[row],
                    executed=int(outcome.executed[row]),
                    corrected=bool(corrected[row]),
                )
            )
            if outcome.over[row]:
                rollout.success, rollout.timed_out = bool(outcome.success[row]), bool(outcome.timed_out[row])
                rollout.last = env.observe([number]) if keep else None
                on_done(active.pop(number))
                _begin(env, number, waiting, active, supervisor)


def _supervised(
    chosen: Float[ndarray, "B T D"], envs: Sequence[int], supervisor: Supervisor | None
) -> tuple[Float[ndarray, "B T D"], Bool[ndarray, " B"]]:
    """The chunks to be done, and which of them are the supervisor's."""
    actions, corrected = chosen.copy(), np.zeros(len(envs), bool)
    if supervisor is None:
        return actions, corrected
    for row, env in enumerate(envs):
        correction = supervisor.correction(env, chosen.shape[1])
        if correction is not None:
            actions[row], corrected[row] = correction, True
    return actions, corrected


EMPTY = ObservationBatch(np.zeros((0, 0), np.float32))


def row_of(observations: ObservationBatch, row: int) -> ObservationBatch:
    return ObservationBatch(
        observations.state[row : row + 1],
        {camera: images[row : row + 1] for camera, images in observations.images.items()},
        observations.instructions[row : row + 1],
    )


def _begin(
    env: ChunkEnv,
    number: int,
    waiting: list[tuple[int, TaskStart]],
    active: dict[int, Rollout],
    supervisor: Supervisor | None,
) -> None:
    if not waiting:
        return
    place, start = waiting.pop()
    env.reset([start], [number])
    if supervisor is not None:
        supervisor.begin(number)
    active[number] = Rollout(place, start)
