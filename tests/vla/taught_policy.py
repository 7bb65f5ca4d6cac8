"""A small policy of the dot task that has been taught until its chunks decode, in about a second."""

from __future__ import annotations

from pathlib import Path

import dot_task
import small_policy

from vla import policy_file
from vla.sft import fine_tuning
from vla.sft.config import Evaluation, Optimisation, TrainPolicy


def supervised(out: Path, **changes: object) -> TrainPolicy:
    values = {
        "data": ("dots",),
        "output": out,
        "horizon_steps": 4,
        "architecture": small_policy.SMALL,
        "threads": 1,
        "cached_variants": 1,
        "fast_vocabulary": 128,
        "device": "cpu",
        "optimisation": Optimisation(steps=6, batch=8, warmup_steps=2),
        "evaluation": Evaluation(every_steps=100, held_out_share=0.2),
    }
    return TrainPolicy.model_validate(values | changes)


def write(folder: Path) -> None:
    """`policy/` in the folder, of six episodes called `dots`."""
    schedule = Optimisation(steps=40, batch=8, warmup_steps=2, learning_rate=1e-2)
    run = fine_tuning.start(supervised(folder, optimisation=schedule), [dot_task.demonstrations(6)])
    for _ in range(schedule.steps):
        run.step()
    policy_file.save_policy(run.policy, folder / "policy")
