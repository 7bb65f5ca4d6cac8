"""A policy on the simulated bench: scripted demonstrations → SFT → trials through the ROS graph and in process.

    python benchmarks/bench_policy.py --folder out/bench_policy --json benchmarks/results/bench_policy.json

Four commands that a user would type, each run once: the same command goes on after a stop. Trials start where no
demonstration did, and the two ways of trying start from the same places. `--quick`: that it runs, not how well.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.stages import Stages, tandem
from hardware import artefact
from vla.environments.bench import TRIAL_SEED
from vla.intervals import wilson

TASK = "pick_place"
STARTS_OF_A_SEED = 1000
ASKED = "≥ 80 % in the demonstrated region through the ROS graph, after ≤ 10 min of SFT on two cores"


def main() -> None:
    chosen = flags()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    stages = Stages(chosen.folder, chosen.threads)
    policy = supervised(chosen, stages, demonstrations(chosen, stages))
    results = {"through_ros": through_ros(chosen, stages, policy), "in_process": in_process(chosen, stages, policy)}
    report(chosen, stages, results)


def flags() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=Path("out/bench_policy"), help="one for each seed")
    arguments.add_argument("--quick", action="store_true", help="two demonstrations, few steps, one trial")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--demos", type=int, default=30)
    arguments.add_argument("--sft-steps", type=int, default=2000)
    arguments.add_argument("--sft-flags", default="", help='more for `tandem vla sft`: "--token-weight 0.5"')
    arguments.add_argument("--episodes", type=int, default=50, help="through the ROS graph")
    arguments.add_argument("--trials", type=int, default=50, help="in process, inside the region and outside each")
    arguments.add_argument("--seed", type=int, default=0, help="of the starts and the training")
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the training")
    chosen = arguments.parse_args()
    if chosen.quick:
        chosen.demos, chosen.sft_steps, chosen.episodes, chosen.trials = 2, 20, 1, 1
        chosen.sft_flags = "--architecture.width 64 --architecture.heads 4 --cached-variants 1"
    chosen.folder = chosen.folder.resolve()
    return chosen


def demonstrations(chosen: argparse.Namespace, stages: Stages) -> Path:
    """Recorded through the ROS graph, as a person's would be. A recording that was stopped begins anew."""
    store = chosen.folder / "demos"
    if "demos" not in stages.taken():
        shutil.rmtree(store, ignore_errors=True)
    words = [*live(chosen, "demos", chosen.demos, chosen.seed * STARTS_OF_A_SEED), "--policy", "scripted"]
    stages.run("demos", [*words, "--record", store])
    return store


def supervised(chosen: argparse.Namespace, stages: Stages, store: Path) -> Path:
    words = [*tandem("vla", "sft"), store, "-o", chosen.folder / "sft", "--optimisation.steps", chosen.sft_steps]
    words += ["--seed", chosen.seed, "--threads", chosen.threads, *shlex.split(chosen.sft_flags)]
    stages.run("sft", words)
    return chosen.folder / "sft" / "policy"


def through_ros(chosen: argparse.Namespace, stages: Stages, policy: Path) -> dict[str, object]:
    """What `tandem up` says of its episodes, and of the chunk executor meanwhile."""
    summary = chosen.folder / "through_ros.json"
    words = live(chosen, "trials", chosen.episodes, TRIAL_SEED + chosen.seed * STARTS_OF_A_SEED)
    words += ["--policy", "server", "--serve", f"policy={policy}", "--json", summary]
    stages.run("through_ros", words)
    return json.loads(summary.read_text(encoding="utf-8"))


def in_process(chosen: argparse.Namespace, stages: Stages, policy: Path) -> dict[str, object]:
    """By task: successes, trials, Wilson's interval, each outcome. Outside the demonstrated region, too."""
    file = chosen.folder / "in_process.json"
    words = [*tandem("vla", "eval"), policy, "--env", "bench", "--tasks", f"{TASK}/id", f"{TASK}/ood"]
    words += ["--trials", chosen.trials, "--seed", chosen.seed * STARTS_OF_A_SEED, "--json", file]
    stages.run("in_process", words, again=True)
    return json.loads(file.read_text(encoding="utf-8"))["tasks"]


def live(chosen: argparse.Namespace, name: str, episodes: int, first_start: int) -> list[object]:
    words = tandem("up", "bench", "--task", TASK, "--episodes", episodes, "--seed", first_start)
    return [*words, "--run", chosen.folder / f"run-{name}"]


def report(chosen: argparse.Namespace, stages: Stages, results: dict[str, dict]) -> None:
    ros = results["through_ros"]
    rates = {"through ROS": (ros["succeeded"], ros["judged"])}
    rates |= {
        f"in process, {task}": (row["successes"], row["trials"]) for task, row in results["in_process"].items()
    }
    print(f"\n{machine.line()}\nsimulated bench, {chosen.demos} scripted demonstrations, seed {chosen.seed}\n")
    for name, (won, tried) in rates.items():
        low, high = wilson(won, tried)
        print(f"{name:30}{won}/{tried}  ({100 * low:.0f} to {100 * high:.0f} %)")
    for name, cost in stages.taken().items():
        print(f"{name:30}{cost['wall_s'] / 60:.1f} min, {cost['processor_s'] / 60:.1f} min of a processor")
    print(f"asked: {ASKED}")
    if chosen.json:
        settings = ("demos", "sft_steps", "sft_flags", "episodes", "trials", "seed", "threads")
        content = {
            "what": "scripted demonstrations by `tandem up bench`, `tandem vla sft`, trials (simulated bench)",
            "machine": machine.describe(),
            "settings": {name: getattr(chosen, name) for name in settings},
            "taken": stages.taken(),
        }
        artefact.write_text(chosen.json, json.dumps(content | results, indent=2) + "\n")


if __name__ == "__main__":
    main()
