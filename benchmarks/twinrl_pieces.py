"""The pieces of `benchmarks/twinrl.py`: each makes one file or folder and does nothing where it lies already."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from benchmarks.compare import write_twin
from hardware import artefact
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from rl_online import demos
from rl_online.demos import RecordDemos
from rl_online.expansion import expand
from rl_online.expansion.expand import ExpandDemos
from rl_online.learning.env import ChunkEnv
from rl_online.learning.learner import LearnFigures
from rl_online.learning.link import ADDRESS
from rl_online.learning.presets import Rewards
from rl_online.learning.replay import read_all
from rl_online.learning.rollout import run_episodes
from rl_online.learning.run_folder import FIGURES, ONLINE
from rl_online.mining import mine
from rl_online.mining.mine import MinePolicy
from rl_online.starts.regions import PartName, Region
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.open_world import WorldChoice, open_world
from twin import identify, servos
from twin.identify import IdentifyServos
from twin.object_asset import SCENE_XML
from vla.backbone import Architecture
from vla.intervals import wilson
from vla.policy_file import load_policy
from vla.sft.config import Evaluation, Optimisation, TrainPolicy
from vla.sft.fine_tuning import sft

SMALL = Architecture(width=96, heads=4, readers=2, context_layers=2, token_layers=1)
"""The policy is told the block's pose, so it needs no more; it learns in minutes."""
CELLS = {"0_0": (0, 0), "30_30": (1, 1), "60_30": (2, 1), "30_60": (1, 2), "150_150": (5, 5)}
"""Twin demonstrations in ID and in OOD, in batches. The last is not the paper's: one costs a second of a processor. No
judge looks on, so no demonstration lingers after its success."""
WIDEST = "150_150"


class Scale(Config):
    """How much of everything."""

    demos: PositiveInt = 30
    batch: PositiveInt = 30
    """Twin demonstrations in one batch."""
    sft_steps: PositiveInt = 2500
    sft_batch: PositiveInt = 128
    """Of states alone, a large batch costs little: 30 demonstrations and 90 of the twin were learned twice as well."""
    corrections: PositiveInt = 60
    """In the twin, of the policy of the most twin demonstrations."""
    trials: PositiveInt = 50
    """Per part of the starts and policy."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    map_rollouts: PositiveInt = 10
    """Per cell, in the twin and in the plant each."""
    deadlock_chunks: PositiveInt = 1500
    twin_chunks: PositiveInt = 3000
    """Tried in the twin before the robot moves."""
    inherited: tuple[NonNegativeInt, NonNegativeInt] = (20, 0)
    """Successes and failures of them that the robot's buffer begins with."""
    round_chunks: PositiveInt = 500
    rounds: PositiveInt = 3
    round_trials: PositiveInt = 30
    helped: NonNegativeFloat = Field(default=0.5, le=1)
    """Share of the episodes at which somebody looks on, whatever learns: on the robot the scripted person, in the twin
    its generator."""
    offline_steps: NonNegativeInt = 300


QUICK = Scale(
    demos=8, batch=6, sft_steps=100, corrections=4, trials=4, seeds=(0,), map_rollouts=1,
    deadlock_chunks=80, twin_chunks=80, inherited=(1, 0), round_chunks=80, rounds=1, round_trials=4, offline_steps=20,
)  # fmt: skip


class Counts(Config):
    """Successes of trials."""

    successes: int
    trials: int

    @property
    def words(self) -> str:
        low, high = wilson(self.successes, self.trials)
        return f"{self.successes}/{self.trials} ({float(low):.0%}–{float(high):.0%})"


class Round(Config):
    """A learner after so many steps of the robot."""

    robot_steps: int
    episodes: int
    successes: int
    """While exploring."""
    chunks: int
    """Or single actions, where the policy decides on one at a time."""
    critic_updates: int
    corrected: int = 0
    """Chunks or actions in which the stand-in for a person drove."""
    id: Counts
    ood: Counts


def trial_starts(parts: Sequence[tuple[PartName, Region]], part: PartName, trials: int) -> list[TaskStart]:
    """Starts that no training saw; the same for every policy."""
    return [demos.draw(parts, part, np.random.default_rng([77_000, trial])) for trial in range(trials)]


