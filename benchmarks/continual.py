"""Tasks one after another in MetaWorld: what supervised learning forgets, and what process rewards keep.

Six base tasks of 50 demonstrations, then four of 10 with a replay of 5 (LifeLong-RFT's protocol), from pixels and
proprioception. Needs the demonstrations and the environment of `benchmarks/envs/metaworld`:

    uv sync --project benchmarks/envs/metaworld
    benchmarks/envs/metaworld/.venv/bin/python benchmarks/envs/metaworld/demonstrate.py out/metaworld/demonstrations

Goes on where it was stopped: by method, by stage, by training step and by trial. `--quick` asks for one base task, one
later one and a handful of steps: that it runs, not how well.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from vla import continual, outcomes
from vla.backbone import Architecture
from vla.continual_config import LearnContinually, Teaching
from vla.demonstrations import Demonstration, Layout
from vla.outcomes import Evaluator
from vla.process_rewards import RewardWeights
from vla.rft_config import RftEvaluation, RftSchedule
from vla.sft_config import Evaluation, Optimisation

ROOT = Path(__file__).parents[1]
METAWORLD = ROOT / "benchmarks" / "envs" / "metaworld"
BASE = (
    "reach-v3",
    "push-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "window-open-v3",
)
THEN = ("door-open-v3", "window-close-v3", "pick-place-v3", "peg-insert-side-v3")
LAYOUT = Layout(
    cameras=("front",),
    state_names=("hand_x", "hand_y", "hand_z", "gripper"),
    action_names=("hand_dx", "hand_dy", "hand_dz", "gripper"),
    rate_hz=40.0,
)
"""As `benchmarks/envs/metaworld/scenes.py` has them."""
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
        raise SystemExit(f"no {python}: run  uv sync --project {METAWORLD.relative_to(ROOT)}")
    return str(python)


def in_metaworld(trials: int) -> Evaluator:
    """`tandem vla eval`, which serves the policy and lets MetaWorld's environment ask it over the websocket."""
    front_door = shlex.join([sys.executable, str(ROOT / "tandem.py")])
    return outcomes.by_command(
        f"{front_door} vla eval {{policy}} --env metaworld --trials {trials} --tasks {{tasks}} --json {{json}}"
    )


@dataclass(frozen=True)
class Plan:
    base: tuple[str, ...]
    then: tuple[str, ...]
    base_demos: int
    demos: int
    replay: int
    trials: int
    base_schedule: Optimisation
    stage_schedule: Optimisation
    rft_schedule: RftSchedule
    architecture: Architecture
    voice: str


def whole(trials: int, voice: str) -> Plan:
    return Plan(
        base=BASE,
        then=THEN,
        base_demos=50,
        demos=10,
        replay=5,
        trials=trials,
        base_schedule=Optimisation(steps=6000),
        stage_schedule=Optimisation(steps=800, learning_rate=2e-4, warmup_steps=50),
        rft_schedule=RftSchedule(steps=300),
        architecture=Architecture(),
        voice=voice,
    )


def quick(voice: str) -> Plan:
    small = Architecture(
        image_px=64, width=64, heads=4, readers=8, context_layers=2, token_layers=1, consistency_layers=1
    )
    return Plan(
        base=BASE[:1],
        then=("drawer-close-v3",),
        base_demos=3,
        demos=2,
        replay=1,
        trials=2,
        base_schedule=Optimisation(steps=80, batch=8, learning_rate=2e-3, warmup_steps=5, ema=0.9),
        stage_schedule=Optimisation(steps=5, batch=8, learning_rate=1e-4, warmup_steps=0, ema=0.0),
        rft_schedule=RftSchedule(steps=2, batch=4),
        architecture=small,
        voice=voice,
    )


def config(
    plan: Plan, demonstrations: Path, output: Path, base_policy: Path | None, **changes: object
) -> LearnContinually:
    values: dict[str, object] = {
        "base": [demonstrations / task for task in plan.base],
        "then": [demonstrations / task for task in plan.then],
        "output": output,
        "base_policy": base_policy,
        "base_demos": plan.base_demos,
        "demos": plan.demos,
        "replay": plan.replay,
        "evaluator": "metaworld",
        "features": output.parent / "features",
        "sft": Teaching(
            space="tcp_delta_m_rad",
            architecture=plan.architecture,
            voice=plan.voice,  # type: ignore[arg-type]
            cached_variants=2,
            evaluation=Evaluation(every_steps=200, held_out_share=0.05),
        ),
        "base_schedule": plan.base_schedule,
        "stage_schedule": plan.stage_schedule,
        "rft_schedule": plan.rft_schedule,
        "rft_evaluation": RftEvaluation(every_steps=100, held_out_share=0.05),
    }
    return LearnContinually.model_validate(values | changes)


def run(plan: Plan, demonstrations: Path, work: Path, names: Sequence[str]) -> dict[str, dict]:
    """The base is supervised once, and all methods start from it."""
    told = instructions()
    datasets = [Shown(demonstrations / task, told.get(task, task)) for task in (*plan.base, *plan.then)]
    evaluator = in_metaworld(plan.trials)
    base = config(plan, demonstrations, work / "base", None, method="sft", then=())
    base_data = datasets[: len(plan.base)]
    continual.taught(base, base_data, 0, None, work / "base" / "stage-00")
    policy = work / "base" / "stage-00" / "sft" / "policy"
    results: dict[str, dict] = {}
    untouched: Path | None = None
    for name in names:
        settings = config(plan, demonstrations, work / name.lower().replace(" ", "-"), policy, **METHODS[name])
        first = settings.output / "stage-00" / continual.EVALUATION
        if settings.method == "sft":  # the same base policy: what was measured of it holds for all of these
            if untouched is not None and untouched.is_file() and not first.exists():
                artefact.write_bytes(first, untouched.read_bytes())
            untouched = first
        measured = continual.run(settings, datasets, evaluator)
        continual.report(settings, measured)
        results[name] = json.loads((settings.output / continual.SCORES).read_text(encoding="utf-8"))
    return results


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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--demonstrations", type=Path, default=ROOT / "out" / "metaworld" / "demonstrations")
    arguments.add_argument("--work", type=Path, default=ROOT / "out" / "metaworld" / "continual")
    arguments.add_argument("--trials", type=int, default=20, help="of each task after each stage")
    arguments.add_argument("--voice", choices=("consistency", "tokens"), default="tokens", help="which head acts")
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS)[:3])
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    plan = quick(chosen.voice) if chosen.quick else whole(chosen.trials, chosen.voice)
    work = chosen.work / ("quick" if chosen.quick else "whole") / chosen.voice
    results = run(plan, chosen.demonstrations, work, chosen.methods)
    print(f"{machine.line()}, {plan.trials} trials of each task after each stage, the {plan.voice} head acts\n")
    show(results)
    if chosen.json:
        report = {"machine": machine.describe(), "trials": plan.trials, "voice": plan.voice, "results": results}
        artefact.write_text(chosen.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
