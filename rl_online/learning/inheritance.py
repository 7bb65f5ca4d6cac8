"""What a run on the robot takes from a run in the twin: its agent, some of what was tried there, what was shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware import config as configs
from hardware.errors import BadInput
from rl_online.learning.link import FOR_ACTORS, RunSettings
from rl_online.learning.presets import Algorithm, preset
from rl_online.learning.replay import Transitions, episodes_of, joined, read_all
from rl_online.learning.run_folder import CHECKPOINT, ONLINE


def require(run: Path, pays: Algorithm, successes: int, failures: int) -> None:
    """Raises `BadInput` where it is no run, was paid otherwise, or tried too few episodes."""
    theirs = told_actors(run)
    paid = theirs.process.laid_on(preset(theirs.preset))
    if (paid.rewards, paid.gamma) != (pays.rewards, pays.gamma):
        raise BadInput(
            f"{run} learned with the rewards {paid.rewards} and γ {paid.gamma}, this run has {pays.rewards} and γ "
            f"{pays.gamma}: its critics and chunks are worth something else here",
            f"--preset {theirs.preset} --process.weight {theirs.process.weight:g}, or inherit another run",
        )
    tried = read_all(run / ONLINE)
    for kind, wanted in (("successes", successes), ("failures", failures)):
        have = count_of(episodes_of(tried, kind == "successes", wanted))
        if have < wanted:
            asks = f"--inherit-{kind} {have}" + (
                f" (rl real: --seed-successes {have})" if kind == "successes" else ""
            )
            raise BadInput(f"{run} tried {have} {kind}; {wanted} are to be inherited", f"ask for fewer: {asks}")


def told_actors(run: Path) -> RunSettings:
    """Raises `BadInput` where it is no run."""
    if not (run / CHECKPOINT).is_file():
        raise BadInput(f"{run} has no {CHECKPOINT}", "name a run folder of `tandem rl learn`")
    return configs.read(RunSettings, run / FOR_ACTORS)


def tried_in(run: Path, successes: int, failures: int) -> Transitions:
    """The newest episodes of each kind."""
    tried = read_all(run / ONLINE)
    return joined([episodes_of(tried, True, successes), episodes_of(tried, False, failures)])


def count_of(rows: Transitions) -> int:
    """Episodes, whose rows lie together."""
    return int(np.count_nonzero(np.diff(rows.episode, prepend=-1)))
