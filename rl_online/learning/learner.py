"""`tandem rl learn`: demonstrations and what actors tried in; better weights out. A process of its own.

It may be killed at any moment: acknowledged transitions are on disk, the agent's state is a checkpoint, and the same
command goes on from both. Actors find it again by themselves.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch.utils.tensorboard import SummaryWriter

from hardware import artefact
from hardware.config import Config
from hardware.episode import Source
from hardware.errors import BadInput
from hardware.progress import progress
from rl_online.learning import embedding, inheritance
from rl_online.learning.agent import Agent, Stage, take_weights
from rl_online.learning.inheritance import tried_in
from rl_online.learning.link import FOR_ACTORS, LearnerServer, RunSettings, begin_anew
from rl_online.learning.presets import Algorithm, PresetName, preset
from rl_online.learning.process_reward import ProcessReward, ProgressJudge
from rl_online.learning.replay import CORRECTING, Mixture, Replay, Transitions, read_all
from rl_online.learning.run_folder import CHECKPOINT, DEMOS, FIGURES, ONLINE, POLICY, SEEDS, SETTINGS
from vla.demonstrations import (
    Demonstrations,
    cameras_of,
    open_demonstrations,
    require_usable,
    with_state,
)
from vla.policy_file import load_policy, save_policy
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)

IDLE_S = 0.02
LOG_EVERY = 10


class LearnOnline(Config):
    """Train a policy and a chunk critic from demonstrations and from what `tandem rl act` sends."""

    policy: tyro.conf.Positional[Path]
    """Folder of the policy to start from, as `tandem vla sft` leaves it (RUN/policy)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: demos/ and online/ (the replay), agent.safetensors, policy/, tensorboard/."""
    demos: tuple[Path, ...] = Field(min_length=1)
    """Episode stores or LeRobot datasets of demonstrations, by a person or whoever stands in for one."""
    twin_demos: tuple[Path, ...] = ()
    """The same, made in the twin (`tandem rl expand`)."""
    inherit: Path | None = None
    """A run from the same policy, in the twin: its acting weights and critics are gone on with, and some of its
    episodes are among what was tried before this run's first."""
    inherit_successes: NonNegativeInt = 20
    """The newest of them, those that somebody helped to included. 20 successes and no failure is the best of TwinRL's
    ablation."""
    inherit_failures: NonNegativeInt = 0
    inherit_shown: bool = True
    """What the other run was shown is shown in this one, too: its demonstrations, and what whoever helped there did."""
    preset: PresetName = "twinrl"
    process: ProcessReward = ProcessReward()
    """Pay for progress, too; the actors take it from the run."""
    offline_steps: int = Field(default=-1, ge=-1)
    """Critic updates before anything is tried; −1: as the preset has it."""
    transitions: NonNegativeInt = 2000
    """Chunks to be tried in all, half of each done before the next. 0: offline alone."""
    demo_stride: PositiveInt = 2
    """Steps between the chunks cut from a demonstration. With two cameras each takes 60 kB of memory and of disk."""
    publish_every: PositiveInt = 20
    """Critic updates between two versions of the acting weights."""
    checkpoint_every_s: PositiveFloat = 20.0
    port: int = Field(default=0, ge=0, lt=65536)
    """0 picks a free one."""
    idle_timeout_s: PositiveFloat = 600.0
    """Without any actor for so long, it stops; the same command goes on."""
    threads: PositiveInt = 1
    """Of a processor. An actor beside it wants a core, too: two of each on two cores mostly wait for one another."""
    seed: NonNegativeInt = 0
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None

    @property
    def algorithm(self) -> Algorithm:
        chosen = self.process.laid_on(preset(self.preset))
        return chosen if self.offline_steps < 0 else chosen.but(offline_steps=self.offline_steps)


class LearnFigures(Config):
    """What a learner did."""

    preset: str
    seed: int
    demonstrations: int
    """Chunks in the demonstrations' half, corrections included."""
    online: int
    corrections: int
    critic_updates: int
    actor_updates: int
    version: int
    seconds: float
    finished: bool


def learn(config: LearnOnline) -> int:
    """The verb. Exit code 0 when all transitions have come, 4 when the actors stayed away."""
    began = time.monotonic()
    begin_anew(config.output)
    torch.set_num_threads(config.threads)
    policy = load_policy(config.policy)
    given = opened(config, policy)
    require_inheritable(config)
    _begin(config)
    learner = Learner(config, policy)
    try:
        learner.fill_demos(given)
        learner.go_offline()
        finished = config.transitions == 0 or learner.go_online()
        learner.keep()
        take_weights(policy, learner.agent.published())
        save_policy(policy, config.output / POLICY)
    finally:
        learner.close()
    figures = learner.figures(time.monotonic() - began, finished)
    artefact.write_model(config.output / FIGURES, figures)
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    print(
        f"{figures.critic_updates} critic updates on {figures.demonstrations} demonstrated and {figures.online} tried "
        f"chunks ({figures.corrections} corrections); policy: {config.output / POLICY}"
    )
    return 0 if finished else 4


