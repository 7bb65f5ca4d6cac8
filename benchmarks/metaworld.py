"""MetaWorld, pixels and proprioception only: scripted demonstrations → SFT → RFT → success rates, beside LeRobot's ACT.

    .tools/bin/uv sync --project benchmarks/envs/metaworld
    python benchmarks/metaworld.py --folder out/metaworld --quick --json result.json

ACT is trained by `lerobot-train` on the same demonstrations until it has had the processor for as long as SFT had (its
own defaults; a ResNet-18 without ImageNet weights, since those are a download). On a quiet machine that is the same
wall time; on a busy one it is the fairer of the two. Every step is kept in the folder: the same command goes on after
a stop. One task after another: `benchmarks/continual.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.stages import ROOT, Stages, tandem
from hardware import artefact
from vla import policy_file
from vla.intervals import wilson

PEER = ROOT / "benchmarks" / "envs" / "metaworld"
TASKS = (
    "reach-v3",
    "push-v3",
    "door-open-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "window-open-v3",
    "window-close-v3",
    "pick-place-v3",
    "peg-insert-side-v3",
)
"""MetaWorld's MT10."""
HORIZON = 10
SFT_BATCH, ACT_BATCH = 32, 8
"""Both programs' own."""
RATE_HZ, NAMES = 40, (("hand_x", "hand_y", "hand_z", "gripper"), ("hand_dx", "hand_dy", "hand_dz", "gripper"))


def main() -> None:
    chosen = flags()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    dataset = demonstrations(chosen)
    results: dict[str, dict[str, list[int]]] = {}
    for name, policy in trained(chosen, dataset):
        results[name] = evaluated(chosen, name, policy)
        report(chosen, results)


def trained(chosen: argparse.Namespace, dataset: Path) -> Iterator[tuple[str, Path]]:
    """One after another, so that each is tried before the next is trained."""
    supervised = sft(chosen, dataset)
    yield "SFT, consistency head", supervised
    yield "SFT, token head", speaking(supervised)
    yield "SFT then RFT, token head", rft(chosen, supervised, dataset)
    yield "LeRobot ACT, same time", act(chosen, dataset)
    for without in ("qacr", "ctar", "fcr") if chosen.ablations else ():
        yield f"RFT without {without.upper()}", rft(chosen, supervised, dataset, without)


def flags() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=Path("out/metaworld"))
    arguments.add_argument("--quick", action="store_true", help="two tasks, few demonstrations, short training")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--tasks", nargs="+", default=TASKS, help="any of MetaWorld's; else its MT10")
    arguments.add_argument("--demos", type=int, default=50)
    arguments.add_argument("--trials", type=int, default=50)
    arguments.add_argument("--sft-steps", type=int, default=6000)
    arguments.add_argument("--rft-steps", type=int, default=300)
    arguments.add_argument("--sft-flags", default="", help='more for `tandem vla sft`: "--architecture.width 96"')
    arguments.add_argument("--ablations", action="store_true", help="also RFT without each of its rewards")
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every training")
    chosen = arguments.parse_args()
    if chosen.quick:
        chosen.tasks, chosen.demos, chosen.trials = ("reach-v3", "drawer-close-v3"), 6, 3
        chosen.sft_steps, chosen.rft_steps = 40, 2
        chosen.sft_flags = "--architecture.width 64 --architecture.heads 4 --cached-variants 1"
    chosen.tasks = tuple(chosen.tasks)
    chosen.folder = chosen.folder.resolve()
    chosen.stages = Stages(chosen.folder, chosen.threads)
    return chosen


# ── demonstrations ──────────────────────────────────────────────────────────────────────────────────────────


def demonstrations(chosen: argparse.Namespace) -> Path:
    """One LeRobot dataset of all tasks, each frame with its task's instruction."""
    shown = experts(chosen, chosen.tasks, chosen.demos)
    return stored(chosen.folder / "dataset", [shown / task for task in chosen.tasks], chosen.demos)


def experts(chosen: argparse.Namespace, tasks: tuple[str, ...], episodes: int) -> Path:
    output = chosen.folder / "experts"
    words = [*peer("demonstrate.py"), output, "--tasks", *tasks, "--episodes", episodes]
    chosen.stages.run("experts", words, again=True)
    return output


def peer(script: str) -> list[object]:
    python = PEER / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit("first: .tools/bin/uv sync --project benchmarks/envs/metaworld")
    return [python, PEER / script]


