"""A description of a world in; the world out. The bench needs nothing; a twin needs a bundle and a task."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, NonNegativeInt, PositiveFloat

from hardware.bench.arm_models import ArmName
from hardware.bench.plant_config import LiveCamera, PlantConfig
from hardware.config import Config
from hardware.errors import BadInput
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.looks import Looks
from rl_online.worlds.tasks import TaskChoice, TwinTask, of_the_bench, task_in_twin
from rl_online.worlds.twin import DELAY_TICK_S, TwinWorld
from rl_online.worlds.world import World
from twin import servos
from twin.sim import scene
from twin.sim.open import Engine, open_simulator

log = logging.getLogger(__name__)


class WorldChoice(Config):
    """Where episodes are run."""

    bundle: Path | None = None
    """A twin bundle with contact. Without one: the bench's plant: simulated, and standing in for the real side."""
    engine: Engine = "mujoco"
    task: TaskChoice = "pick_place"
    """Start regions, goal, time limit and words: of the bench's catalogue, or in a twin a file that describes your own
    task (`tandem rl task`)."""
    arm: ArmName = "so101"
    object_name: str = ""
    """The task's object in the twin; empty: as the task calls it."""
    success_half_m: PositiveFloat | None = None
    """A twin's episode is a success when the object is within this of the goal in x and y. None: as the bench's task
    has it."""
    success_height_m: PositiveFloat | None = None
    """And no higher than this over the table: more where a scanned tray's hollow is filled in part."""
    seed: NonNegativeInt = 0
    """Of the bench's looks and sizes."""
    rate_hz: PositiveFloat = 20.0
    varied: bool = False
    """Vary the twin's pictures from episode to episode, as `looks` says."""
    looks: Looks = Looks()
    camera_px: Annotated[int, Field(ge=2)] | None = None
    """Width of the pictures; their height is three quarters of it. None: the bench's as its cell has them, a twin's a
    little wider than a policy looks at."""


BENCH_PX, TWIN_PX = 320, 160
"""Pictures of 160 pixels in demonstrations, and a cell's of 320 before the policy: 5 of 10 became none."""
WorldFlag = Annotated[WorldChoice, tyro.conf.arg(name="world")]
Side = Literal["bench", "twin"]


def plant_config(choice: WorldChoice) -> PlantConfig:
    width_px = choice.camera_px or BENCH_PX
    camera = LiveCamera(width_px=width_px, height_px=width_px * 3 // 4)
    return PlantConfig(
        task=of_the_bench(choice.task),
        arm_model=choice.arm,
        seed=choice.seed,
        cameras={"cam_front": camera, "cam_wrist": camera},
    )


def open_world(choice: WorldChoice, n_envs: int = 1) -> World:
    """A twin's servos are the identified ones, their delay included, where `tandem twin identify` left them.

    Raises `BadInput` for a bundle that cannot be simulated.
    """
    if choice.bundle is None:
        if choice.varied:
            raise BadInput("the bench's looks are its own", "--world.bundle TWIN, or --world.no-varied")
        return BenchWorld(plant_config(choice), n_envs, choice.rate_hz)
    return open_twin(choice, choice.bundle, task_in_twin(choice.task, choice.arm), n_envs)


def open_twin(choice: WorldChoice, bundle: Path, task: TwinTask, n_envs: int = 1) -> TwinWorld:
    """Its world, for that task in place of the choice's. Raises `BadInput`."""
    asked = {"half_m": choice.success_half_m, "height_m": choice.success_height_m}
    outcome = task.outcome.but(**{name: value for name, value in asked.items() if value is not None})
    task = task.but(object_name=choice.object_name or task.object_name)
    found = servos.find(bundle)
    if found is None:
        log.warning(
            "the servos of %s are the arm model's own; its cell's: tandem twin identify %s EPISODES",
            *(bundle, bundle),
        )
    delay_s = 0.0 if found is None else found.servos.delay_s
    ticks = 1 if delay_s == 0 else math.ceil(1 / (choice.rate_hz * DELAY_TICK_S))
    return TwinWorld(
        open_simulator(bundle, choice.engine, n_envs, control_hz=choice.rate_hz * ticks),
        task.sheet,
        outcome,
        table_z_m=scene.read(bundle).table_m,
        px=choice.camera_px or TWIN_PX,
        looks=choice.looks if choice.varied else None,
        ticks=ticks,
        delay_s=delay_s,
        servos="servos of the arm model" if found is None else "servos identified",
    )