@dataclass(frozen=True, eq=False)
class Bench:
    """Where the pieces lie, and how large they are."""

    out: Path
    scale: Scale

    def once[C: Config](self, name: str, kind: type[C], make: Callable[[], C]) -> C:
        """What `make` gives, kept as a file."""
        file = self.out / "pieces" / f"{name}.json"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            artefact.write_model(file, make())
            print(f"{name} is done", flush=True)
        return configs.read(kind, file)

    # ── data ────────────────────────────────────────────────────────────────────────────────────────────────

    def real(self) -> Path:
        """Demonstrations in ID by the scripted stand-in for a person, on the plant."""
        folder = self.out / "demos"
        demos.record(RecordDemos(output=folder, count=self.scale.demos, cameras=False, linger_s=0.0))
        return folder

    def twin(self) -> Path:
        """Table, tray and block by ruler, materials from a table, servos identified from the demonstrations."""
        bundle = self.out / "twin"
        if not (bundle / SCENE_XML).is_file():
            write_twin(bundle)
        if servos.find(bundle) is None:
            identify.identify(IdentifyServos(bundle=bundle, episodes=self.real()))
        return bundle

    def twin_demos(self, part: PartName, batch: int) -> Path:
        """`scale.batch` warped demonstrations, rolled out in the twin."""
        folder = self.out / f"twin_{part}_{batch}"
        if not (folder / expand.FIGURES).is_file():
            expand.expand(
                ExpandDemos(
                    demos=self.real(),
                    output=folder,
                    world=WorldChoice(bundle=self.twin()),
                    part=part,
                    turns=4,
                    count=self.scale.batch,
                    cameras=False,
                    seed=batch,
                )
            )
        return folder / "store"

    def data(self, cell: str) -> list[Path]:
        in_id, in_ood = CELLS[cell]
        more = [self.twin_demos("id", batch) for batch in range(in_id)]
        return [self.real(), *more, *(self.twin_demos("ood", batch) for batch in range(in_ood))]

    # ── policies ────────────────────────────────────────────────────────────────────────────────────────────

    def policy(self, cell: str, seed: int) -> Path:
        """Supervised fine-tuning on a cell of the ablation."""
        return self.trained(f"sft_{cell}_{seed}", self.data(cell), seed)

    def trained(self, name: str, data: Sequence[Path], seed: int) -> Path:
        folder = self.out / name
        if not (folder / "policy").is_dir():
            steps = self.scale.sft_steps
            sft(
                TrainPolicy(
                    data=tuple(data),
                    output=folder,
                    language=False,
                    horizon_steps=10,
                    token_weight=0.0,
                    seed=seed,
                    threads=1,
                    architecture=SMALL,
                    optimisation=Optimisation(steps=steps, batch=self.scale.sft_batch, learning_rate=2e-3),
                    evaluation=Evaluation(every_steps=steps, patience=0),
                )
            )
        return folder / "policy"

    def corrections(self, seed: int) -> Path:
        """Ways on from where the policy of the most twin demonstrations gets stuck in the twin, most of them in cells
        where it fails there.
        """
        folder, policy = self.out / f"corrections_{seed}", self.policy(WIDEST, seed)
        if not (folder / expand.FIGURES).is_file():
            self.failure_map(policy, f"{WIDEST}_{seed}", in_twin=True)
            expand.expand(
                ExpandDemos(
                    demos=self.real(),
                    output=folder,
                    world=WorldChoice(bundle=self.twin()),
                    turns=4,
                    policy=policy,
                    resets=self.out / f"map_{WIDEST}_{seed}_twin" / mine.PLAN,
                    count=self.scale.corrections,
                    cameras=False,
                    seed=seed,
                )
            )
        return folder / "store"

    def corrected_data(self, seed: int) -> list[Path]:
        return [*self.data(WIDEST), self.corrections(seed)]

    def corrected(self, seed: int) -> Path:
        """The same training once more, on its corrections too."""
        return self.trained(f"sft_corrected_{seed}", self.corrected_data(seed), seed)

    def success(self, policy: Path, part: PartName, trials: int, name: str) -> Counts:
        """On the plant, from starts that no training saw; the same starts for every policy."""

        def run() -> Counts:
            trained = load_policy(policy)
            world = open_world(WorldChoice(), 1)
            env = ChunkEnv(world, trained.interface, Rewards(), 0.98)
            starts = trial_starts(world.sheet.parts, part, trials)
            won: list[bool] = []
            run_episodes(env, trained, starts, 0, lambda rollout: won.append(rollout.success))
            env.close()
            return Counts(successes=sum(won), trials=len(won))

        return self.once(f"success_{name}_{part}", Counts, run)

    def failure_map(self, policy: Path, name: str, in_twin: bool) -> ResetPlan:
        side = "twin" if in_twin else "plant"
        folder = self.out / f"map_{name}_{side}"
        if not (folder / mine.PLAN).is_file():
            world = WorldChoice(bundle=self.twin()) if in_twin else WorldChoice()
            mine.mine(
                MinePolicy(
                    policy=policy, output=folder, world=world, rollouts=self.scale.map_rollouts, envs=1, seed=5
                )
            )
        return configs.read(ResetPlan, folder / mine.PLAN)

    # ── learning by trying, as a person would start it: two processes ───────────────────────────────────────

    def twin_rl(self, cell: str, seed: int, process: float = 0.0) -> Path:
        """RL in the twin from the policy of a cell, starts where that one fails there. `process`: as in `Trying`."""
        run, policy = self.out / f"run_twin_{cell}_{'process_' if process else ''}{seed}", self.policy(cell, seed)
        self.failure_map(policy, f"{cell}_{seed}", in_twin=True)
        self.learn(
            Trying(
                run=run, policy=policy, data=self.data(cell), preset="twinrl", chunks=self.scale.twin_chunks,
                resets=self.out / f"map_{cell}_{seed}_twin" / mine.PLAN, seed=seed, world=self.twin(), process=process,
                helped=self.scale.helped,
            )
        )  # fmt: skip
        return run

    def learn(self, trying: Trying) -> LearnFigures:
        """The learner until it has so many chunks in all, with one actor beside it. Nothing where it has them."""
        file = trying.run / FIGURES
        if file.is_file():
            before = configs.read(LearnFigures, file)
            if before.finished and before.online >= trying.chunks:
                return before
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        (trying.run / ADDRESS).unlink(missing_ok=True)  # an earlier learner's, if it was killed
        with subprocess.Popen(trying.learner(self.scale.offline_steps), env=environment) as one:
            while not (trying.run / ADDRESS).is_file() and one.poll() is None:
                time.sleep(0.5)
            with subprocess.Popen(trying.actor(), env=environment) as other:
                while one.poll() is None and other.poll() in (None, 0):
                    time.sleep(0.2)
                if one.poll() is None:
                    one.terminate()
                    raise RuntimeError(f"the actor of {trying.run} ended with {other.returncode}")
                if one.returncode != 0:
                    other.terminate()
                    raise RuntimeError(f"the learner of {trying.run} ended with {one.returncode}")
                if other.wait(120) != 0:
                    raise RuntimeError(f"the actor of {trying.run} ended with {other.returncode}")
        return configs.read(LearnFigures, file)


