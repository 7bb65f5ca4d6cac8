"""MetaWorld, pixels and proprioception only: scripted demonstrations → SFT → RFT → success rates, beside LeRobot's ACT.

    python benchmarks/metaworld.py --folder out/metaworld --quick --json result.json

ACT is trained by `lerobot-train` on the same demonstrations for as long as SFT took (its own defaults; a ResNet-18
without ImageNet weights, since those are a download). Every step is kept in the folder: the same command goes on
after a stop. `--continual` runs the protocol of six base tasks and four more by `tandem vla continual` instead.
The benchmark's environment is made by `uv sync --project benchmarks/envs/metaworld`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from vla.intervals import wilson

ROOT = Path(__file__).parents[1]
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
"""MetaWorld's MT10; the first six are the base of the continual protocol."""
BASE = 6
HORIZON = 10
RATE_HZ, NAMES = 40, (("hand_x", "hand_y", "hand_z", "gripper"), ("hand_dx", "hand_dy", "hand_dz", "gripper"))


def main() -> None:
    chosen = flags()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.continual:
        continual(chosen)
        return
    dataset = demonstrations(chosen)
    trained = {"TandemVLA, SFT": sft(chosen, dataset)}
    trained["TandemVLA, SFT then RFT"] = rft(chosen, trained["TandemVLA, SFT"], dataset)
    for without in ("qacr", "ctar", "fcr") if chosen.ablations else ():
        trained[f"RFT without {without.upper()}"] = rft(chosen, trained["TandemVLA, SFT"], dataset, without)
    trained["LeRobot ACT, same time"] = act(chosen, dataset)
    results = {name: evaluated(chosen, name, policy) for name, policy in trained.items()}
    report(chosen, results)


def flags() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=Path("out/metaworld"))
    arguments.add_argument("--quick", action="store_true", help="two tasks, few demonstrations, short training")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument(
        "--tasks", type=int, default=len(TASKS), help="the first N of MT10, in this file's order"
    )
    arguments.add_argument("--demos", type=int, default=50)
    arguments.add_argument("--trials", type=int, default=50)
    arguments.add_argument("--sft-steps", type=int, default=6000)
    arguments.add_argument("--rft-steps", type=int, default=300)
    arguments.add_argument("--ablations", action="store_true", help="also RFT without each of its rewards")
    arguments.add_argument("--continual", action="store_true")
    arguments.add_argument("--method", choices=("sft", "rft"), default="rft", help="of --continual")
    arguments.add_argument("--replay", type=int, default=5, help="of --continual")
    chosen = arguments.parse_args()
    if chosen.quick:
        chosen.tasks, chosen.demos, chosen.trials = 2, 6, 3
        chosen.sft_steps, chosen.rft_steps = 60, 3
    chosen.tasks = TASKS[: chosen.tasks]
    chosen.folder = chosen.folder.resolve()
    return chosen


# ── demonstrations ──────────────────────────────────────────────────────────────────────────────────────────


def demonstrations(chosen: argparse.Namespace) -> Path:
    """One LeRobot dataset of all tasks, each frame with its task's instruction."""
    shown = experts(chosen, chosen.tasks, chosen.demos)
    return stored(chosen.folder / "dataset", [shown / task for task in chosen.tasks], chosen.demos)


def experts(chosen: argparse.Namespace, tasks: tuple[str, ...], episodes: int) -> Path:
    output = chosen.folder / "experts"
    words = [*peer("demonstrate.py"), output, "--tasks", *tasks, "--episodes", episodes]
    stage(chosen, "experts", words, again=True)
    return output


def peer(script: str) -> list[object]:
    python = PEER / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit("first: uv sync --project benchmarks/envs/metaworld")
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
    stage(chosen, "sft", words)
    return output / "policy"


def chunk_flags() -> list[object]:
    return ["--space", "tcp_delta_m_rad", "--horizon-steps", HORIZON]


def rft(chosen: argparse.Namespace, policy: Path, dataset: Path, without: str | None = None) -> Path:
    name = "rft" if without is None else f"rft-without-{without}"
    output = chosen.folder / name
    words = [*tandem("vla", "rft"), policy, dataset, "-o", output, "--voice", "tokens"]
    words += ["--optimisation.steps", chosen.rft_steps]
    words += [] if without is None else ["--without", without]
    stage(chosen, name, words)
    return output / "policy"


