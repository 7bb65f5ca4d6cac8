"""Does LifeLong-RFT improve a policy, and which reward does it? Offline: no robot, no simulator.

The task is to point at a drifting dot that only the camera sees (`tests/vla/dot_task.py`), or any dataset that is
given. All are measured on episodes that none of them learned from: SFT, the same SFT taught on for as long as RFT took
(the fair rival), RFT, and RFT without each of its rewards. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests" / "vla"))

import dot_task

from benchmarks import machine
from hardware import artefact
from vla import demonstrations, policy_file
from vla.augmentation import Augmentation
from vla.backbone import Architecture
from vla.continual.joined import Joined, Part
from vla.encoders import ImageEncoder
from vla.prepared import Preparation
from vla.rft import reinforcement
from vla.rft.config import Grpo, ReinforcePolicy, RftEvaluation, RftSchedule
from vla.rft.held_out import standing
from vla.rft.process_rewards import RewardWeights, gripper_columns
from vla.rft.samples import Judge
from vla.sft import fine_tuning
from vla.sft.config import Evaluation, Optimisation, TrainPolicy
from vla.windows import Windows

ROOT = Path(__file__).parents[1]
NAME = "demonstrated"
SMALL = Architecture(
    image_px=64, width=64, heads=4, readers=8, context_layers=2, token_layers=1, consistency_layers=1
)
ABLATIONS: dict[str, tuple[str, ...]] = {
    "RFT": (),
    "RFT without QACR": ("qacr",),
    "RFT without CTAR": ("ctar",),
    "RFT without FCR": ("fcr",),
}


@dataclass(frozen=True)
class Plan:
    """Of one seed."""

    seed: int
    learned: Joined
    unseen: Joined
    architecture: Architecture
    horizon_steps: int
    sft: Optimisation
    rft: RftSchedule
    work: Path
    threads: int


def dots(seed: int, quick: bool) -> tuple[Joined, Joined]:
    """34 demonstrations to learn from, 40 others to measure on."""
    learned = dot_task.demonstrations(34, NAME, seed=seed)
    unseen = dot_task.demonstrations(12 if quick else 40, NAME, seed=1000 + seed)
    return tuple(Joined(NAME, [Part(each, 0, len(each))]) for each in (learned, unseen))  # type: ignore[return-value]


def stored(folder: Path) -> tuple[Joined, Joined]:
    """The first four fifths to learn from, the rest to measure on."""
    dataset = demonstrations.open_demonstrations(folder, NAME)
    count = len(dataset) * 4 // 5
    return Joined(NAME, [Part(dataset, 0, count)]), Joined(NAME, [Part(dataset, count, len(dataset) - count)])


def supervised(plan: Plan, name: str, schedule: Optimisation, start_from: Path | None = None) -> float:
    """Seconds it took."""
    config = TrainPolicy(
        data=(Path(NAME),),
        output=plan.work / name,
        start_from=start_from,
        horizon_steps=plan.horizon_steps,
        architecture=plan.architecture,
        cached_variants=2,
        seed=plan.seed,
        threads=plan.threads,
        optimisation=schedule,
        evaluation=Evaluation(every_steps=100, held_out_share=0.15, patience=0),
    )
    run = fine_tuning.start(config, [plan.learned], plan.work / "work")
    run.finish()
    return run.seconds


def reinforced(plan: Plan, name: str, without: tuple[str, ...]) -> float:
    config = ReinforcePolicy(
        policy=plan.work / "sft",
        data=(Path(NAME),),
        output=plan.work / name,
        rewards=RewardWeights.model_validate({"without": without}),
        cached_variants=2,
        seed=plan.seed,
        threads=plan.threads,
        optimisation=plan.rft,
        evaluation=RftEvaluation(every_steps=50, held_out_share=0.15, most_windows=64),
    )
    run = reinforcement.start(config, [plan.learned], plan.work / "work")
    run.finish()
    return run.seconds


def measured(plan: Plan, name: str) -> dict[str, float]:
    """On the unseen episodes, by all rewards whatever was learned from."""
    policy = policy_file.load_policy(plan.work / name / "policy")
    preparation = Preparation(
        policy.interface, ImageEncoder(plan.architecture.image_px), Augmentation(), 1, plan.work / "work", plan.seed
    )
    windows = Windows(preparation.episodes([plan.unseen]), policy.interface)
    judge = Judge(gripper_columns(policy.interface.action_names), RewardWeights())
    return standing(policy, windows, Grpo(), judge, 256).scalars()


def one_seed(plan: Plan) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {}
    sft_s = supervised(plan, "sft", plan.sft)
    results["SFT"] = {"seconds": sft_s} | measured(plan, "sft")
    for name, without in ABLATIONS.items():
        folder = name.lower().replace(" ", "-")
        results[name] = {"seconds": reinforced(plan, folder, without)} | measured(plan, folder)
        print(f"seed {plan.seed}: {name} {results[name]['reward']:.3f}", file=sys.stderr, flush=True)
    more = max(20, round(results["RFT"]["seconds"] / (sft_s / plan.sft.steps)))
    if (plan.work / "sft-longer" / "run.json").exists():  # a resumed benchmark repeats what it had decided
        more = json.loads((plan.work / "sft-longer" / "run.json").read_text())["config"]["optimisation"]["steps"]
    longer = plan.sft.but(steps=more, learning_rate=plan.sft.learning_rate / 2)
    seconds = supervised(plan, "sft-longer", longer, plan.work / "sft" / "policy")
    results["SFT, as long as RFT took"] = {"seconds": seconds} | measured(plan, "sft-longer")
    return results


def table(by_seed: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    rows: dict[str, dict[str, list[float]]] = {}
    for name in by_seed[0]:
        rows[name] = {key: [seed[name][key] for seed in by_seed] for key in by_seed[0][name]}
    return rows


def show(rows: dict[str, dict[str, list[float]]]) -> None:
    keys = {
        "reward": "reward",
        "qacr": "QACR",
        "ctar": "CTAR",
        "fcr": "FCR",
        "open_loop_error/tokens": "err tokens",
        "open_loop_error/consistency": "err consist.",
        "seconds": "seconds",
    }
    print(f"{'':28}" + "".join(f"{head:>16}" for head in keys.values()))
    for name, row in rows.items():
        cells = [f"{np.mean(row[key]):.3f} ± {np.std(row[key]):.3f}" if key in row else "–" for key in keys]
        print(f"{name:28}" + "".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one seed, few steps: that it runs, not how well")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=200, help="of RFT")
    arguments.add_argument("--data", type=Path, help="a store or LeRobot dataset in place of the dots")
    arguments.add_argument("--work", type=Path, default=ROOT / "out" / "rft-benchmark")
    chosen = arguments.parse_args()
    threads = min(2, torch.get_num_threads())
    work = chosen.work / ("quick" if chosen.quick else "whole") / (chosen.data.name if chosen.data else "dots")
    by_seed = []
    for seed in range(1 if chosen.quick else chosen.seeds):
        learned, unseen = stored(chosen.data) if chosen.data else dots(seed, chosen.quick)
        plan = Plan(
            seed=seed,
            learned=learned,
            unseen=unseen,
            architecture=Architecture() if chosen.data else SMALL,
            horizon_steps=16 if chosen.data else 4,
            sft=Optimisation(
                steps=100 if chosen.quick else (1500 if chosen.data else 600),
                batch=16,
                learning_rate=5e-4 if chosen.data else 2e-3,
                warmup_steps=20,
                ema=0.97,
            ),
            rft=RftSchedule(
                steps=20 if chosen.quick else chosen.steps, batch=16, learning_rate=2e-4 if chosen.data else 1e-3
            ),
            work=work / f"seed-{seed}-of-{chosen.steps}",
            threads=threads,
        )
        by_seed.append(one_seed(plan))
    rows = table(by_seed)
    print(f"{machine.line()}, torch {torch.__version__}, {threads} threads")
    what = chosen.data or "pointing at a dot"
    print(f"{what}: unseen episodes, mean ± deviation over {len(by_seed)} seeds; err in half the 1–99 % range\n")
    show(rows)
    if chosen.json:
        report = {"machine": machine.describe(), "data": str(what), "results": rows}
        artefact.write_text(chosen.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