@dataclass(frozen=True)
class Trying:
    """Learning by trying, from a policy: words for a learner and an actor, in the plant or in a twin."""

    run: Path
    policy: Path
    data: Sequence[Path]
    """Real demonstrations first, then those of the twin."""
    preset: str
    chunks: int
    """Tried in the run in all."""
    seed: int
    number: int = 0
    """Of the round: starts and exploration differ from those of the one before."""
    resets: Path | None = None
    world: Path | None = None
    """A twin's bundle; None: the plant. In a twin the first of `data` are the ways on, bent by whoever looks on."""
    inherit: Sequence[str] = ()
    """Words for the learner; its offline stage was then done elsewhere."""
    process: float = 0.0
    """Weight of the process reward."""
    helped: float = 0.0
    """Share of the episodes at which somebody looks on: the scripted person, or in a twin its generator."""

    def learner(self, offline_steps: int) -> list[str]:
        real, twin = [str(self.data[0])], [str(each) for each in self.data[1:]]
        return command(
            "learn", str(self.policy), "-o", str(self.run), "--demos", *real,
            *(["--twin-demos", *twin] if twin else []),
            "--preset", self.preset, "--offline-steps", str(0 if self.inherit else offline_steps),
            "--transitions", str(self.chunks), *self.inherit, "--seed", str(self.seed), "--demo-stride", "4",
            *(["--process.weight", str(self.process)] if self.process else []),
        )  # fmt: skip

    def actor(self) -> list[str]:
        return command(
            "act", str(self.run), "--envs", "2", "--seed", str(1000 * self.number + self.seed),
            *(["--resets", str(self.resets)] if self.resets is not None else []),
            *(["--world.bundle", str(self.world)] if self.world is not None else []),
            *(["--ways", str(self.data[0]), "--turns", "4"] if self.world is not None and self.helped else []),
            *(["--helped", str(self.helped)] if self.helped else []),
        )  # fmt: skip


@dataclass(frozen=True)
class Tally:
    """What was tried in a run, by its replay: a run that was stopped and gone on with counts whole."""

    episodes: int
    successes: int
    robot_steps: int
    chunks: int
    corrected: int
    """Chunks that whoever looked on did."""


def tally(run: Path) -> Tally:
    rows = read_all(run / ONLINE)
    _, first = np.unique(rows.episode, return_index=True)
    return Tally(
        episodes=len(first),
        successes=int((rows.success[first] == 1).sum()),
        robot_steps=int(rows.executed.sum()),
        chunks=len(rows),
        corrected=int(rows.is_correction.sum()),
    )


def command(verb: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "tandem", "rl", verb, *words]


def only(plan: ResetPlan, part: PartName) -> ResetPlan:
    """Starts of one part alone, all alike."""
    return plan.but(scores=[s.model_dump() for s in plan.scores if s.cell.part == part], guided=False)
