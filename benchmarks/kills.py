"""`kill -9` of learner, actor, twin worker and recorder at random moments, in one run; then everything is counted.

    .venv/bin/python benchmarks/kills.py [--kills 20] [--transitions 60] [--seed 0] [--json FILE] [--quick]

Four processes: the learner; an actor on the simulated plant; an actor in a twin made by ruler; a recorder. Each is
started again by the same command after a kill. Passed: the learner ends by itself; every id that was acknowledged to
an actor lies in the replay; none lies there twice; every row that was acknowledged by the recorder lies in the store,
once, as it was; nobody is waited for longer than the deadline.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.compare import write_twin
from benchmarks.kills_process import TRANSITIONS
from benchmarks.rl_core import policy
from hardware import artefact
from hardware import config as configs
from hardware.bench.arm_models import SO101
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.learning.link import ADDRESS, Address
from rl_online.learning.replay import Replay, read_segment, segments
from vla.backbone import Architecture
from vla.policy_file import save_policy

ROLES = ("learner", "plant", "twin", "recorder")
SMALL = Architecture(width=32, heads=2, readers=1, context_layers=1, token_layers=1, consistency_layers=1)
UNTAKEN = 4
"""An actor's exit code when the learner left while episodes were waiting for it."""
ENDLESS = 1_000_000
AT_ONCE = 0.001
"""Chance, twenty times a second, that the next kill does not wait until all are at work again: starts are hit too."""
SCRIPT = Path(__file__).with_name("kills_process.py")


class KillFigures(Config):
    """What became of it."""

    kills: dict[str, int]
    started: dict[str, int]
    seconds: float
    acknowledged: int
    in_replay: int
    lost: int
    twice: int
    rows_acknowledged: int
    rows_lost: int
    rows_wrong: int
    """Stored rows that are not what was offered under their number, repeated ones included."""
    episodes: int
    finished: bool
    """The learner ended by itself, with all that was asked of it, before the deadline."""

    @property
    def passed(self) -> bool:
        return self.finished and self.lost == self.twice == self.rows_lost == self.rows_wrong == 0


@dataclass(eq=False)
class Cast:
    """The processes; one that is gone is started again."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: Counter[str] = field(default_factory=Counter)

    def ensure(self) -> None:
        for role in ROLES:
            if role not in self.running or (self.running[role].poll() not in (None, 0)):
                self._start(role)

    def kill(self, role: str) -> bool:
        """False when it is not there to be killed."""
        process = self.running.get(role)
        if process is None or process.poll() is not None:
            return False
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return True

    def _start(self, role: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.folder / f"{role}.log").open("ab") as words:
            self.running[role] = subprocess.Popen(
                [sys.executable, str(SCRIPT), role, str(self.folder)],
                stdout=words,
                stderr=words,
                env=environment,
                start_new_session=True,
            )
        self.started[role] += 1

    @property
    def at_work(self) -> bool:
        """All four have done something since they were started last."""
        pids = {role: process.pid for role, process in self.running.items()}
        address = self.folder / "run" / ADDRESS
        if not address.is_file() or configs.read(Address, address).process != pids["learner"]:
            return False
        notes = [self.folder / f"acknowledged_{role}_{pids[role]}.txt" for role in ("plant", "twin")]
        rows = self.folder / f"recorder_{pids['recorder']}.txt"
        return rows.is_file() and all(file.is_file() and file.stat().st_size for file in notes)


def prepare(folder: Path) -> None:
    """A small untrained policy, one demonstration, a twin."""
    made = policy(SO101.joints, "block", architecture=SMALL)
    save_policy(made, folder / "policy")
    names = made.interface.state_names
    log = EpisodeLog(names, made.interface.action_names, made.interface.rate_hz)
    for step in range(30):
        log.states.append(np.full(len(names), 0.01 * step))
        log.actions.append(np.full(len(made.interface.action_names), 0.01 * step))
    store_episode(log, folder / "demos", "push", "scripted", True, (), "made up")
    write_twin(folder / "twin")
    artefact.write_text(folder / TRANSITIONS, f"{ENDLESS}\n")


def run(folder: Path, kills: int, transitions: int, seed: int, deadline_s: float) -> KillFigures:
    """Everything above. The moments and victims follow from the seed."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    prepare(folder)
    others = rng.permutation([ROLES[number % len(ROLES)] for number in range(1, kills)]).tolist()
    victims = ["learner", *others]  # taken from the end: the last to go comes back with the number to stop at
    done: Counter[str] = Counter()
    cast = Cast(folder)
    cast.ensure()
    due_s: float | None = None
    try:
        while time.monotonic() - began < deadline_s:
            if victims and due_s is None and (cast.at_work or rng.random() < AT_ONCE):
                due_s = time.monotonic() + rng.uniform(0.1, 6.0)
            if victims and due_s is not None and time.monotonic() > due_s and cast.kill(victims[-1]):
                done[victims.pop()] += 1
                print(f"{time.monotonic() - began:6.1f} s: kill {done.total()} of {kills}", flush=True)
                due_s = None
                if not victims:  # only now is there an end to come to
                    artefact.write_text(folder / TRANSITIONS, f"{stored_count(folder) + transitions}\n")
            if cast.running["learner"].poll() == 0:
                break
            cast.ensure()
            time.sleep(0.05)
        finished = cast.running["learner"].poll() == 0 and not victims
        artefact.write_text(folder / "STOP", "\n")
        for role in ("plant", "twin", "recorder"):
            finished &= cast.running[role].wait(60) in (0, UNTAKEN)
    finally:
        for process in cast.running.values():
            process.kill()
            process.wait()
    return counted(folder, done, cast.started, finished, time.monotonic() - began)


