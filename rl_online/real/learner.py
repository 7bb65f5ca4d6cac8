"""`tandem rl learn` for a guided run: first its offline stage alone, then without an end beside the robot."""

from __future__ import annotations

from pathlib import Path

import torch

from hardware import config as configs
from hardware.errors import BadInput
from rl_online.learning.learner import CHECKPOINT, POLICY, LearnOnline, learn
from rl_online.learning.link import FOR_ACTORS, RunSettings
from rl_online.real.config import LEARNER, SETTINGS, GuideReal

ENDLESS = 1_000_000
"""Chunks: the run's budget is robot time, not chunks."""
PATIENCE_S = 24 * 3600.0


def reference_of(config: GuideReal) -> Path:
    """Folder of the policy by which observations are kept: the one that all of the learning began with.

    Raises `BadInput` where `inherit` is no run, or `policy` another one's.
    """
    if config.inherit is None:
        return config.policy
    if not (config.inherit / CHECKPOINT).is_file():
        raise BadInput(f"{config.inherit} has no {CHECKPOINT}", "name a run folder of `tandem rl learn`")
    if config.policy.resolve() != (config.inherit / POLICY).resolve():
        raise BadInput(
            f"{config.policy} is not the policy of the run that is inherited", f"--policy {config.inherit / POLICY}"
        )
    return configs.read(RunSettings, config.inherit / FOR_ACTORS).policy


def settings_of(config: GuideReal, run: Path) -> LearnOnline:
    return LearnOnline(
        policy=reference_of(config),
        output=run / LEARNER,
        demos=config.demos,
        inherit=config.inherit,
        inherit_successes=0 if config.twin_successes else config.seed_successes,
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
