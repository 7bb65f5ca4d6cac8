"""`tandem rl expand`: a few demonstrations in; many more over a region of starts out, each rolled out in physics.

Generator (b): a demonstration is warped to the new place of the object (`rl_online.warp`), executed, and kept only if
the outcome was measured as a success. The report says the yield and shows where demonstrations are, and where they
are missing. Stopped runs go on: the store holds what was kept, `tries.jsonl` every try.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray
from pydantic import Field, PositiveInt

from hardware import artefact
from hardware.bench.arm_models import ARMS, TIP
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.episode import Source
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.progress import progress
from rl_online import warp
from rl_online.demos import column_names, draw, step
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.open_world import WorldChoice, open_world
from rl_online.regions import Fineness, PartName, Polygon, Region, cell_of, grid
from rl_online.world import World, pose_of, pose_values
from vla.demonstrations import Demonstrations, open_demonstrations
from vla.intervals import wilson
from vla.policy import GRIPPER

log = logging.getLogger(__name__)

TRIES, FIGURES, COVERAGE = "tries.jsonl", "expand.json", "coverage.png"
SETTLE_STEPS = 10
"""After the last target, for the object to come to rest."""
Result = Literal["success", "failure", "unreachable"]


class ExpandDemos(Config):
    """Warp demonstrations over a region of starts, run them in physics, keep the successes."""

    demos: tyro.conf.Positional[Path]
    """A store or dataset whose state has the object's pose, as `tandem rl demos` records it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: store/ (the new demonstrations), expand.json, coverage.png, tries.jsonl."""
    world: WorldChoice = WorldChoice()
    part: PartName = "ood"
    """Which start regions to fill."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of a drawn region in the base frame, in place of the task's own."""
    count: PositiveInt = 30
    """Successes in the store when it is done."""
    most_tries: PositiveInt = 5
    """Times the count, before it gives up."""
    cameras: bool = True
    """no-cameras: states alone; much faster."""
    poses: bool = True
    grid: Fineness = Fineness()
    """Of the coverage map."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class Try(Config):
    """One warped demonstration, as it came out."""

    number: int
    demo: int
    start: TaskStart
    result: Result
    steps: int = 0


class ExpandFigures(Config):
    """Yield and coverage."""

    world: str
    part: str
    kept: int
    tried: int
    unreachable: int
    rate: float
    """Kept of tried: the yield."""
    interval: tuple[float, float]
    """Wilson, 95 %."""
    cells: int
    covered_cells: int
    """With at least one demonstration, the given ones included."""


def expand(config: ExpandDemos) -> int:
    """The verb. Exit code 3 when the yield was too low to reach the count."""
    world = open_world(config.world, 1)
    regions = regions_of(config, world.sheet.parts)
    given = open_demonstrations(config.demos, config.demos.name)
    kinematics = Kinematics(kinematic_model(ARMS[config.world.arm]), TIP)
    paths = [path_of(given, number, world.sheet.object_name, kinematics) for number in range(len(given))]
    try:
        done = collect(config, world, regions, paths, kinematics)
    finally:
        world.close()
    figures = figures_of(config, world.label, regions, paths, done)
    artefact.write_model(config.output / FIGURES, figures)
    picture(config.output / COVERAGE, regions, world.sheet.goal, paths, done)
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    low, high = figures.interval
    print(
        f"kept {figures.kept} of {figures.tried} ({figures.rate:.0%}, 95 %: {low:.0%} … {high:.0%}), "
        f"{figures.unreachable} out of reach; {figures.covered_cells} of {figures.cells} cells covered"
    )
    print(f"demonstrations: {config.output / 'store'}\ncoverage map:   {config.output / COVERAGE}")
    return 0 if figures.kept >= config.count else 3


def collect(
    config: ExpandDemos,
    world: World,
    regions: Sequence[tuple[PartName, Region]],
    paths: Sequence[warp.ToolPath],
    kinematics: Kinematics,
) -> list[Try]:
    """Tries until the store has its count or too many failed; with those of runs before."""
    store = EpisodeStore.create(config.output / "store")
    store.seal_interrupted()
    done, kept = read_tries(config.output / TRIES), len(store.finished())
    with progress("twin demonstrations", config.count, min(kept, config.count)) as advance:
        while kept < config.count and len(done) < config.most_tries * config.count:
            one = attempt(len(done), paths, regions, world, kinematics, config)
            done.append(one)
            with (config.output / TRIES).open("a", encoding="utf-8") as stream:
                stream.write(one.model_dump_json() + "\n")
            kept += one.result == "success"
            if one.result == "success":
                advance(f"{kept} of {len(done)} tries")
    return done


def regions_of(config: ExpandDemos, of_task: Sequence[tuple[PartName, Region]]) -> list[tuple[PartName, Region]]:
    if config.polygon:
        yaw_rad = of_task[0][1].yaw_rad
        return [(config.part, Polygon(name="drawn", outline_m=config.polygon, yaw_rad=yaw_rad))]
    return [(name, region) for name, region in of_task if name == config.part]


def path_of(given: Demonstrations, number: int, object_name: str, kinematics: Kinematics) -> warp.ToolPath:
    """A stored demonstration as the tool's way. Raises `BadInput` where the object's pose is not among its columns."""
    shown = given[number]
    first = dict(zip(given.layout.state_names, shown.state[0].tolist(), strict=True))
    return warp.tool_path(shown.actions, pose_of(first, object_name), kinematics)


def attempt(
    number: int,
    paths: Sequence[warp.ToolPath],
    regions: Sequence[tuple[PartName, Region]],
    world: World,
    kinematics: Kinematics,
    config: ExpandDemos,
) -> Try:
    """Try `number` is a function of the seed: another start, the demonstration that stood nearest."""
    rng = np.random.default_rng([config.seed, number])
    start = draw(regions, config.part, rng)
    demo = nearest(paths, start)
    world.reset([start], [0])
    now = world.moment()
    columns = dict(zip(column_names(world, True)[-5:], pose_values(now.Ts_base_object)[0].tolist(), strict=True))
    path = paths[demo]
    try:
        poses = warp.warp(path, pose_of(columns, world.sheet.object_name))
        q_rad = warp.joint_path(poses, now.q_rad[0], kinematics)
    except Unreachable:
        return Try(number=number, demo=demo, start=start, result="unreachable")
    arm = ARMS[config.world.arm]
    actions = warp.paced(q_rad, path.gripper_open, world.rate_hz, arm.velocity_rad_s)
    episode, success = run(world, actions, config)
    if success:
        source: Source = "twin" if config.world.bundle is not None else "scripted"
        cameras = world.camera_names if config.cameras else ()
        words = world.sheet.instruction
        store_episode(episode, config.output / "store", words, source, True, cameras, world.label)
    return Try(
        number=number, demo=demo, start=start, result="success" if success else "failure", steps=len(episode)
    )


def run(world: World, actions: Float[ndarray, "T D"], config: ExpandDemos) -> tuple[EpisodeLog, bool]:
    """Until the outcome is a success, the way is over and at rest, or time is out."""
    limit = round(world.sheet.time_limit_s * world.rate_hz)
    padded = np.concatenate([actions, np.tile(actions[-1], (SETTLE_STEPS, 1))])
    episode = EpisodeLog(column_names(world, config.poses), (*world.joint_names, GRIPPER), world.rate_hz)
    for action in padded[:limit]:
        step(world, action, episode, config.cameras)
        if world.moment().success[0]:
            return episode, True
    return episode, False


def nearest(paths: Sequence[warp.ToolPath], start: TaskStart) -> int:
    """The demonstration whose object stood nearest: the least is bent."""
    away = [
        float(np.hypot(*(path.T_base_object.translation_m[:2] - np.array([start.x_m, start.y_m]))))
        for path in paths
    ]
    return int(np.argmin(away))


def read_tries(file: Path) -> list[Try]:
    """Whole lines only."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        artefact.write_text(file, whole)
    return [Try.model_validate(json.loads(line)) for line in whole.splitlines()]


