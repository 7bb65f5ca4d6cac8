"""What happens beside the robot in a guided run, one process (`rl_online.real.process coach`).

It sends finished episodes from the recorder's store to the learner, seeds the replay with twin successes, asks the gate
about new weights, and re-creates failures in the twin. All it has done lies in the run folder, so it may be killed at
any moment: what it does again then changes nothing.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from hardware import announcement, artefact
from hardware import config as configs
from hardware.announcement import EpisodeResult
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.messages import NANOSECONDS_PER_SECOND
from rl_online.learning import embedding
from rl_online.learning.agent import as_bytes, take_weights
from rl_online.learning.env import ChunkEnv
from rl_online.learning.explorer import Explorer
from rl_online.learning.link import LearnerLink, LearnerLost
from rl_online.learning.presets import preset
from rl_online.lines import add_line, read_models
from rl_online.real import recreate as real_recreate
from rl_online.real import transitions
from rl_online.real.config import (
    EPISODES,
    LEARNER,
    PLAN,
    RECREATED,
    SENT,
    SETTINGS,
    SETTLED,
    STARTS,
    GuideReal,
    PreparedStart,
)
from rl_online.real.gate import Settled, WeightGate, acting_weights, is_due
from rl_online.real.learner import reference_of, start_of
from rl_online.real.recreate import Recreated
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.open_world import open_world
from vla.policy_file import load_policy

log = logging.getLogger(__name__)

ROUND_S = 1.0
ROBOT = "robot"
"""The key of what the cell's own recorder wrote."""


class SentEpisode(Config):
    """One line of sent.jsonl: acknowledged by the learner."""

    key: str
    number: int
    chunks: int
    corrections: int


@dataclass(eq=False)
class Coach:
    run: Path
    config: GuideReal

    def __post_init__(self) -> None:
        self.algorithm = preset(self.config.preset)
        self.policy, self.reference = load_policy(start_of(self.config)), load_policy(reference_of(self.config))
        self.initial = as_bytes(embedding.learned(self.policy))
        self.link = LearnerLink(self.run / LEARNER)
        self.plan = configs.read(ResetPlan, self.config.plan)
        world = open_world(self.config.world, 1)
        self.env = ChunkEnv(world, self.policy.interface, self.algorithm.rewards, self.algorithm.gamma)
        self.gate = WeightGate(self.run, self.policy, self.env, self.plan, self.config.gate, self.config.seed)
        self.have = -1

    def coach(self) -> None:
        while True:
            time.sleep(ROUND_S)
            try:
                self.seed()
                self.send()
                self.ask_gate()
            except LearnerLost as lost:
                log.debug("%s", lost)
            self.recreate()

    # ── to the learner ──────────────────────────────────────────────────────────────────────────────────────

    def seed(self) -> None:
        """Twin successes join what was tried, before anything of the robot."""
        left = self.config.seed_successes
        for store in self.config.twin_successes:
            won = [one for one in EpisodeStore.open(store).finished() if one.manifest.success]
            for episode in won[:left]:
                self._send_one(episode, f"twin/{store.resolve()}", twin=True)
            left -= len(won[:left])

    def send(self) -> None:
        store = self.run / EPISODES
        if not (store / "zarr.json").is_file():
            return
        for episode in EpisodeStore.open(store).finished():
            self._send_one(episode, ROBOT, twin=False)

    def _send_one(self, episode: StoredEpisode, key: str, twin: bool) -> None:
        """Once: what is acknowledged is written down, and what is sent twice the replay knows by its ids."""
        if (key, episode.number) in self._sent():
            return
        rows = transitions.of_episode(
            episode, self.reference, self.algorithm, key, self.config.stride, "twin" if twin else None
        )
        if rows is not None:
            self.link.add(rows)
        count = 0 if rows is None else len(rows)
        corrections = 0 if rows is None or twin else int(rows.is_correction.sum())
        line = SentEpisode(key=key, number=episode.number, chunks=count, corrections=corrections)
        add_line(self.run / SENT, line)
        log.info("%s episode %d: %d chunks, %d of them corrections", key, episode.number, count, corrections)

    def _sent(self) -> set[tuple[str, int]]:
        return {(line.key, line.number) for line in read_models(self.run / SENT, SentEpisode)}

    # ── from the learner ────────────────────────────────────────────────────────────────────────────────────

    def ask_gate(self) -> None:
        """After every few episodes, about the newest weights."""
        episodes = len(announcement.results(self.run))
        if not is_due(self.run, self.config.gate.every_episodes, episodes):
            return
        newer = self.link.weights(self.have)
        if newer is None:
            artefact.write_model(self.run / SETTLED, Settled(after_episodes=episodes))
            return
        self.have = newer[0]
        said = self.gate.judge(newer[0], newer[1], acting_weights(self.run, self.initial), episodes)
        words = "goes to the robot" if said.accepted else f"is refused: {said.why}"
        tried = ", ".join(f"{part} {one.successes}/{one.trials}" for part, one in said.outcomes.items())
        log.info("version %d %s (twin: %s)", said.version, words, tried)

    # ── back into the twin ──────────────────────────────────────────────────────────────────────────────────

    def recreate(self) -> None:
        """One failure at a time, so that nothing else waits for long."""
        done = read_models(self.run / RECREATED, Recreated)
        failed = [result for result in announcement.results(self.run) if result.success is False]
        left = [result for result in failed if result.episode not in {one.episode for one in done}]
        if not left or self.config.recreate == 0:
            return
        starts = {line.episode: line for line in read_models(self.run / STARTS, PreparedStart)}
        known = ((stored_of(self.run, result), starts.get(result.episode)) for result in left)
        stored, start = next(((a, b) for a, b in known if a is not None and b is not None), (None, None))
        if stored is None or start is None:  # the recorder was away in all of them
            return
        take_weights(self.policy, acting_weights(self.run, self.initial))
        sent = real_recreate.sent_rows(stored.sent, stored.index.sent_row)
        found = real_recreate.recreate(
            self.env, Explorer(self.policy, start.episode), start.episode, start.seen, sent,
            self.config.recreate, self.config.seed,
        )  # fmt: skip
        add_line(self.run / RECREATED, found)
        artefact.write_model(self.run / PLAN, real_recreate.grown(self.plan, [*done, found]))
        said = "succeed" if found.replay_succeeded else "fail"
        log.info(
            "episode %d in the twin: its commands %s there; the policy %d/%d from its start",
            found.episode, said, found.successes, found.rollouts,
        )  # fmt: skip


def stored_of(run: Path, result: EpisodeResult) -> StoredEpisode | None:
    """The recording of a judged episode; None while it is not finished, or where the recorder was away."""
    end_ns = result.began_ns + round(result.duration_s * NANOSECONDS_PER_SECOND)
    for episode in EpisodeStore.open(run / EPISODES).finished():
        if len(episode) and result.began_ns <= int(episode.index.stamp_ns[0]) < end_ns:
            return episode
    return None


def run_for(run: Path) -> int:
    """In `rl_online.real.process`, until it is interrupted."""
    torch.set_num_threads(1)
    Coach(run, configs.read(GuideReal, run / SETTINGS)).coach()
    return 0
