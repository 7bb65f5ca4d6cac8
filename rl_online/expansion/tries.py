"""One try of `tandem rl expand` after another: a start and a generator in, a stored episode and its outcome out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.episode import Source
from hardware.kinematics import Unreachable
from rl_online.demos import column_names, draw, step
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.expansion.config import ExpandDemos
from rl_online.expansion.corrections import NothingToCorrect
from rl_online.expansion.generators import Generator, Part
from rl_online.expansion.motion_planner import NoWay
from rl_online.starts.regions import PartName, Region
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.world import World
from vla.policy import GRIPPER

log = logging.getLogger(__name__)

SOLVED_COUNTS = 0.1
SETTLE_STEPS = 10
"""After the last target, for the object to come to rest."""
Result = Literal["success", "failure", "unreachable", "solved"]
"""solved: by the policy that was to be corrected."""


class Try(Config):
    """One episode, as it came out."""

    number: int
    demo: int | None
    """The demonstration that it was made of."""
    start: TaskStart
    result: Result
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Starts:
    """Where demonstrations are to begin."""

    regions: Sequence[tuple[PartName, Region]]
    part: PartName
    plan: ResetPlan | None

    def draw(self, rng: np.random.Generator) -> TaskStart:
        return draw(self.regions, self.part, rng) if self.plan is None else self.plan.draw(rng)[1]


def attempt(
    number: int,
    starts: Starts,
    world: World,
    generator: Generator,
    config: ExpandDemos,
) -> Try:
    """Try `number` is a function of the seed: its start, and what the generator draws."""
    rng = np.random.default_rng([config.seed, number])
    start = starts.draw(rng)
    world.reset([start], [0])
    demo = generator.demo_for(world.moment())
    try:
        episode, success = run(world, generator, rng, config)
    except NothingToCorrect:
        return Try(number=number, demo=demo, start=start, result="solved")
    except (Unreachable, NoWay) as error:
        log.debug("try %d: %s", number, error)
        return Try(number=number, demo=demo, start=start, result="unreachable")
    if success and len(episode) == 0:
        return Try(number=number, demo=demo, start=start, result="solved")
    if success:
        source: Source = "twin" if config.world.bundle is not None else "scripted"
        cameras = world.camera_names if config.cameras else ()
        instruction = world.sheet.instruction
        store_episode(episode, config.output / "store", instruction, source, True, cameras, world.label)
    return Try(
        number=number, demo=demo, start=start, result="success" if success else "failure", steps=len(episode)
    )


def run(
    world: World, generator: Generator, rng: np.random.Generator, config: ExpandDemos
) -> tuple[EpisodeLog, bool]:
    """Until the outcome is a success, the generator's parts are over and at rest, or time is out."""
    left = round(world.sheet.time_limit_s * world.rate_hz)
    columns = (column_names(world, config.poses), (*world.joint_names, GRIPPER), world.rate_hz)
    episode, aside = (EpisodeLog(*columns, picture_stride=config.picture_stride) for _ in range(2))

    def success_after(part: Part) -> bool:
        nonlocal left
        log, cameras = (episode, config.cameras) if part.is_shown else (aside, False)
        for action in part.actions[:left]:
            step(world, action, log, cameras)
            left -= 1
            if world.moment().success[0]:
                return True
        return False

    parts = generator.parts(world.moment(), rng)
    part = next(parts)
    while True:
        if success_after(part):
            return episode, True
        try:
            part = parts.send(world.moment())
        except StopIteration:
            return episode, success_after(Part(np.tile(part.actions[-1], (SETTLE_STEPS, 1))))


def spent(done: Sequence[Try]) -> float:
    """Tries, of those that `most_tries` limits."""
    return sum((SOLVED_COUNTS if one.result == "solved" else 1.0 for one in done), 0.0)
