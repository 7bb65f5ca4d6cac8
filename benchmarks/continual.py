"""Tasks one after another: what supervised learning forgets, and what process rewards keep (LifeLong-RFT's protocol).

Six base tasks of 50 demonstrations, then four of 10 with a replay of 5. Two places to do it in:

dots        pointing at a drifting dot of one of five colours, or at its mirror image, as an instruction says. Offline:
            a trial is an unseen episode, a success one that the policy follows to within 0.2 of half the range. That
            is no success rate of a robot.
metaworld   from pixels and proprioception, success as MetaWorld has it. Needs its environment and demonstrations:
                .tools/bin/uv sync --project benchmarks/envs/metaworld
                cd benchmarks/envs/metaworld && .venv/bin/python demonstrate.py ../../../out/metaworld/experts

Goes on where it was stopped: by method, by stage, by training step and by trial. `--quick` asks for one base task, one
later one and a handful of steps: that it runs, not how well.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests" / "vla"))

import dot_task

from benchmarks import machine
from hardware import artefact
from hardware.config import Config
from hardware.messages import ActionSpace
from vla import outcomes
from vla.backbone import Architecture
from vla.continual import learning
from vla.continual.config import LearnContinually, Teaching
from vla.continual.joined import Part
from vla.continual.open_loop_evaluator import OpenLoopEvaluator
from vla.demonstrations import Demonstration, Demonstrations, Layout
from vla.outcomes import Evaluator
from vla.rft.config import RftEvaluation, RftSchedule
from vla.rft.process_rewards import RewardWeights
from vla.sft.config import Evaluation, Optimisation

ROOT = Path(__file__).parents[1]
METAWORLD = ROOT / "benchmarks" / "envs" / "metaworld"
METHODS: dict[str, dict[str, object]] = {
    "SFT": {"method": "sft", "replay": 0},
    "SFT with replay": {"method": "sft"},
    "RFT": {"method": "rft"},
    "RFT without QACR": {"method": "rft", "rewards": RewardWeights(without=("qacr",))},
    "RFT without CTAR": {"method": "rft", "rewards": RewardWeights(without=("ctar",))},
    "RFT without FCR": {"method": "rft", "rewards": RewardWeights(without=("fcr",))},
}
ASKED_POINTS = 10.0
"""Of AUC, RFT above SFT."""
ERROR_LIMIT, UNSEEN = 0.2, 20
"""Of the dots: what still counts, and the trials of each task."""


@dataclass(frozen=True)
class Place:
    """The tasks in their order, and who measures a policy in them."""

    tasks: tuple[str, ...]
    datasets: tuple[Demonstrations, ...]
    evaluator: Evaluator
    space: ActionSpace
    horizon_steps: int


@dataclass(frozen=True)
class Plan:
    tasks: tuple[str, ...]
    """Of MetaWorld: the base ones, then the later ones. The dots have tasks of their own."""
    base: int
    later: int
    base_demos: int
    demos: int
    replay: int
    trials: int
    base_schedule: Optimisation
    stage_schedule: Optimisation
    rft_schedule: RftSchedule
    architecture: Architecture
    voice: str
    threads: int

    @property
    def learned(self) -> list[int]:
        """Demonstrations of each task."""
        return [self.base_demos] * self.base + [self.demos] * self.later


# ── dots ────────────────────────────────────────────────────────────────────────────────────────────────────

COLOURS = {
    "red": (220, 40, 30),
    "green": (40, 190, 60),
    "blue": (40, 70, 220),
    "yellow": (230, 210, 40),
    "white": (240, 240, 240),
}
WORDS = {False: "touch the {} dot", True: "touch opposite the {} dot"}


def dots(plan: Plan, _: Path) -> Place:
    kinds = [(colour, mirrored) for mirrored in (False, True) for colour in COLOURS][: plan.base + plan.later]
    datasets, unseen = [], {}
    for number, ((colour, mirrored), count) in enumerate(zip(kinds, plan.learned, strict=True)):
        name = f"{colour}-{'opposite' if mirrored else 'touch'}"
        task = {"instruction": WORDS[mirrored].format(colour), "colour": COLOURS[colour], "mirrored": mirrored}
        dataset = dot_task.demonstrations(count + plan.trials, name, number, **task)
        datasets.append(dataset)
        unseen[name] = Part(dataset, count, plan.trials)
    evaluator = OpenLoopEvaluator(unseen, ERROR_LIMIT, learning.TASKS)
    return Place(tuple(unseen), tuple(datasets), evaluator, "joint_pos_rad", 4)


# ── MetaWorld ───────────────────────────────────────────────────────────────────────────────────────────────

METAWORLD_TASKS = (
    "reach-v3",
    "push-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "window-open-v3",
    "door-open-v3",
    "window-close-v3",
    "pick-place-v3",
    "peg-insert-side-v3",
)
LAYOUT = Layout(
    cameras=("front",),
    state_names=("hand_x", "hand_y", "hand_z", "gripper"),
    action_names=("hand_dx", "hand_dy", "hand_dz", "gripper"),
    rate_hz=40.0,
)
"""As `benchmarks/envs/metaworld/scenes.py` has them."""


def metaworld(plan: Plan, shown: Path) -> Place:
    tasks, told = plan.tasks, instructions()
    datasets = tuple(Shown(shown / task, told.get(task, task)) for task in tasks)
    return Place(tasks, datasets, in_metaworld(plan.trials), "tcp_delta_m_rad", 10)


class Shown:
    """The scripted expert's episodes of one task: a `Demonstrations` of .npz files."""

    layout = LAYOUT

    def __init__(self, folder: Path, instruction: str) -> None:
        self.name, self._instruction = folder.name, instruction
        self._files = sorted(folder.glob("*.npz"))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, episode: int, /) -> Demonstration:
        file = self._files[episode]
        with np.load(file, allow_pickle=False) as stored:
            state, actions = stored["state"].astype(np.float32), stored["action"].astype(np.float32)
        return Demonstration(self._instruction, state, actions, lambda camera: pictures(file, camera))


