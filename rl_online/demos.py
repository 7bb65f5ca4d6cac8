"""`tandem rl demos`: the bench's scripted demonstrator in; a store of labelled demonstrations out (`scripted`).

It stands in for a person who teleoperates: it knows the truth and a little noise is laid over what it does. Only
episodes whose outcome was measured as a success are kept; with `--failures`, only those that are none: the object was
put down beside its goal, which a judge of success has to see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field, NonNegativeFloat, PositiveInt

from hardware import artefact
from hardware.bench import scripts
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.kinematics import Unreachable
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.progress import progress
from hardware.spatial import Pose
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.starts.regions import PartName, Region
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config
from rl_online.worlds.world import World, pose_columns, pose_values
from vla.policy import GRIPPER

log = logging.getLogger(__name__)

REPLAN_STEPS = 4
"""Control steps between two looks of the demonstrator."""
TRIES = 3
"""Times the wanted number, before it gives up."""
LINGER_S = 0.8
"""After the success a demonstration goes on for so long, as a person's does: the arm draws back. A judge of success has
to see the object where it belongs with nothing holding it."""
BESIDE_M = (0.05, 0.13)
"""How far from its goal a failure puts the object: from across a tray's rim to well on the table."""


class RecordDemos(Config):
    """Scripted demonstrations on the bench, with the object's pose among the state columns."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The episode store; new episodes are added to what it has until the count is reached."""
    count: PositiveInt = 10
    """Episodes of the wanted kind in the store when it is done."""
    part: PartName = "id"
    """Which start regions."""
    world: WorldChoice = WorldChoice()
    """The bench only."""
    backward: bool = False
    """The task undone: from where it was done, the object goes back to a start and the arm to rest, for a policy that
    resets the cell (`rl real --backward-policy`)."""
    failures: bool = False
    """The object is gripped and put down beside its goal: what `rl reward` needs to see beside the successes."""
    linger_s: NonNegativeFloat = LINGER_S
    """After the success the demonstrator goes on for so long."""
    cameras: bool = True
    """no-cameras: states and poses alone; much faster."""
    poses: bool = True
    """no-poses: the object's pose is left out, as from a cell that does not track it."""
    noise_rad: NonNegativeFloat = 0.004
    """Deviation of each target, drawn anew every look, so that no two demonstrations are alike."""
    aim_error: NonNegativeFloat = 1.0
    """As a share of a person's: 1 aims wrong at first and corrects, and now and then misses and tries again. A policy
    learns from it how to get back; 0 shows the one right way only."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class DemoFigures(Config):
    """What was recorded."""

    world: str
    part: str
    kept: int
    tried: int
    steps: int


def record(config: RecordDemos) -> int:
    """The verb."""
    if config.world.bundle is not None:
        raise BadInput(
            "the scripted demonstrator drives the bench's plant, not a twin", "tandem rl expand makes twin demos"
        )
    if config.backward and config.failures:
        raise BadInput("a failure of the way back is not shown", "leave --backward or --failures out")
    world = BenchWorld(plant_config(config.world), 1, config.world.rate_hz)
    instruction = scripts.way_back(world.config.task).instruction if config.backward else world.sheet.instruction
    show = undo if config.backward else misplace if config.failures else demonstrate
    draw(world.sheet.parts, config.part, np.random.default_rng(0))
    store = EpisodeStore.create(config.output)
    store.seal_interrupted()
    wanted = not config.failures
    have = sum(episode.manifest.success is wanted for episode in judged(store))
    tried = kept = steps = missed = 0
    with progress("demonstrations", config.count, min(have, config.count)) as advance:
        while have + kept < config.count and tried < TRIES * config.count:
            rng = np.random.default_rng([config.seed, have + kept, missed])  # alike, however often it was stopped
            episode, as_wanted = show(world, draw(world.sheet.parts, config.part, rng), config, rng)
            tried, missed = tried + 1, missed + 1
            if as_wanted:
                kept, missed = kept + 1, 0
                steps += len(episode)
                cameras = world.camera_names if config.cameras else ()
                store_episode(
                    episode, config.output, instruction, "scripted", not config.failures, cameras, world.label
                )
                advance("")
    figures = DemoFigures(world=world.label, part=config.part, kept=kept, tried=tried, steps=steps)
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    came_out = "failed" if config.failures else "succeeded"
    print(f"{kept} of {tried} scripted episodes {came_out} and were kept; {config.output} has {have + kept}")
    world.close()
    return 0


def judged(store: EpisodeStore) -> list[StoredEpisode]:
    """Finished episodes with a verdict: one that a kill cut off has none."""
    return [episode for episode in store.finished() if episode.manifest.success is not None]


def draw(parts: Sequence[tuple[PartName, Region]], part: PartName, rng: np.random.Generator) -> TaskStart:
    """Uniform over the area of a part's regions. Raises `BadInput` where the task has none."""
    regions = [region for name, region in parts if name == part]
    if not regions:
        have = ", ".join(dict.fromkeys(name for name, _ in parts))
        raise BadInput(f"the task has no '{part}' regions; have: {have}", f"--part {parts[0][0]}")
    areas = np.array([region.area_m2 for region in regions])
    shares = areas / areas.sum() if areas.sum() > 0 else None  # points and lines: all alike
    return regions[int(rng.choice(len(regions), p=shares))].draw(rng)


