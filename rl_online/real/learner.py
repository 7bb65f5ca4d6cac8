"""`tandem rl learn` for a guided run: first its offline stage alone, then without an end beside the robot."""

from __future__ import annotations

from pathlib import Path

import torch

from hardware import config as configs
from rl_online.learning.learner import LearnOnline, learn
from rl_online.real.config import LEARNER, SETTINGS, GuideReal

ENDLESS = 1_000_000
"""Chunks: the run's budget is robot time, not chunks."""
PATIENCE_S = 24 * 3600.0


def settings_of(config: GuideReal, run: Path) -> LearnOnline:
    return LearnOnline(
        policy=config.policy,
        output=run / LEARNER,
        demos=config.demos,
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