def act(chosen: argparse.Namespace, dataset: Path) -> Path:
    """LeRobot's own defaults, stopped when SFT's wall time is over; its newest checkpoint counts."""
    output, seconds = chosen.folder / "act", times(chosen)["sft"]
    last = output / "checkpoints" / "last" / "pretrained_model"
    if "act" in times(chosen):
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
        "steps": 1_000_000,
        "save_freq": 5 if chosen.quick else 100,
        "log_freq": 20,
        "num_workers": 0,
        "wandb.enable": "false",
    }
    words = [
        Path(sys.executable).with_name("lerobot-train"),
        *(f"--{key}={value}" for key, value in settings.items()),
    ]
    began = time.monotonic()
    with (chosen.folder / "act.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=subprocess.STDOUT, env=offline())
        try:
            while process.poll() is None and (time.monotonic() - began < seconds or not last.exists()):
                time.sleep(1)
                print(f"ACT trains: {time.monotonic() - began:.0f} of {seconds:.0f} s", end="\r", flush=True)
        finally:
            process.terminate()
            process.wait()
    if not last.exists():
        raise SystemExit(f"lerobot-train left no checkpoint; see {chosen.folder / 'act.log'}")
    note(chosen, "act", time.monotonic() - began)
    return last


def continual(chosen: argparse.Namespace) -> None:
    """AUC, FWT and NBT over MetaWorld's own success rates."""
    shown = experts(chosen, chosen.tasks, chosen.demos)
    base = len(chosen.tasks) // 2 if chosen.quick else BASE
    data = [stored(chosen.folder / "tasks" / task, [shown / task], chosen.demos) for task in chosen.tasks]
    name = f"continual-{chosen.method}-replay{chosen.replay}"
    evaluator = (
        f"{sys.executable} {ROOT / 'tandem.py'} vla eval {{policy}} --env metaworld --trials {chosen.trials} "
        "--tasks {tasks} --json {json}"
    )
    words = [*tandem("vla", "continual"), "-o", chosen.folder / name, "--method", chosen.method]
    words += ["--base", *data[:base], "--then", *data[base:], "--replay", chosen.replay]
    words += ["--base-demos", chosen.demos, "--demos", max(1, chosen.demos // 5), "--evaluator", evaluator]
    words += ["--sft.space", "tcp_delta_m_rad", "--sft.horizon-steps", HORIZON]
    words += ["--base-schedule.steps", chosen.sft_steps, "--stage-schedule.steps", max(20, chosen.sft_steps // 10)]
    words += ["--rft-schedule.steps", chosen.rft_steps]
    words += ["--json", chosen.json.resolve()] if chosen.json else []
    stage(chosen, name, words, again=True)


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────


def evaluated(chosen: argparse.Namespace, name: str, policy: Path) -> dict[str, list[int]]:
    """Through `tandem vla eval`, that is over the policy server's websocket. Task → (successes, trials)."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    file = chosen.folder / f"eval-{slug}.json"
    words = [*tandem("vla", "eval"), policy, "--env", "metaworld", "--trials", chosen.trials, "--json", file]
    stage(chosen, f"eval-{slug}", [*words, "--tasks", *chosen.tasks], again=True)
    tasks = json.loads(file.read_text(encoding="utf-8"))["tasks"]
    return {task: [row["successes"], row["trials"]] for task, row in tasks.items()}


def report(chosen: argparse.Namespace, results: dict[str, dict[str, list[int]]]) -> None:
    print(
        f"\n{machine.line()}\nMetaWorld 3.0 (simulated), {len(chosen.tasks)} tasks × {chosen.demos} demonstrations\n"
    )
    print(f"{'':28}" + "".join(f"{name:>26}" for name in results))
    for task in chosen.tasks:
        cells = [results[name][task] for name in results]
        print(f"{task:28}" + "".join(f"{rate(*cell):>26}" for cell in cells))
    totals = {name: [sum(column) for column in zip(*rows.values(), strict=True)] for name, rows in results.items()}
    print(f"{'all':28}" + "".join(f"{rate(*total):>26}" for total in totals.values()))
    print(f"\nseconds: {times(chosen)}")
    if chosen.json:
        content = {
            "machine": machine.describe(),
            "seconds": times(chosen),
            "demos": chosen.demos,
            "results": results,
        }
        chosen.json.write_text(json.dumps(content, indent=2), encoding="utf-8")


def rate(successes: int, trials: int) -> str:
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({100 * low:.0f}–{100 * high:.0f} %)"


# ── steps that are kept ─────────────────────────────────────────────────────────────────────────────────────


def stage(chosen: argparse.Namespace, name: str, words: list[object], again: bool = False) -> None:
    """Runs a command once; `again`: a command that itself knows what it has done already."""
    if name in times(chosen) and not again:
        return
    print(f"── {name}", flush=True)
    began = time.monotonic()
    if subprocess.run(list(map(str, words)), env=offline(), cwd=ROOT).returncode:
        raise SystemExit(f"{name} failed; the same command goes on from here")
    if name not in times(chosen):
        note(chosen, name, time.monotonic() - began)


def times(chosen: argparse.Namespace) -> dict[str, float]:
    """Seconds that each finished step took, in its last run."""
    file = chosen.folder / "times.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def note(chosen: argparse.Namespace, name: str, seconds: float) -> None:
    content = json.dumps(times(chosen) | {name: round(seconds, 1)}, indent=2)
    (chosen.folder / "times.json").write_text(content, encoding="utf-8")


def tandem(*words: str) -> list[object]:
    return [sys.executable, ROOT / "tandem.py", *words]


def offline() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    main()