@dataclass(frozen=True, eq=False)
class Given:
    """Demonstrations with the columns that the policy reads."""

    folder: Path
    source: Source
    shown: Demonstrations
    whole: Demonstrations
    """With all columns that were recorded."""


def opened(config: LearnOnline, policy: TandemVLA) -> list[Given]:
    """Raises `BadInput` for what is no dataset, and for one that does not fit the policy."""
    scripted: list[tuple[Path, Source]] = [(folder, "scripted") for folder in config.demos]
    twins: list[tuple[Path, Source]] = [(folder, "twin") for folder in config.twin_demos]
    found, interface = [], policy.interface
    for folder, source in scripted + twins:
        whole = open_demonstrations(folder, folder.name)
        shown = with_state(whole, interface.state_names)
        layout = shown.layout
        require_usable(shown, interface.horizon_steps, interface.language)
        cameras_of([shown], interface.cameras)
        if layout.action_names != interface.action_names or layout.rate_hz != interface.rate_hz:
            raise BadInput(
                f"{folder} has {', '.join(layout.action_names)} at {layout.rate_hz:g} Hz, the policy "
                f"{', '.join(interface.action_names)} at {interface.rate_hz:g} Hz",
                "give demonstrations of the arm and rate that the policy was trained for",
            )
        found.append(Given(folder, source, shown, whole))
    return found


def require_inheritable(config: LearnOnline) -> None:
    """Raises `BadInput` where a run that has not begun cannot take what it is told to from another."""
    if config.inherit is not None and not (config.output / CHECKPOINT).is_file():
        inheritance.require(config.inherit, config.algorithm, config.inherit_successes, config.inherit_failures)


