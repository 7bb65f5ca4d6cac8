"""`python -m rl_online.real_learner`: `tandem rl learn` as a supervised process of a guided run."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import torch
import tyro

from hardware import config as configs
from hardware import notify
from hardware.config import Config
from rl_online.learner import LearnOnline, learn
from rl_online.real_config import LEARNER, SETTINGS, GuideReal

ENDLESS = 1_000_000
"""Chunks: the run's budget is robot time, not chunks."""
PATIENCE_S = 24 * 3600.0
NICE = 15
"""The robot's processes go first."""


class LearnRun(Config):
    """Learn for a guided run until told to stop."""

    run: Path


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


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    torch.set_num_threads(1)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    config = tyro.cli(LearnRun, prog="python -m rl_online.real_learner")

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    notify.ready()
    try:
        return learn(settings_of(configs.read(GuideReal, config.run / SETTINGS), config.run))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
