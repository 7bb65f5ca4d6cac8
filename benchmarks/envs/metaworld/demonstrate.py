"""Lets MetaWorld's scripted experts show each task: one compressed .npz per successful episode.

    python demonstrate.py OUTPUT --tasks reach-v3 push-v3 --episodes 50

Goes on where it was stopped. An episode holds `front` uint8 [T, 128, 128, 3], `state` [T, 4] and `action` [T, 4].
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from scenes import DEMONSTRATION_SEED, INSTRUCTIONS, Scene

LONGEST_STEPS, HOLD_STEPS = 200, 5
"""An expert that has not succeeded by then is left out; after success it goes on for a moment."""


def episode(scene: Scene, seed: int) -> dict[str, np.ndarray] | None:
    """None: the expert failed from this start."""
    scene.reset(seed)
    expert = scene.expert()
    pictures, states, actions = [], [], []
    left = None
    for _ in range(LONGEST_STEPS):
        pictures.append(scene.picture())
        states.append(scene.state())
        actions.append(expert())
        if scene.act(actions[-1]) and left is None:
            left = HOLD_STEPS
        if left is not None:
            left -= 1
            if left <= 0:
                return {"front": np.stack(pictures), "state": np.stack(states), "action": np.stack(actions)}
    return None


def demonstrate(task: str, wanted: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    have = sorted(folder.glob("*.npz"))
    if len(have) >= wanted:
        return
    scene = Scene(task)
    seed = int(have[-1].stem) + 1 if have else DEMONSTRATION_SEED
    count = len(have)
    while count < wanted:
        made = episode(scene, seed)
        if made is not None:
            part = folder / f"{seed:06}.part"
            with part.open("wb") as file:
                np.savez_compressed(file, **made)
            part.replace(folder / f"{seed:06}.npz")
            count += 1
        print(f"{task}: {count} of {wanted}", flush=True)
        seed += 1
        if seed - DEMONSTRATION_SEED > 3 * wanted:
            raise SystemExit(f"{task}: the expert succeeded in {count} of {seed - DEMONSTRATION_SEED} only")
    scene.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--tasks", nargs="+", default=list(INSTRUCTIONS))
    arguments.add_argument("--episodes", type=int, default=50)
    chosen = arguments.parse_args()
    warnings.filterwarnings("ignore", message="Constant")  # an expert whose gain is clipped, as it means to be
    for task in chosen.tasks:
        demonstrate(task, chosen.episodes, chosen.output / task)


if __name__ == "__main__":
    main()