def demonstrate(
    world: BenchWorld, start: TaskStart, config: RecordDemos, rng: np.random.Generator
) -> tuple[EpisodeLog, bool]:
    """One episode until the task has been done for `linger_s` or time is out."""
    plant, since_ns = world.plants[0], -1
    world.reset([start], [0])

    def is_over() -> bool:
        nonlocal since_ns
        since_ns = -1 if not plant.success() else plant.now_ns if since_ns < 0 else since_ns
        return since_ns >= 0 and plant.now_ns - since_ns >= config.linger_s * NANOSECONDS_PER_SECOND

    episode = act(world, demonstrator_of(world, config, rng), is_over, config, rng)
    return episode, plant.success()


def undo(
    world: BenchWorld, start: TaskStart, config: RecordDemos, rng: np.random.Generator
) -> tuple[EpisodeLog, bool]:
    """The task is done from that start and undone to it again; the second half is the episode."""
    plant, unseen = world.plants[0], config.but(cameras=False)
    world.reset([start], [0])
    done = act(world, demonstrator_of(world, config, rng), plant.success, unseen, rng)
    if not plant.success():
        return done, False
    back = demonstrator_of(world, config, rng, start)

    def is_over() -> bool:
        return back.is_over(plant.reading().q_rad, plant.gripper(), plant.truth())

    episode = act(world, back, is_over, config, rng)
    return episode, is_over()


def misplace(
    world: BenchWorld, start: TaskStart, config: RecordDemos, rng: np.random.Generator
) -> tuple[EpisodeLog, bool]:
    """One episode that ends with the object beside its goal and the arm at rest. False where it was a success, or the
    place is out of reach."""
    plant, beside_m, angle_rad = world.plants[0], rng.uniform(*BESIDE_M), rng.uniform(-np.pi, np.pi)
    by_m = beside_m * np.array([np.cos(angle_rad), np.sin(angle_rad), 0.0])
    world.reset([start], [0])
    demonstrator = demonstrator_of(world, config, rng)

    def wrong() -> scripts.Truth:
        """All but the object lies elsewhere, the goal too."""
        return {
            name: pose
            if name == world.sheet.object_name
            else Pose.from_parts(pose.parent, pose.child, pose.rotation, pose.translation_m + by_m)
            for name, pose in plant.truth().items()
        }

    def is_over() -> bool:
        return demonstrator.is_over(plant.reading().q_rad, plant.gripper(), wrong())

    try:
        episode = act(world, demonstrator, is_over, config, rng, wrong)
    except Unreachable:
        return EpisodeLog((), (), world.rate_hz), False
    return episode, not plant.success()


def demonstrator_of(
    world: BenchWorld, config: RecordDemos, rng: np.random.Generator, undo_to: TaskStart | None = None
) -> Demonstrator:
    task, arm, seed = world.config.task, config.world.arm, int(rng.integers(2**31))
    return Demonstrator(task, arm, world.rate_hz, REPLAN_STEPS, config.aim_error, seed, undo_to)


def act(
    world: BenchWorld,
    demonstrator: Demonstrator,
    is_over: Callable[[], bool],
    config: RecordDemos,
    rng: np.random.Generator,
    truth: Callable[[], scripts.Truth] | None = None,
) -> EpisodeLog:
    """From how the cell stands until it is over or time is out. `truth`: what the demonstrator is told in its place."""
    plant, limit = world.plants[0], round(world.sheet.time_limit_s * world.rate_hz)
    episode = EpisodeLog(column_names(world, config.poses), (*world.joint_names, GRIPPER), world.rate_hz)
    while len(episode) < limit and not is_over():
        now_ns = round(len(episode) * NANOSECONDS_PER_SECOND / world.rate_hz)
        chunk = demonstrator.chunk(now_ns, plant.reading(), plant.gripper(), (truth or plant.truth)())
        offset = rng.normal(0.0, config.noise_rad, len(world.joint_names))
        for row in chunk.values:
            action = row + np.append(offset, 0.0)
            step(world, action, episode, config.cameras)
    return episode


def step(world: World, action: np.ndarray, episode: EpisodeLog, cameras: bool) -> None:
    """Writes down what is seen, then acts."""
    now = world.moment()
    whole = np.concatenate([now.q_rad[0], now.gripper_open[:1], pose_values(now.Ts_base_object)[0]])
    episode.states.append(whole[: len(episode.state_names)])
    if cameras and len(episode) % episode.picture_stride == 0:
        episode.pictures.append({camera: world.picture(camera, 0) for camera in world.camera_names})
    episode.actions.append(action)
    world.step(action[None], [0])


def column_names(world: World, poses: bool) -> tuple[str, ...]:
    """State columns of an episode: joints, gripper, and where the object is."""
    return (*world.joint_names, GRIPPER, *(pose_columns(world.sheet.object_name) if poses else ()))