def pictures(file: Path, camera: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as stored:
        return stored[camera]


def instructions() -> dict[str, str]:
    """MetaWorld's own interpreter tells them: `scenes` imports what only its environment has."""
    words = "import json, scenes; print(json.dumps(scenes.INSTRUCTIONS))"
    ran = subprocess.run([interpreter(), "-c", words], cwd=METAWORLD, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def interpreter() -> str:
    python = METAWORLD / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"no {python}: run  .tools/bin/uv sync --project {METAWORLD.relative_to(ROOT)}")
    return str(python)


def in_metaworld(trials: int) -> Evaluator:
    """`tandem vla eval`, which serves the policy and lets MetaWorld's environment ask it over the websocket."""
    front_door = shlex.join([sys.executable, str(ROOT / "tandem.py")])
    return outcomes.by_command(
        f"{front_door} vla eval {{policy}} --env metaworld --trials {trials} --tasks {{tasks}} --json {{json}}"
    )


# ── the protocol ────────────────────────────────────────────────────────────────────────────────────────────

PLACES = {"dots": dots, "metaworld": metaworld}
SMALL = Architecture(
    image_px=64, width=64, heads=4, readers=8, context_layers=2, token_layers=1, consistency_layers=1
)


def plan_of(chosen: argparse.Namespace) -> Plan:
    values: dict[str, Any] = {"voice": chosen.voice, "threads": chosen.threads}
    if chosen.quick:
        return Plan(
            tasks=("reach-v3", "drawer-close-v3"),
            base=1,
            later=1,
            base_demos=6,
            demos=2,
            replay=1,
            trials=2,
            base_schedule=Optimisation(steps=100, batch=8, learning_rate=2e-3, warmup_steps=5, ema=0.9),
            stage_schedule=Optimisation(steps=5, batch=8, learning_rate=1e-4, warmup_steps=0, ema=0.0),
            rft_schedule=RftSchedule(steps=2, batch=4),
            architecture=SMALL,
            **values,
        )
    if chosen.place == "dots":
        return Plan(
            tasks=(),
            base=6,
            later=4,
            base_demos=50,
            demos=10,
            replay=5,
            trials=UNSEEN,
            base_schedule=Optimisation(steps=2500, batch=16, learning_rate=1e-3, warmup_steps=50, ema=0.97),
            stage_schedule=Optimisation(steps=120, batch=16, learning_rate=1e-3, warmup_steps=10, ema=0.9),
            rft_schedule=RftSchedule(steps=80),
            architecture=SMALL,
            **values,
        )
    return Plan(
        tasks=tuple(chosen.tasks),
        base=chosen.base,
        later=len(chosen.tasks) - chosen.base,
        base_demos=chosen.base_demos,
        demos=chosen.demos,
        replay=5,
        trials=chosen.trials,
        base_schedule=Optimisation(steps=chosen.base_steps),
        stage_schedule=Optimisation(steps=chosen.stage_steps, learning_rate=2e-4, warmup_steps=50),
        rft_schedule=RftSchedule(steps=chosen.rft_steps),
        architecture=Architecture(),
        **values,
    )


def config(plan: Plan, place: Place, output: Path, base_policy: Path | None, **changes: object) -> LearnContinually:
    values: dict[str, object] = {
        "base": place.tasks[: plan.base],
        "then": place.tasks[plan.base :],
        "output": output,
        "base_policy": base_policy,
        "base_demos": plan.base_demos,
        "demos": plan.demos,
        "replay": plan.replay,
        "evaluator": "of the benchmark",
        "features": output.parent / "features",
        "threads": plan.threads,
        "sft": Teaching(
            space=place.space,
            horizon_steps=place.horizon_steps,
            architecture=plan.architecture,
            voice=plan.voice,  # type: ignore[arg-type]
            cached_variants=2,
            evaluation=Evaluation(every_steps=100, held_out_share=0.05, most_windows=128, patience=0),
        ),
        "base_schedule": plan.base_schedule,
        "stage_schedule": plan.stage_schedule,
        "rft_schedule": plan.rft_schedule,
        "rft_evaluation": RftEvaluation(every_steps=20, held_out_share=0.05, most_windows=64),
    }
    return LearnContinually.model_validate(values | changes)


def run(plan: Plan, place: Place, work: Path, names: Sequence[str]) -> dict[str, dict]:
    """The base is supervised once, and all methods start from it."""
    base = config(plan, place, work / "base", None, method="sft", then=())
    learning.taught(base, place.datasets[: plan.base], 0, None, work / "base" / "stage-00")
    policy = work / "base" / "stage-00" / "sft" / "policy"
    evaluator = measured_once(policy, work / "base" / learning.EVALUATION, place.evaluator)
    results: dict[str, dict] = {}
    for name in names:
        settings = config(plan, place, work / name.lower().replace(" ", "-"), policy, **METHODS[name])
        measured = learning.run(settings, place.datasets, evaluator)
        learning.report(settings, measured)
        results[name] = json.loads((settings.output / learning.SCORES).read_text(encoding="utf-8"))
        auc = results[name]["scores"]["auc"]
        print(f"{name}: AUC {auc:.3f}", file=sys.stderr, flush=True)
    return results


def measured_once(base: Path, kept: Path, evaluator: Evaluator) -> Evaluator:
    """What was measured of the base policy holds for all methods that start with it as it is."""

    def evaluate(policy: Path, tasks: Sequence[str], file: Path) -> None:
        if policy != base:
            evaluator(policy, tasks, file)
            return
        outcomes.write(file, outcomes.measured(evaluator, policy, tasks, kept))

    return evaluate


def show(results: dict[str, dict]) -> None:
    print(f"{'':22}{'AUC':>24}{'FWT':>24}{'NBT':>24}")
    for name, summary in results.items():
        cells = []
        for key in ("auc", "fwt", "nbt"):
            low, high = summary["intervals_95"][key]
            cells.append(f"{100 * summary['scores'][key]:.1f} ({100 * low:.1f} … {100 * high:.1f})")
        print(f"{name:22}" + "".join(f"{cell:>24}" for cell in cells))
    if {"SFT", "RFT"} <= results.keys():
        gain = 100 * (results["RFT"]["scores"]["auc"] - results["SFT"]["scores"]["auc"])
        print(f"\nasked: RFT ≥ SFT + {ASKED_POINTS:.0f} points of AUC; measured {gain:+.1f}")


def figure(results: dict[str, dict], file: Path) -> None:
    """The mean success over the tasks known so far, stage by stage, and the AUC with its interval."""
    drawn = Figure(figsize=(9, 3.4), layout="constrained")
    curves, bars = drawn.subplots(1, 2, width_ratios=(1.4, 1))
    for place, (name, summary) in enumerate(results.items()):
        successes, trials = np.array(summary["successes"]), np.array(summary["trials"])
        [line] = curves.plot(100 * successes.sum(axis=1) / trials.sum(axis=1), marker="o", label=name)
        low, high = summary["intervals_95"]["auc"]
        auc = summary["scores"]["auc"]
        error = [[100 * max(0.0, auc - low)], [100 * max(0.0, high - auc)]]
        bars.barh(place, 100 * auc, xerr=error, color=line.get_color(), capsize=2)
    curves.set(xlabel="stage", ylabel="success on all tasks so far [%]", ylim=(0, 105))
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(fontsize=7)
    bars.set(xlabel="AUC [%]", xlim=(0, 105), yticks=range(len(results)), yticklabels=results)
    bars.invert_yaxis()
    bars.tick_params(axis="y", labelsize=7)
    drawn.savefig(file, dpi=110)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("place", nargs="?", choices=PLACES, default="dots")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--json", type=Path, help="and a picture beside it")
    arguments.add_argument("--demonstrations", type=Path, default=ROOT / "out" / "metaworld" / "experts")
    arguments.add_argument("--work", type=Path, default=ROOT / "out" / "continual")
    smaller = arguments.add_argument_group("of MetaWorld, to make it smaller")
    smaller.add_argument("--tasks", nargs="+", default=METAWORLD_TASKS, help="the base ones, then the later ones")
    smaller.add_argument("--base", type=int, default=6, help="how many of the tasks are the base")
    smaller.add_argument("--base-demos", type=int, default=50)
    smaller.add_argument("--demos", type=int, default=10, help="of each later task")
    smaller.add_argument("--base-steps", type=int, default=6000)
    smaller.add_argument("--stage-steps", type=int, default=800)
    smaller.add_argument("--rft-steps", type=int, default=300)
    smaller.add_argument("--trials", type=int, default=20, help="of each task after each stage")
    arguments.add_argument("--voice", choices=("consistency", "tokens"), default="tokens", help="which head acts")
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    plan = plan_of(chosen)
    place = PLACES[chosen.place](plan, chosen.demonstrations)
    work = chosen.work / chosen.place / ("quick" if chosen.quick else "whole") / chosen.voice
    results = run(plan, place, work, chosen.methods)
    print(f"{machine.line()}\n{chosen.place}: {plan.base} tasks of {plan.base_demos} demonstrations, ", end="")
    print(f"then {plan.later} of {plan.demos}; {plan.trials} trials of each after each stage; ", end="")
    print(f"the {plan.voice} head acts\n")
    show(results)
    if chosen.json:
        report = {"machine": machine.describe(), "place": chosen.place, "plan": described(plan), "results": results}
        artefact.write_text(chosen.json, json.dumps(report, indent=2) + "\n")
        figure(results, chosen.json.with_suffix(".png"))


def described(plan: Plan) -> dict[str, object]:
    values = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    return {
        name: value.model_dump(mode="json") if isinstance(value, Config) else value
        for name, value in values.items()
    }


if __name__ == "__main__":
    main()
