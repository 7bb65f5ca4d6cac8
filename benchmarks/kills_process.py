"""One process of `benchmarks/kills.py`: `kills_process.py learner|plant|twin|recorder FOLDER`.

The real learner, actor, twin and recorder code; beside them each writes down what was acknowledged to it, so that it
can be looked for afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.store import EpisodeStore
from rl_online.actor import ActOnline, Actor
from rl_online.learning.env import ChunkEnv
from rl_online.learning.learner import LearnOnline, learn
from rl_online.learning.link import FOR_ACTORS, LearnerLink
from rl_online.learning.presets import preset
from rl_online.learning.replay import Transitions
from rl_online.worlds.open_world import WorldChoice, open_world
from vla.policy_file import load_policy

TRANSITIONS = "transitions.txt"
EPISODE_STEPS = 40
"""Short, so that many are handed over."""
ROW_NS = 10_000_000
ROWS_PER_EPISODE = 400


class NotedLink(LearnerLink):
    """Writes the ids of each acknowledged row into a file of its own process."""

    def __init__(self, folder: Path, notes: Path) -> None:
        super().__init__(folder, timeout_s=20.0)
        self._notes = notes.open("a", encoding="utf-8")

    def add(self, rows: Transitions) -> None:
        super().add(rows)
        self._notes.write("".join(f"{one}\n" for one in rows.id.tolist()))
        self._notes.flush()


def learner(folder: Path) -> int:
    wanted = int((folder / TRANSITIONS).read_text())
    return learn(
        LearnOnline(
            policy=folder / "policy",
            output=folder / "run",
            demos=(folder / "demos",),
            offline_steps=2,
            transitions=wanted,
            checkpoint_every_s=1.0,
            publish_every=5,
            idle_timeout_s=300,
        )
    )


def actor(folder: Path, role: str) -> int:
    while not (folder / "run" / FOR_ACTORS).is_file():
        time.sleep(0.2)
    choice = WorldChoice(bundle=folder / "twin" if role == "twin" else None)
    acting = load_policy(folder / "policy")
    algorithm = preset("twinrl")
    env = ChunkEnv(open_world(choice, 1), acting.interface, algorithm.rewards, algorithm.gamma)
    env.limit_steps = EPISODE_STEPS
    config = ActOnline(run=folder / "run", world=choice, envs=1, seed=os.getpid(), patience_s=300)
    one = Actor(config, acting, env, "policy")
    one.link = NotedLink(folder / "run", folder / f"acknowledged_{role}_{os.getpid()}.txt")
    one.act()
    env.close()
    return 4 if one.waiting else 0


def recorder(folder: Path) -> int:
    """Episodes of numbered rows until somebody writes STOP; the last words about each are what was acknowledged."""
    store, mark = folder / "store", folder / f"recorder_{os.getpid()}.txt"
    while not (folder / "STOP").is_file():
        recording = Recording(store, "count", [], ["a", "b"], config=RecordingConfig(commit_every_s=0.02))
        number = int(recording.folder.name)
        with (folder / f"rows_{number}.jsonl").open("a", encoding="utf-8") as notes:
            for row in range(ROWS_PER_EPISODE):
                recording.joint((row + 1) * ROW_NS, np.array([row, number], float))
                recording.sent((row + 1) * ROW_NS, np.array([row, number], float), "policy")
                notes.write(json.dumps(recording.acknowledged()) + "\n")
                notes.flush()
                if row == 50:
                    mark.write_text("at work\n")
                time.sleep(0.01)
        recording.finish(True)
    for left in EpisodeStore.open(store).seal_interrupted():
        print(f"episode {left.number} was interrupted", flush=True)
    return 0


def main() -> int:
    torch.set_num_threads(1)
    role, folder = sys.argv[1], Path(sys.argv[2])
    if role == "learner":
        return learner(folder)
    return recorder(folder) if role == "recorder" else actor(folder, role)


if __name__ == "__main__":
    raise SystemExit(main())
