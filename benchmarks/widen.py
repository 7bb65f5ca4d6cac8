"""Success outside the demonstrated region by `tandem rl expand`: demonstrations in ID, a twin, policies, trials.

    python benchmarks/widen.py --folder out/widen --json benchmarks/results/widen.json
    python benchmarks/widen.py --folder out/widen_peg --task peg_insertion --told --demos 30 --ood 60 --id 30 ...

From pictures: `tandem demo` films the simulated bench, builds its twin and records scripted demonstrations, 10 unless
it is told otherwise; they are bent to other starts in that twin, and the policy sees its cameras and its joints alone.
`--told`: the object's pose is a part of the state, nothing is drawn, and the plant stands in for the twin, too. Every
command is one that a user would type, and is run once: the same line goes on after a stop.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.stages import Stages, tandem
from hardware import artefact
from rl_online.demo.stages import READS
from vla.environments.bench import TRIAL_SEED
from vla.intervals import wilson

PARTS = ("ood", "id")
CELLS = 6
"""Of the grid of starts, in each part."""
SEEING = ("--state-names", *READS, "--picture-stride", "2", "--cached-variants", "2", "--token-share", "0.25")
TOLD = shlex.split(
    "--horizon-steps 10 --token-weight 0 --architecture.width 96 --architecture.heads 4 --architecture.readers 2 "
    "--architecture.token-layers 1 --optimisation.batch 128 --optimisation.learning-rate 2e-3 --evaluation.patience 0"
)
"""A policy that is told the pose needs no larger one."""


def main() -> None:
    chosen = flags()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    stages = Stages(chosen.folder, chosen.threads)
    demos, world = demonstrations(chosen, stages)
    wider = [expanded(chosen, stages, demos, world, part) for part in PARTS if getattr(chosen, part)]
    data = {"alone": [demos]} if chosen.alone else {}
    results: dict[str, dict[str, Any]] = {}
    for name, stores in (data | {"widened": [demos, *wider]}).items():
        policy = supervised(chosen, stages, name, stores)
        results[name] = in_process(chosen, stages, name, policy)
        if chosen.episodes and name == "widened":
            results["widened, through ROS"] = {part: through_ros(chosen, stages, part, policy) for part in PARTS}
    report(chosen, stages, results)


def flags() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=Path("out/widen"), help="one for each seed")
    arguments.add_argument("--quick", action="store_true", help="tiny sizes: that it runs, not how well")
    arguments.add_argument("--task", default="pick_place", choices=("pick_place", "peg_insertion"))
    arguments.add_argument("--told", action="store_true", help="poses in place of pictures")
    arguments.add_argument("--demos", type=int, default=10, help="scripted, in ID")
    arguments.add_argument("--ood", type=int, default=150, help="demonstrations in the twin, outside")
    arguments.add_argument("--id", type=int, default=40, help="demonstrations in the twin, inside")
    arguments.add_argument("--alone", action="store_true", help="also a policy of the demonstrations alone")
    arguments.add_argument("--sft-steps", type=int, default=3000)
    arguments.add_argument("--trials", type=int, default=50, help="in process, inside and outside each")
    arguments.add_argument("--episodes", type=int, default=0, help="through the ROS graph, inside and outside each")
    arguments.add_argument("--seed", type=int, default=0, help="of scan, demonstrations, expansion and training")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--json", type=Path)
    chosen = arguments.parse_args()
    if chosen.quick:
        chosen.demos, chosen.ood, chosen.id, chosen.sft_steps, chosen.trials = 3, 2, 1, 20, 1
        chosen.episodes = min(chosen.episodes, 1)
    if chosen.task != "pick_place" and not chosen.told:
        arguments.error("`tandem demo` scans the bench of pick_place alone; add --told")
    if chosen.told and chosen.episodes:
        arguments.error("the ROS graph's policies see pictures; leave --episodes or --told out")
    chosen.folder = chosen.folder.resolve()
    return chosen


def demonstrations(chosen: argparse.Namespace, stages: Stages) -> tuple[Path, list[object]]:
    """(their store, the words that name the world which they are bent in)."""
    if chosen.told:
        world: list[object] = ["--world.task", chosen.task]
        store = chosen.folder / "demos"
        words = [*tandem("rl", "demos"), "-o", store, "--count", chosen.demos, "--no-cameras", *world]
        stages.run("demos", [*words, "--seed", chosen.seed])
        return store, world
    cell = chosen.folder / "cell"
    words = [*tandem("demo"), cell, "--until", "identify", "--demos", chosen.demos, "--seed", chosen.seed]
    stages.run("twin and demos", words)
    return cell / "demos", ["--world.bundle", cell / "twin"]


def expanded(chosen: argparse.Namespace, stages: Stages, demos: Path, world: list[object], part: str) -> Path:
    folder, seed = chosen.folder / part, 2 * chosen.seed + PARTS.index(part)
    words = [*tandem("rl", "expand"), demos, "-o", folder, "--part", part, "--count", getattr(chosen, part)]
    words += ["--no-cameras"] if chosen.told else ["--turns", 4, "--picture-stride", 2]
    stages.run(f"expand {part}", [*words, *world, "--seed", seed, "--json", chosen.folder / f"{part}.json"])
    return folder / "store"


def supervised(chosen: argparse.Namespace, stages: Stages, name: str, stores: list[Path]) -> Path:
    folder = chosen.folder / f"sft_{name}"
    words = [*tandem("vla", "sft"), *stores, "-o", folder, "--no-language", "--seed", chosen.seed]
    words += ["--optimisation.steps", chosen.sft_steps, "--evaluation.every-steps", chosen.sft_steps]
    words += TOLD if chosen.told else [*SEEING, "--features", chosen.folder / "features"]
    stages.run(f"sft {name}", [*words, "--threads", chosen.threads])
    return folder / "policy"


def in_process(chosen: argparse.Namespace, stages: Stages, name: str, policy: Path) -> dict[str, Any]:
    """By part: successes and trials. Starts are the same for every policy, and no demonstration had them."""
    file = chosen.folder / f"trials_{name}.json"
    if chosen.told:  # `vla eval` shows a policy what a cell shows, and no cell tells poses
        words = [*tandem("rl", "mine"), policy, "-o", chosen.folder / f"mined_{name}", "--world.task", chosen.task]
        rollouts = -(-chosen.trials // CELLS)
        stages.run(f"trials {name}", [*words, "--rollouts", rollouts, "--envs", 1, "--json", file], again=True)
        parts = json.loads(file.read_text(encoding="utf-8"))["parts"]
        return {part: counted(parts[part]["successes"], parts[part]["rollouts"]) for part in PARTS}
    words = [*tandem("vla", "eval"), policy, "--env", "bench", "--trials", chosen.trials, "--json", file]
    stages.run(f"trials {name}", [*words, "--tasks", *(f"{chosen.task}/{part}" for part in PARTS)], again=True)
    rows = json.loads(file.read_text(encoding="utf-8"))["tasks"]
    of_part = {part: rows[f"{chosen.task}/{part}"] for part in PARTS}
    return {part: counted(row["successes"], row["trials"]) for part, row in of_part.items()}


def through_ros(chosen: argparse.Namespace, stages: Stages, part: str, policy: Path) -> dict[str, Any]:
    file = chosen.folder / f"ros_{part}.json"
    words = [*tandem("up", "bench"), "--task", chosen.task, "--policy", "server", "--serve", f"policy={policy}"]
    words += ["--starts", part, "--episodes", chosen.episodes, "--seed", TRIAL_SEED, "--json", file]
    stages.run(f"through ROS {part}", [*words, "--run", chosen.folder / f"run_{part}"])
    found = json.loads(file.read_text(encoding="utf-8"))
    return counted(found["succeeded"], found["judged"])


def counted(won: int, tried: int) -> dict[str, Any]:
    low, high = wilson(won, tried)
    return {"successes": won, "trials": tried, "wilson_95": [round(float(low), 3), round(float(high), 3)]}


def report(chosen: argparse.Namespace, stages: Stages, results: dict[str, dict[str, Any]]) -> None:
    print(f"\n{machine.line()}\nsimulated bench, {chosen.demos} scripted demonstrations, seed {chosen.seed}\n")
    for name, parts in results.items():
        for part, found in parts.items():
            low, high = (100 * bound for bound in found["wilson_95"])
            print(f"{name:24}{part:5}{found['successes']}/{found['trials']}  ({low:.0f} to {high:.0f} %)")
    if chosen.json:
        made = {
            part: json.loads((chosen.folder / f"{part}.json").read_text())
            for part in PARTS
            if getattr(chosen, part)
        }
        settings = ("task", "told", "demos", "ood", "id", "sft_steps", "trials", "episodes", "seed", "threads")
        content = {
            "what": "demonstrations in ID, bent to other starts in a twin: success on the simulated bench",
            "machine": machine.describe(),
            "settings": {name: getattr(chosen, name) for name in settings},
            "taken": stages.taken(),
            "yield": {part: f"{found['kept']} of {found['tried']}" for part, found in made.items()},
        }
        artefact.write_text(chosen.json, json.dumps(content | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
