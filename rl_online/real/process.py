"""`python -m rl_online.real.process learner|coach --run RUN`: the two processes of a guided run beside the robot.

It says that it is there before it loads what is heavy, and lets the robot's processes go first.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import tyro

from hardware import notify
from hardware.config import Config
from hardware.errors import TandemError

NICE = 15


class BesideRobot(Config):
    """Learn, or coach, for a guided run until told to stop."""

    what: Annotated[Literal["learner", "coach"], tyro.conf.Positional]
    run: Path


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    config = tyro.cli(BesideRobot, prog="python -m rl_online.real.process")

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    notify.ready()
    try:
        return importlib.import_module(f"rl_online.real.{config.what}").run_for(config.run)
    except TandemError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
