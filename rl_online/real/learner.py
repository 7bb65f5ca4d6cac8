"""`tandem rl learn` for a guided run: first its offline stage alone, then without an end beside the robot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from hardware import artefact
from hardware import config as configs
from hardware.errors import BadInput
from rl_online.learning.inheritance import told_actors
from rl_online.learning.learner import LearnOnline, learn
from rl_online.learning.run_folder import POLICY
from rl_online.real.config import LEARNER, SETTINGS, GuideReal

ENDLESS = 1_000_000
"""Chunks: the run's budget is robot time, not chunks."""
PATIENCE_S = 24 * 3600.0
START, REFERENCE = "start", "reference"


def start_of(config: GuideReal) -> Path:
    """Folder of the policy that acts before the gate has let another through."""
    pinned = config.output / START
    return pinned if pinned.is_dir() else config.policy


def reference_of(config: GuideReal) -> Path:
    """Folder of the policy by which observations are kept: the one that all of the learning began with.

    Raises `BadInput` where `inherit` is no run, or `policy` another one's.
    """
    if config.inherit is None:
        return config.policy
    pinned = config.output / REFERENCE
    if pinned.is_dir():
        return pinned
    theirs = told_actors(config.inherit)
    if config.policy.resolve() != (config.inherit / POLICY).resolve():
        raise BadInput(
            f"{config.policy} is not the policy of the run that is inherited", f"--policy {config.inherit / POLICY}"
        )
    return theirs.policy


def pin(config: GuideReal) -> None:
    """Copies what is inherited by path: the other run may go on, or its folder move."""
    if config.inherit is None:
        return
    for name, folder in ((START, config.policy), (REFERENCE, reference_of(config))):
        if not (config.output / name).is_dir():
            with artefact.staged_folder(config.output / name) as staged:
                shutil.copytree(folder, staged, dirs_exist_ok=True)


def settings_of(config: GuideReal, run: Path) -> LearnOnline:
    inherited: dict[str, Any] = {}
    if config.inherit is not None:
        count = 0 if config.twin_successes else config.seed_successes
        inherited = {"inherit": config.inherit, "inherit_successes": count}
    return LearnOnline(
        policy=reference_of(config),
        output=run / LEARNER,
        demos=config.demos,
        **inherited,
        preset=config.preset,
        offline_steps=config.offline_steps,
        transitions=ENDLESS,
        idle_timeout_s=PATIENCE_S,
        seed=config.seed,
    )


def run_for(run: Path) -> int:
    """In `rl_online.real.process`."""
    torch.set_num_threads(1)
    return learn(settings_of(configs.read(GuideReal, run / SETTINGS), run))