class Learner:
    """A `Desk`: connections add to the replay, the main thread learns from it."""

    def __init__(self, config: LearnOnline, policy: TandemVLA) -> None:
        self.config = config
        self.agent = Agent(policy, config.algorithm, config.seed)
        shape = self.agent.shape
        self.mixture = Mixture(
            Replay(config.output / DEMOS, shape),
            Replay(config.output / ONLINE, shape),
            None if config.inherit is None else Replay(config.output / SEEDS, shape),
        )
        if (config.output / CHECKPOINT).is_file():
            self.agent.restore(config.output / CHECKPOINT)
            log.info("goes on from update %d", self.agent.progress.critic_updates)
        elif config.inherit is not None:
            self._inherit(config.inherit)
            self.agent.save(config.output / CHECKPOINT)  # the other run may have gone on by the next start
        self._lock = threading.Lock()
        self._published = (self.agent.progress.version, self.agent.published())
        self._saved_s = self._heard_s = time.monotonic()
        self._corrections = int(np.isin(self.mixture.online.column("source"), CORRECTING).sum())
        self.board = SummaryWriter(
            str(config.output / "tensorboard"), purge_step=self.agent.progress.critic_updates
        )

    def _inherit(self, run: Path) -> None:
        """Raises `BadInput` where it began with another policy; the rest `require_inheritable` has looked at."""
        assert self.mixture.seeds is not None
        self.agent.inherit(run / CHECKPOINT)
        self.mixture.seeds.add(tried_in(run, self.config.inherit_successes, self.config.inherit_failures))
        shown = self.mixture.demos.add(read_all(run / DEMOS)) if self.config.inherit_shown else 0
        log.info("inherited from %s: %d chunks tried, %d shown", run, len(self.mixture.seeds), shown)

    # ── what actors ask (their threads) ─────────────────────────────────────────────────────────────────────

    def add(self, rows: Transitions) -> int:
        with self._lock:
            added = self.mixture.add(rows)
            self._heard_s = time.monotonic()
            self._corrections += int(rows.is_correction.sum()) if added == len(rows) else 0
        return added

    def newest(self) -> tuple[int, bytes]:
        self._heard_s = time.monotonic()
        return self._published

    @property
    def version(self) -> int:
        return self._published[0]

    @property
    def behind(self) -> int:
        agent, tried = self.agent.progress, min(len(self.mixture.online), self.config.transitions)
        done = (agent.critic_updates - agent.offline_updates) / self.config.algorithm.updates_per_transition
        return max(0, math.ceil(tried - done))

    @property
    def finished(self) -> bool:
        return len(self.mixture.online) >= self.config.transitions > 0

    # ── learning (the main thread) ──────────────────────────────────────────────────────────────────────────

    def fill_demos(self, given: Sequence[Given]) -> None:
        """Demonstrations into their replay; what is there already is not added again."""
        agent, algorithm, stride = self.agent, self.config.algorithm, self.config.demo_stride
        judge = ProgressJudge(self.config.process) if algorithm.rewards.progress else None
        for one in given:
            for number in range(len(one.shown)):
                shown = one.shown[number]
                key = f"{embedding.fingerprint(shown)}/{agent.shape.embedding}"
                ids = embedding.demonstrated_ids(key, len(shown), stride)
                if all(self.mixture.demos.has(one) for one in ids.tolist()):
                    continue
                columns, states = one.whole.layout.state_names, one.whole[number].state
                progress_of_it = None if judge is None else judge.progress(columns, states)
                self.mixture.demos.add(
                    embedding.of_demonstration(
                        shown, agent.reference, algorithm, one.source, key, stride, progress_of_it
                    )
                )
        log.info("%d demonstrated chunks", len(self.mixture.demos))

    def go_offline(self) -> None:
        wanted, done = self.config.algorithm.offline_steps, self.agent.progress.offline_updates
        with progress("offline updates", wanted, min(done, wanted)) as advance:
            while self.agent.progress.offline_updates < wanted:
                self.update("offline")
                self._keep_now_and_then()
                advance("")
        self.publish()
        self.keep()

    def go_online(self) -> bool:
        """Until all transitions have come and were learned from; False when nobody has been heard for too long."""
        server = LearnerServer(self, self.config.output, self.config.port)
        log.info("actors may come: tandem rl act %s", self.config.output)
        wanted = self.config.transitions
        self._heard_s = time.monotonic()
        try:
            with progress("chunks tried", wanted, min(len(self.mixture.online), wanted)) as advance:
                shown = min(len(self.mixture.online), wanted)
                while True:
                    self._learn_once()
                    have = min(len(self.mixture.online), wanted)
                    for _ in range(have - shown):
                        advance("")
                    shown = have
                    if self.finished and not self.behind:
                        time.sleep(3 * IDLE_S)  # actors hear of it with the answer that is under way
                        return True
                    if not self.finished and time.monotonic() - self._heard_s > self.config.idle_timeout_s:
                        return False
        finally:
            server.close()

    def _learn_once(self) -> None:
        """One update, unless the learner is ahead of what was tried; then a short rest."""
        if not self.behind:
            time.sleep(IDLE_S)
            return
        self.update("online")
        if self.agent.progress.critic_updates % self.config.publish_every == 0:
            self.publish()
        self._keep_now_and_then()

    def _keep_now_and_then(self) -> None:
        if time.monotonic() - self._saved_s > self.config.checkpoint_every_s:
            self.keep()

    def update(self, stage: Stage) -> None:
        """The draw is a function of the update's number."""
        number = self.agent.progress.critic_updates
        rng = np.random.default_rng([self.config.seed, number])
        with self._lock:
            batch = self.mixture.sample(self.config.algorithm.batch, rng)
        figures = self.agent.update(batch, stage)
        if (number + 1) % LOG_EVERY == 0:  # an update of the actor, too, where that is of every other one
            for name, value in figures.items():
                self.board.add_scalar(f"{stage}/{name}", value, number)

    def publish(self) -> None:
        progress_now = self.agent.progress
        self.agent.progress = progress_now.but(version=progress_now.version + 1)
        self._published = (self.agent.progress.version, self.agent.published())

    def keep(self) -> None:
        self.agent.save(self.config.output / CHECKPOINT)
        self._saved_s = time.monotonic()

    def figures(self, seconds: float, finished: bool) -> LearnFigures:
        agent = self.agent.progress
        return LearnFigures(
            preset=self.config.preset,
            seed=self.config.seed,
            demonstrations=len(self.mixture.demos),
            online=len(self.mixture.online),
            corrections=self._corrections,
            critic_updates=agent.critic_updates,
            actor_updates=agent.actor_updates,
            version=agent.version,
            seconds=seconds,
            finished=finished,
        )

    def close(self) -> None:
        self.board.close()
        self.mixture.close()


def _begin(config: LearnOnline) -> None:
    """Actors read the settings; a run of other settings is not gone on with."""
    config.output.mkdir(parents=True, exist_ok=True)
    file = config.output / SETTINGS
    free = {"output", "json_file", "port", "threads", "transitions"}
    if config.process.weight == 0:
        free |= {"process"}  # a run from before there were any goes on
    if config.inherit is None or not config.inherit_shown:
        free |= {"inherit_shown"}  # as above
    settings = config.model_dump_json(indent=2, exclude=free) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != settings:
        raise BadInput(f"{config.output} is a run of other settings", "name a new --output")
    artefact.write_text(file, settings)
    artefact.write_model(
        config.output / FOR_ACTORS,
        RunSettings(policy=config.policy.absolute(), preset=config.preset, process=config.process.anywhere()),
    )
