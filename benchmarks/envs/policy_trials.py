"""A policy behind `tandem vla serve`, tried in an outside benchmark's tasks over its websocket: successes by task out.

One picture of each camera is drawn for each chunk, and the whole chunk is executed. Goes on where it was stopped:
trial k of a task always starts from the same state. Runs in the benchmark's own environment.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from vla.client import PolicyClient

FIRST_REPLY_S, REPLY_S = 120.0, 60.0


class Scene(Protocol):
    """One task."""

    instruction: str

    def start(self, trial: int) -> None: ...

    def state(self) -> np.ndarray: ...

    def pictures(self) -> dict[str, np.ndarray]:
        """By camera, uint8 [H, W, 3]."""
        ...

    def act(self, action: np.ndarray) -> bool:
        """True: success."""
        ...

    def close(self) -> None: ...


def run(
    about: str | None,
    open_scene: Callable[[str], Scene],
    tasks: Sequence[str],
    state_names: Sequence[str],
    action_dims: int,
    longest_steps: Callable[[str], int],
) -> None:
    """The whole program. `tasks`: those of a call that names none. `longest_steps(task)`: actions in a trial."""
    arguments = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--port", type=int, default=8765)
    arguments.add_argument("--json", type=Path, required=True)
    arguments.add_argument("--tasks", nargs="+", default=list(tasks))
    arguments.add_argument("--trials", type=int, default=50)
    arguments.add_argument("--longest-steps", type=int, help="less than the benchmark allows: to see that it runs")
    chosen = arguments.parse_args()
    before = json.loads(chosen.json.read_text(encoding="utf-8"))["tasks"] if chosen.json.exists() else {}
    outcomes = {task: list(row["outcomes"]) for task, row in before.items()}  # other tasks' trials are kept, too
    client = PolicyClient(port=chosen.port, connect_timeout_s=30)
    for task in chosen.tasks:
        row = outcomes.setdefault(task, [])
        if len(row) >= chosen.trials:
            continue
        scene = open_scene(task)
        longest = min(longest_steps(task), chosen.longest_steps or sys.maxsize)
        while len(row) < chosen.trials:
            scene.start(len(row))
            client.reset()
            success, steps = trial(scene, client, state_names, action_dims, longest)
            row.append(int(success))
            print(f"{task}: trial {len(row)} {'ok' if success else 'failed'} after {steps} steps", flush=True)
            write(chosen.json, outcomes)
        scene.close()
    client.close()


def trial(
    scene: Scene, client: PolicyClient, state_names: Sequence[str], action_dims: int, longest_steps: int
) -> tuple[bool, int]:
    """Success, and the actions it took."""
    done = 0
    while done < longest_steps:
        asked = message(scene, state_names)
        chunk = np.asarray(client.infer(asked, FIRST_REPLY_S if done == 0 else REPLY_S)["actions"])
        if chunk.ndim != 2 or chunk.shape[1] != action_dims:
            raise SystemExit(f"the policy's chunk is {chunk.shape}, the hand takes [T, {action_dims}]")
        for action in chunk[: longest_steps - done]:
            done += 1
            if scene.act(action):
                return True, done
    return False, done


def message(scene: Scene, state_names: Sequence[str]) -> dict[str, object]:
    """As `vla.exchange.message` writes it."""
    stamp_ns, pictures = time.monotonic_ns(), scene.pictures()
    return {
        "observation/state": scene.state(),
        **{f"observation/{camera}": rgb for camera, rgb in pictures.items()},
        "prompt": scene.instruction,
        "tandem/joint_names": list(state_names),
        "tandem/stamp_ns": stamp_ns,
        "tandem/image_stamps_ns": dict.fromkeys(pictures, stamp_ns),
    }


def write(file: Path, outcomes: dict[str, list[int]]) -> None:
    tasks = {
        task: {"successes": sum(row), "trials": len(row), "outcomes": row} for task, row in outcomes.items() if row
    }
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"tasks": tasks}, indent=2), encoding="utf-8")
    part.replace(file)
