"""Runs the policy behind `tandem vla serve` in MetaWorld, over its websocket; writes successes and trials by task.

    python evaluate.py --port 8765 --json result.json --tasks reach-v3 --trials 50

One picture is drawn for each chunk, and the whole chunk is executed. Goes on where it was stopped: trial k of a task
always starts from the same state.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from scenes import ACTION_NAMES, INSTRUCTIONS, STATE_NAMES, TRIAL_SEED, Scene

sys.path.insert(0, str(Path(__file__).parents[3]))

from vla.client import PolicyClient

FIRST_REPLY_S, REPLY_S = 120.0, 60.0


def message(scene: Scene, stamp_ns: int) -> dict[str, object]:
    """As `vla.exchange.message` writes it."""
    return {
        "observation/state": scene.state(),
        "observation/front": scene.picture(),
        "prompt": scene.instruction,
        "tandem/joint_names": list(STATE_NAMES[:-1]),
        "tandem/stamp_ns": stamp_ns,
        "tandem/image_stamps_ns": {"front": stamp_ns},
    }


def trial(scene: Scene, client: PolicyClient, seed: int, longest_steps: int) -> tuple[bool, int]:
    """Success, and the actions it took."""
    scene.reset(seed)
    client.reset()
    left = min(longest_steps, scene.steps_left())
    done = 0
    while done < left:
        asked = message(scene, time.monotonic_ns())
        chunk = np.asarray(client.infer(asked, FIRST_REPLY_S if done == 0 else REPLY_S)["actions"])
        if chunk.ndim != 2 or chunk.shape[1] != len(ACTION_NAMES):
            raise SystemExit(f"the policy's chunk is {chunk.shape}, the hand takes [T, {len(ACTION_NAMES)}]")
        for action in chunk[: left - done]:
            done += 1
            if scene.act(action):
                return True, done
    return False, done


def evaluate(task: str, client: PolicyClient, outcomes: list[int], chosen: argparse.Namespace) -> None:
    """Appends 1 or 0 for each trial that is missing."""
    if len(outcomes) >= chosen.trials:
        return
    scene = Scene(task)
    while len(outcomes) < chosen.trials:
        success, steps = trial(scene, client, TRIAL_SEED + len(outcomes), chosen.longest_steps)
        outcomes.append(int(success))
        print(f"{task}: trial {len(outcomes)} {'ok' if success else 'failed'} after {steps} steps", flush=True)
        write(chosen.json, chosen.outcomes)
    scene.close()


def write(file: Path, outcomes: dict[str, list[int]]) -> None:
    tasks = {
        task: {"successes": sum(row), "trials": len(row), "outcomes": row} for task, row in outcomes.items() if row
    }
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"tasks": tasks}, indent=2), encoding="utf-8")
    part.replace(file)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--port", type=int, default=8765)
    arguments.add_argument("--json", type=Path, required=True)
    arguments.add_argument("--tasks", nargs="+", default=list(INSTRUCTIONS))
    arguments.add_argument("--trials", type=int, default=50)
    arguments.add_argument("--longest-steps", type=int, default=150)
    chosen = arguments.parse_args()
    before = json.loads(chosen.json.read_text(encoding="utf-8"))["tasks"] if chosen.json.exists() else {}
    chosen.outcomes = {task: list(before.get(task, {}).get("outcomes", [])) for task in chosen.tasks}
    client = PolicyClient(port=chosen.port, connect_timeout_s=30)
    for task, outcomes in chosen.outcomes.items():
        evaluate(task, client, outcomes, chosen)
    client.close()


if __name__ == "__main__":
    main()