def counted(
    folder: Path, kills: Counter[str], started: Counter[str], finished: bool, seconds: float
) -> KillFigures:
    notes = [file.read_text().splitlines() for file in sorted(folder.glob("acknowledged_*.txt"))]
    acknowledged = {int(line) for lines in notes for line in lines if line}
    stored = stored_ids(folder / "run" / "online")
    rows_acknowledged, rows_lost, rows_wrong, episodes = recorded(folder)
    return KillFigures(
        kills=dict(kills),
        started=dict(started),
        seconds=round(seconds, 1),
        acknowledged=len(acknowledged),
        in_replay=len(stored),
        lost=len(acknowledged - set(stored)),
        twice=len(stored) - len(set(stored)),
        rows_acknowledged=rows_acknowledged,
        rows_lost=rows_lost,
        rows_wrong=rows_wrong,
        episodes=episodes,
        finished=finished,
    )


def stored_count(folder: Path) -> int:
    return len(stored_ids(folder / "run" / "online"))


def stored_ids(folder: Path) -> list[int]:
    """As they lie on disk, segment by segment."""
    shape = Replay.shape_of(folder)
    return [one for segment in segments(folder) for one in read_segment(segment, shape).id.tolist()]


def recorded(folder: Path) -> tuple[int, int, int, int]:
    """Rows acknowledged, lost, wrong; and episodes, over joint states and commands."""
    store = EpisodeStore.open(folder / "store")
    acknowledged = lost = wrong = 0
    for episode in store.episodes():
        lines = (folder / f"rows_{episode.number}.jsonl").read_text().splitlines()
        promised = [json.loads(line) for line in lines if line.endswith("}")]
        last = promised[-1] if promised else {}
        for name, values in (("joints", episode.q_rad), ("sent", episode.sent)):
            count = int(last.get(name, 0))
            acknowledged += count
            lost += max(0, count - len(values))
            expected = np.stack([np.arange(len(values)), np.full(len(values), episode.number)], axis=1)
            wrong += int((np.asarray(values) != expected).any(axis=1).sum()) if len(values) else 0
    return acknowledged, lost, wrong, len(store.episodes())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--transitions", type=int, default=60, help="more that the learner waits for after the last kill"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline-s", type=float, default=1800.0)
    parser.add_argument("--quick", action="store_true", help="4 kills, 20 transitions")
    parser.add_argument("--json", type=Path, help="write the figures there")
    flags = parser.parse_args()
    kills, transitions = (4, 20) if flags.quick else (flags.kills, flags.transitions)
    print(machine.line())
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), kills, transitions, flags.seed, flags.deadline_s)
        if not figures.passed:
            for role in ROLES:
                print(
                    role, *(Path(folder) / f"{role}.log").read_text(errors="replace").splitlines()[-5:], sep="\n  "
                )
    print(figures.model_dump_json(indent=1))
    print("passed" if figures.passed else "FAILED")
    if flags.json:
        found = {"machine": machine.describe(), "passed": figures.passed} | figures.model_dump()
        artefact.write_text(flags.json, json.dumps(found, indent=1) + "\n")
    return 0 if figures.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
