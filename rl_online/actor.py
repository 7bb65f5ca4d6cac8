"""`tandem rl act`: a world and the newest published weights in; episodes out, each handed to the learner. A process of
its own: it goes on acting while the learner is away, and hands over what is not acknowledged when it is back.
"""

from __future__ import annotations

import copy
import logging
import signal
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Annotated

import numpy as np
import torch
import tyro
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from hardware import artefact
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.episode import Source
from hardware.errors import BadInput
from rl_online.demos import draw
from rl_online.expansion.corrections import Corrector
from rl_online.expansion.expand import open_ways, paths_of
from rl_online.learning import embedding
from rl_online.learning.agent import take_weights
from rl_online.learning.env import ChunkEnv
from rl_online.learning.explorer import Explorer
from rl_online.learning.link import FIRST_PAUSE_S, FOR_ACTORS, LearnerLink, LearnerLost, RunSettings, patiently
from rl_online.learning.presets import preset
from rl_online.learning.process_reward import ProcessReward
from rl_online.learning.replay import Transitions, new_ids
from rl_online.learning.rollout import Rollout, Supervisor, run_episodes
from rl_online.starts.regions import PartName
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, open_world
from rl_online.worlds.stand_in import StandIn
from rl_online.worlds.tasks import task_in_twin
from vla.policy_file import load_policy
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)

NEXT_ROUND_S = 30.0
"""Where the learner left word that it has all that it waited for: the same run may be about to be gone on with."""


class ActOnline(Config):
    """Try a policy in a world and send what came of it to the learner of a run."""

    run: tyro.conf.Positional[Path]
    """The learner's run folder."""
    world: WorldChoice = WorldChoice()
    resets: Path | None = None
    """A reset plan (`tandem rl mine`): starts are drawn where the policy fails. Without: uniform over the regions."""
    helped: float = Field(default=0.0, ge=0, le=1)
    """Share of the episodes at which somebody looks on and takes over where the policy gets no further. On the bench it
    is a scripted stand-in for a person; in a twin, demonstrations (`ways`) bent to the way on. What it does is a
    correction, as a person's in `rl real`."""
    ways: Path | None = None
    """Demonstrations with the object's pose, as `tandem rl demos` records them. For `helped` in a twin."""
    turns: PositiveInt = 1
    """Of the object, in a twin: it looks the same after this part of a turn. As in `tandem rl expand`."""
    envs: PositiveInt = 2
    episodes: NonNegativeInt = 0
    """Stops after so many; 0: until the learner has enough."""
    most_behind: PositiveInt = 32
    """Chunks that the learner may have left to learn from; with more, acting pauses: what is tried later is of a better
    policy. An episode is some 25."""
    most_waiting: PositiveInt = 200
    """Episodes that may wait for the learner; then acting pauses."""
    patience_s: PositiveFloat = 600.0
    """The longest pause; then it stops, and says so."""
    threads: PositiveInt = 1
    """Of a processor, for the policy."""
    seed: NonNegativeInt | None = None
    """Of starts and exploration. None draws one: two actors of a run, or one that was started again, try other things.
    """
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class ActFigures(Config):
    """What an actor did."""

    world: str
    episodes: int
    successes: int
    env_steps: int
    chunks: int
    corrected: int
    """Chunks that whoever looked on did."""
    seconds: float
    unacknowledged: int