def stored(folder: Path, tasks: list[Path], episodes: int) -> Path:
    """Pictures as pictures, not as video: ACT's random access must not pay for decoding."""
    if folder.exists():
        return folder
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    picture = {"dtype": "image", "shape": (128, 128, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.images.front": picture,
        "observation.state": {"dtype": "float32", "shape": (4,), "names": list(NAMES[0])},
        "action": {"dtype": "float32", "shape": (4,), "names": list(NAMES[1])},
    }
    made = LeRobotDataset.create("local/metaworld", RATE_HZ, features, root=partial, use_videos=False)

    instructions = instructions_of_tasks()
    for task in tasks:
        for file in sorted(task.glob("*.npz"))[:episodes]:
            episode = np.load(file, allow_pickle=False)
            for front, state, action in zip(episode["front"], episode["state"], episode["action"], strict=True):
                made.add_frame(
                    {
                        "observation.images.front": front,
                        "observation.state": state,
                        "action": action,
                        "task": instructions.get(task.name, task.name),
                    }
                )
            made.save_episode()
        print(f"{task.name}: stored", flush=True)
    made.finalize()
    partial.replace(folder)
    return folder


def instructions_of_tasks() -> dict[str, str]:
    """As the peer says them: asked of it, since its packages are not here."""
    words = [*peer("scenes.py")][:1]
    program = "import json, scenes; print(json.dumps(scenes.INSTRUCTIONS))"
    done = subprocess.run(
        [*map(str, words), "-c", program], cwd=PEER, capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout)


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────


def sft(chosen: argparse.Namespace, dataset: Path) -> Path:
    output = chosen.folder / "sft"
    words = [*tandem("vla", "sft"), dataset, "-o", output, *chunk_flags(), "--optimisation.steps", chosen.sft_steps]
    words += ["--evaluation.patience", 0, "--evaluation.every-steps", max(20, chosen.sft_steps // 10)]
    words += ["--threads", chosen.threads, "--optimisation.batch", SFT_BATCH, *features(chosen)]
    words += shlex.split(chosen.sft_flags)
    chosen.stages.run("sft", words, samples=SFT_BATCH * chosen.sft_steps)
    return output / "policy"


def speaking(policy: Path) -> Path:
    """The same weights, acting by tokens: what RFT starts from."""
    copy = policy.with_name("policy-tokens")
    model = policy_file.load_policy(policy)
    model.config = model.config.but(voice="tokens")
    policy_file.save_policy(model, copy)
    return copy


def chunk_flags() -> list[object]:
    return ["--space", "tcp_delta_m_rad", "--horizon-steps", HORIZON]


def features(chosen: argparse.Namespace) -> list[object]:
    """Pictures are encoded once for all trainings."""
    return ["--features", chosen.folder / "features"]


def rft(chosen: argparse.Namespace, policy: Path, dataset: Path, without: str | None = None) -> Path:
    name = "rft" if without is None else f"rft-without-{without}"
    output = chosen.folder / name
    words = [*tandem("vla", "rft"), policy, dataset, "-o", output, "--voice", "tokens", *features(chosen)]
    words += ["--optimisation.steps", chosen.rft_steps, "--threads", chosen.threads]
    words += [] if without is None else ["--without", without]
    chosen.stages.run(name, words)
    return output / "policy"


def act(chosen: argparse.Namespace, dataset: Path) -> Path:
    """LeRobot's own defaults, stopped when SFT's processor time is over; its newest checkpoint counts."""
    output, seconds = chosen.folder / "act", chosen.stages.taken()["sft"]["processor_s"]
    last = output / "checkpoints" / "last" / "pretrained_model"
    if "act" in chosen.stages.taken():
        return last
    shutil.rmtree(output, ignore_errors=True)
    settings = {
        "policy.type": "act",
        "policy.chunk_size": HORIZON,
        "policy.n_action_steps": HORIZON,
        "policy.pretrained_backbone_weights": "null",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "dataset.repo_id": "local/metaworld",
        "dataset.root": dataset,
        "output_dir": output,
        "batch_size": ACT_BATCH,
        "steps": 1_000_000,
        "save_freq": 5 if chosen.quick else 50,
        "log_freq": 20,
        "num_workers": 0,
        "wandb.enable": "false",
    }
    words = [
        Path(sys.executable).with_name("lerobot-train"),
        *(f"--{key}={value}" for key, value in settings.items()),
    ]
    print("── act", flush=True)
    began, spent = time.monotonic(), 0.0
    with (chosen.folder / "act.log").open("wb") as log:
        process = psutil.Popen(
            list(map(str, words)), stdout=log, stderr=subprocess.STDOUT, env=chosen.stages.surroundings()
        )
        try:
            while process.poll() is None and (spent < seconds or not last.exists()):
                times = process.cpu_times()
                spent = times.user + times.system
                only_newest(output / "checkpoints")
                time.sleep(1)
        finally:
            process.terminate()
            process.wait()
    if not last.exists():
        raise SystemExit(f"lerobot-train left no checkpoint; see {chosen.folder / 'act.log'}")
    steps = int(last.parent.resolve().name)
    chosen.stages.note(
        "act", {"wall_s": time.monotonic() - began, "processor_s": spent, "samples": ACT_BATCH * steps}
    )
    return last


def only_newest(checkpoints: Path) -> None:
    """One of ACT's with its optimiser takes 0.6 GB."""
    newest = checkpoints / "last"
    if newest.exists():
        for folder in checkpoints.iterdir():
            if folder.name.isdigit() and int(folder.name) < int(newest.resolve().name):
                shutil.rmtree(folder)


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────


def evaluated(chosen: argparse.Namespace, name: str, policy: Path) -> dict[str, list[int]]:
    """Through `tandem vla eval`, that is over the policy server's websocket. Task → (successes, trials)."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    file = chosen.folder / f"eval-{slug}.json"
    words = [*tandem("vla", "eval"), policy, "--env", "metaworld", "--trials", chosen.trials, "--json", file]
    chosen.stages.run(f"eval-{slug}", [*words, "--tasks", *chosen.tasks], again=True)
    tasks = json.loads(file.read_text(encoding="utf-8"))["tasks"]
    return {task: [row["successes"], row["trials"]] for task, row in tasks.items()}


def report(chosen: argparse.Namespace, results: dict[str, dict[str, list[int]]]) -> None:
    """What is known so far."""
    print(
        f"\n{machine.line()}\nMetaWorld 3.0 (simulated), {len(chosen.tasks)} tasks × {chosen.demos} demonstrations\n"
    )
    print(f"{'':28}" + "".join(f"{name:>30}" for name in results))
    for task in chosen.tasks:
        cells = [results[name][task] for name in results]
        print(f"{task:28}" + "".join(f"{rate(*cell):>30}" for cell in cells))
    totals = {name: summed(rows) for name, rows in results.items()}
    print(f"{'all':28}" + "".join(f"{rate(*total):>30}" for total in totals.values()))
    for name, cost in chosen.stages.taken().items():
        learned = f", {cost['samples'] / cost['processor_s']:.1f} samples/s of it" if "samples" in cost else ""
        print(f"{name}: {cost['wall_s']:.0f} s, {cost['processor_s']:.0f} s of a processor{learned}")
    if chosen.json:
        content = {
            "machine": machine.describe(),
            "tasks": chosen.tasks,
            "demonstrations": chosen.demos,
            "sft_steps": chosen.sft_steps,
            "sft_flags": chosen.sft_flags,
            "rft_steps": chosen.rft_steps,
            "threads": chosen.threads,
            "taken": chosen.stages.taken(),
            "results": results,
            "all": {name: [*total, *map(float, wilson(*total))] for name, total in totals.items()},
        }
        artefact.write_text(chosen.json, json.dumps(content, indent=2) + "\n")
        figure(results, totals, chosen.json.with_suffix(".png"))


def summed(rows: dict[str, list[int]]) -> tuple[int, int]:
    successes, trials = zip(*rows.values(), strict=True)
    return sum(successes), sum(trials)


def figure(results: dict[str, dict[str, list[int]]], totals: dict[str, tuple[int, int]], file: Path) -> None:
    """Bars with Wilson's 95 % intervals, a group for each task and one for all."""
    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    axis = drawn.subplots()
    width = 0.8 / len(results)
    for place, (name, rows) in enumerate(results.items()):
        cells = [*map(tuple, rows.values()), totals[name]]
        rates = np.array([successes / trials for successes, trials in cells])
        bounds = np.array([wilson(*cell) for cell in cells]).T
        axis.bar(
            np.arange(len(cells)) + (place - (len(results) - 1) / 2) * width,
            100 * rates,
            width,
            yerr=100 * np.abs(bounds - rates),
            capsize=2,
            label=name,
        )
    tasks = [*next(iter(results.values())), "all"]
    axis.set(ylabel="success [%]", ylim=(0, 105), xticks=range(len(tasks)))
    axis.set_xticklabels([task.removesuffix("-v3") for task in tasks], rotation=20, ha="right")
    drawn.legend(loc="outside upper center", ncols=4, fontsize=8)
    drawn.savefig(file, dpi=110)


def rate(successes: int, trials: int) -> str:
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({100 * low:.0f}–{100 * high:.0f} %)"


if __name__ == "__main__":
    main()