def figures_of(
    config: ExpandDemos,
    world: str,
    regions: Sequence[tuple[PartName, Region]],
    paths: Sequence[warp.ToolPath],
    done: Sequence[Try],
) -> ExpandFigures:
    kept = [one for one in done if one.result == "success"]
    cells = grid(regions, config.grid)
    covered = {cell_of(start, cells) for start in [*(one.start for one in kept), *map(start_of, paths)]} - {None}
    low, high = wilson(len(kept), len(done))
    return ExpandFigures(
        world=world,
        part=config.part,
        kept=len(kept),
        tried=len(done),
        unreachable=sum(one.result == "unreachable" for one in done),
        rate=len(kept) / max(1, len(done)),
        interval=(float(low), float(high)),
        cells=len(cells),
        covered_cells=len(covered),
    )


def start_of(path: warp.ToolPath) -> TaskStart:
    """Where a demonstration's object stood."""
    matrix = path.T_base_object.matrix
    yaw_rad = float(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return TaskStart(x_m=float(matrix[0, 3]), y_m=float(matrix[1, 3]), yaw_rad=yaw_rad)


def picture(
    file: Path,
    regions: Sequence[tuple[PartName, Region]],
    goal: TaskStart,
    paths: Sequence[warp.ToolPath],
    done: Sequence[Try],
) -> None:
    """Where demonstrations are against where the robot must work; y points left, as the robot looks."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    panel = figure.subplots()
    for name, region in regions:
        corners = region.outline_m if isinstance(region, Polygon) else _corners(region)
        x, y = np.array([*corners, corners[0]]).T
        panel.fill(y, x, color="0.93")
        panel.plot(y, x, color="0.5", linewidth=0.8)
        panel.annotate(f"{name}: {region.name}", (y.max(), x.max()), fontsize=7)
    looks = {"success": ("tab:blue", "o"), "failure": ("tab:orange", "x"), "unreachable": ("0.4", "+")}
    given = [start_of(path) for path in paths]
    panel.plot(
        [s.y_m for s in given],
        [s.x_m for s in given],
        "s",
        color="black",
        markersize=5,
        label=f"given ({len(given)})",
    )
    for result, (colour, marker) in looks.items():
        starts = [one.start for one in done if one.result == result]
        xs, ys = [start.x_m for start in starts], [start.y_m for start in starts]
        panel.plot(ys, xs, marker, color=colour, markersize=4, linestyle="none", label=f"{result} ({len(starts)})")
    panel.plot([goal.y_m], [goal.x_m], "*", color="tab:green", markersize=12, label="goal")
    panel.invert_xaxis()
    panel.set_aspect("equal")
    panel.set_xlabel("y [m]")
    panel.set_ylabel("x [m]")
    panel.legend(fontsize=7)
    with artefact.staged_file(file) as staged:
        figure.savefig(staged, dpi=130)


def _corners(region: Region) -> tuple[tuple[float, float], ...]:
    (x0, y0), (x1, y1) = region.lower_m, region.upper_m
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