class Actor:
    """Acts, hands over, takes new weights; never waits without a limit."""

    def __init__(self, config: ActOnline, policy: TandemVLA, env: ChunkEnv, source: Source) -> None:
        self.config, self.policy, self.env = config, policy, env
        seed = int(new_ids(1)[0]) if config.seed is None else config.seed
        self.reference = copy.deepcopy(policy)
        self.source: Source = source
        self.link = LearnerLink(config.run)
        self.explorer = Explorer(policy, seed)
        self.waiting: deque[Transitions] = deque()
        self.have = -1
        self.stopped = False
        self.episodes = self.successes = self.env_steps = self.chunks = self.corrected = 0
        self._supervisor = open_supervisor(config, env, seed)
        self._rng = np.random.default_rng(seed)
        self._plan = configs.read(ResetPlan, config.resets) if config.resets else None

    @property
    def over(self) -> bool:
        return self.stopped or self.link.finished or 0 < self.config.episodes <= self.episodes

    def act(self) -> None:
        self.await_learner()
        self.await_learning()
        while not self.over:
            starts = [self.draw_start() for _ in range(self.env.n_envs)]
            run_episodes(self.env, self.explorer, starts, 0, self.take, keep=True, supervisor=self._supervisor)
            self.hand_over()
            self.take_weights()
            self.await_learning()
        self.last_words()

    def await_learner(self) -> None:
        """Until its offline stage is over: what is tried before is of no better policy. Not for ever."""
        began_s = time.monotonic()

        def is_enough() -> bool:
            return self.stopped or (self.link.finished and time.monotonic() > began_s + NEXT_ROUND_S)

        if not patiently(lambda: self.link.weights(self.have), began_s + self.config.patience_s, is_enough):
            if self.link.finished:
                log.warning("the learner has finished; more --transitions for `tandem rl learn` go on with its run")
            elif not self.stopped:
                log.warning("no learner in %.0f s: acting without", self.config.patience_s)
        self.take_weights()

    def await_learning(self) -> None:
        """Until the learner is not too far behind, or away; not for ever."""
        until_s = time.monotonic() + self.config.patience_s
        while self.link.behind > self.config.most_behind and not self.over:
            if time.monotonic() > until_s:
                log.warning("the learner is %d chunks behind: acting all the same", self.link.behind)
                return
            time.sleep(FIRST_PAUSE_S)
            self.hand_over()
            self.take_weights()

    def draw_start(self) -> TaskStart:
        if self._plan is not None:
            return self._plan.draw(self._rng)[1]
        parts = self.env.world.sheet.parts
        names: list[PartName] = list(dict.fromkeys(name for name, _ in parts))
        return draw(parts, names[int(self._rng.integers(len(names)))], self._rng)

    def take(self, rollout: Rollout) -> None:
        """A finished episode joins those that wait for the learner."""
        rows = embedding.of_rollout(rollout, self.reference, self.source, self.env.gamma, int(new_ids(1)[0]))
        self.waiting.append(rows)
        self.episodes += 1
        self.successes += rollout.success
        self.env_steps += rollout.steps
        self.chunks += len(rollout.chunks)
        self.corrected += int(rollout.corrected.sum())
        log.info("episode %d: %s", self.episodes, "success" if rollout.success else "no success")

    def hand_over(self) -> None:
        """What waits goes to the learner, oldest first; where it is away, acting goes on while there is room."""
        full = len(self.waiting) >= self.config.most_waiting
        until_s = time.monotonic() + (self.config.patience_s if full else 0.0)
        while self.waiting:
            if not patiently(lambda: self.link.add(self.waiting[0]), until_s, lambda: self.stopped):
                if full:
                    log.warning("the learner stayed away for %.0f s: stopping", self.config.patience_s)
                    self.stopped = True
                return
            self.waiting.popleft()

    def take_weights(self) -> None:
        """The newest, if there are any and the learner answers; otherwise it acts with what it has."""
        try:
            newer = self.link.weights(self.have)
        except LearnerLost:
            return
        if newer is not None:
            self.have = newer[0]
            take_weights(self.policy, newer[1])

    def last_words(self) -> None:
        """A few seconds more for what is not acknowledged."""
        until_s = time.monotonic() + 5.0
        while self.waiting and patiently(lambda: self.link.add(self.waiting[0]), until_s, lambda: False):
            self.waiting.popleft()
        self.link.close()


def open_supervisor(config: ActOnline, env: ChunkEnv, seed: int) -> Supervisor | None:
    """None where nobody is asked to look on. Raises `BadInput` where a twin has no demonstrations to bend."""
    world = env.world
    if config.helped == 0:
        if config.ways is not None:
            raise BadInput("--ways are for whoever helps, and nobody does", "--helped 0.5, or leave out --ways")
        return None
    if isinstance(world, BenchWorld):
        return StandIn(world, config.helped, seed)
    if config.ways is None:
        raise BadInput(
            f"nobody can help in {world.label} without demonstrations to bend", "name them: --ways DEMOS"
        )
    paths = paths_of(config.ways, config.world.arm, world.sheet.object_name)
    ways = open_ways(config.world.arm, world, paths, turns=config.turns)
    return Corrector(world, ways, env.execute_steps, config.helped, seed)


def require_paid_alike(process: ProcessReward, world: WorldChoice) -> None:
    """Raises `BadInput` where the learner pays demonstrations for the progress of another task than this world's."""
    if process.weight and task_in_twin(process.task, process.arm) != task_in_twin(world.task, world.arm):
        raise BadInput(
            f"the learner pays for progress in '{process.task}', this world's task is '{world.task}'",
            f"tandem rl learn --process.task {world.task}",
        )


def act(config: ActOnline) -> int:
    """The verb. Exit code 4 when episodes are left that the learner never took."""
    began = time.monotonic()
    torch.set_num_threads(config.threads)
    settings = configs.read(RunSettings, config.run / FOR_ACTORS)
    policy = load_policy(settings.policy)
    algorithm = settings.process.laid_on(preset(settings.preset))
    require_paid_alike(settings.process, config.world)
    world = open_world(config.world, config.envs)
    env = ChunkEnv(world, policy.interface, algorithm.rewards, algorithm.gamma)
    actor = Actor(config, policy, env, "policy")

    def stop(number: int, frame: FrameType | None) -> None:
        actor.stopped = True

    signal.signal(signal.SIGTERM, stop)
    try:
        actor.act()
    finally:
        env.close()
    figures = ActFigures(
        world=world.label,
        episodes=actor.episodes,
        successes=actor.successes,
        env_steps=actor.env_steps,
        chunks=actor.chunks,
        corrected=actor.corrected,
        seconds=time.monotonic() - began,
        unacknowledged=len(actor.waiting),
    )
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    print(
        f"{figures.successes} of {figures.episodes} episodes succeeded, {figures.env_steps} steps in {world.label}"
    )
    return 4 if actor.waiting else 0
