"""`tandem rl expand`: few demonstrations in, or none; many over a region of starts out, each rolled out in physics.

Two generators (`rl_online.expansion.generators`): `warp` bends a demonstration to the object's new place, `plan`
finds a grasp and a motion by itself. Kept is only what was measured as a success. The report says the yield and
shows where demonstrations are, and where they are missing. Stopped runs go on: the store holds what was kept,
`tries.jsonl` all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardware import artefact
from hardware import config as configs
from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, kinematic_model
from hardware.progress import progress
from hardware.spatial import Pose
from rl_online.demos import judged
from rl_online.expansion import contact_sheet, coverage, warp
from rl_online.expansion.config import ExpandDemos
from rl_online.expansion.corrections import open_corrections
from rl_online.expansion.generators import Generator, WarpGenerator
from rl_online.expansion.plan_generator import PlanGenerator
from rl_online.expansion.solids import open_solids
from rl_online.expansion.tries import Starts, Try, attempt, spent
from rl_online.lines import add_line, read_models
from rl_online.starts.regions import PartName, Region, cell_of, drawn, grid
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.open_world import open_world
from rl_online.worlds.tasks import delivery_of, keep
from rl_online.worlds.world import World, pose_columns, pose_of
from vla import report_page
from vla.demonstrations import Demonstrations, open_demonstrations
from vla.intervals import wilson

log = logging.getLogger(__name__)

TRIES, FIGURES, SETTINGS, REPORT = "tries.jsonl", "expand.json", "run.json", "report.html"
COVERAGE, SHEET = "coverage.png", "looks.png"


class ExpandFigures(Config):
    """Yield and coverage."""

    world: str
    generator: str
    part: str
    kept: int
    tried: int
    unreachable: int
    solved: int = 0
    """By the policy that was to be corrected; not among those tried."""
    rate: float
    """Kept of tried: the yield."""
    interval: tuple[float, float]
    """Wilson, 95 %."""
    cells: int
    covered_cells: int
    """With at least one demonstration, the given ones included."""


def expand(config: ExpandDemos) -> int:
    """The verb. Exit code 3 when the yield was too low to reach the count."""
    world = open_world(config.choice, 1)
    try:
        starts = starts_of(config, world.sheet.parts)
        regions = starts.regions
        paths = given_paths(config, world.sheet.object_name)
        generator = open_generator(config, world, paths)
        begin(config)
        done = collect(config, world, starts, generator)
        if config.choice.varied:
            contact_sheet.draw(config.output / SHEET, world, [one.start for one in done])
    finally:
        world.close()
    given = [start_of(path) for path in paths]
    figures = figures_of(config, world.label, regions, given, done)
    artefact.write_model(config.output / FIGURES, figures)
    tried = {result: [one.start for one in done if one.result == result] for result in coverage.LOOKS}
    coverage.draw(
        config.output / COVERAGE, regions, world.sheet.goal, given, tried, f"{world.label}: {config.generator}"
    )
    report(config, figures)
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    print(words(figures))
    print(f"demonstrations: {config.output / 'store'}\nreport:         {config.output / REPORT}")
    return 0 if figures.kept >= config.count else 3


def starts_of(config: ExpandDemos, of_task: Sequence[tuple[PartName, Region]]) -> Starts:
    """Raises `BadInput` for a polygon that is none, or beside a plan."""
    if config.resets is None:
        return Starts(regions_of(config, of_task), config.part, None)
    if config.polygon:
        raise BadInput("starts come from a reset plan or from a drawn region", "leave out --polygon or --resets")
    plan = configs.read(ResetPlan, config.resets)
    parts = {score.cell.part for score in plan.scores}
    return Starts([(name, region) for name, region in of_task if name in parts], config.part, plan)


def given_paths(config: ExpandDemos, object_name: str) -> list[warp.ToolPath]:
    """The demonstrations as the tool's ways. Raises `BadInput` where a generator needs them and has none."""
    if config.demos is None:
        if config.generator == "warp":
            raise BadInput("there is no demonstration to warp", "name a store, or --generator plan")
        return []
    return paths_of(config.demos, config.world.arm, object_name)


def paths_of(demos: Path, arm: ArmName, object_name: str) -> list[warp.ToolPath]:
    """Stored demonstrations as the tool's ways. Raises `BadInput` where no column of theirs is of the object's pose."""
    given = open_demonstrations(demos, demos.name)
    if len(given) == 0:
        raise BadInput(f"{demos} holds no demonstration", "record some: tandem rl demos")
    kinematics = Kinematics(kinematic_model(ARMS[arm]), TIP)
    return [path_of(given, number, object_name, kinematics) for number in range(len(given))]


def open_generator(config: ExpandDemos, world: World, paths: Sequence[warp.ToolPath]) -> Generator:
    if config.generator == "warp":
        ways = open_ways(config.world.arm, world, paths, config.misses, config.turns)
        return ways if config.policy is None else open_corrections(config.policy, world, ways)
    if config.policy is not None:
        raise BadInput("the way back is that of a demonstration", "leave out --policy or --generator plan")
    solids = open_solids(config.world, world.sheet.object_name)
    kinematics = Kinematics(kinematic_model(ARMS[config.world.arm]), TIP)
    delivery = delivery_of(config.world.task, config.world.arm)
    return PlanGenerator(solids, kinematics, delivery, world.sheet.goal, world.rate_hz, config.plan)


def open_ways(
    arm: ArmName, world: World, paths: Sequence[warp.ToolPath], misses: float = 0.0, turns: int = 1
) -> WarpGenerator:
    """Of demonstrations, for a world with that arm."""
    model = ARMS[arm]
    kinematics = Kinematics(kinematic_model(model), TIP)
    return WarpGenerator(paths, world.sheet.object_name, kinematics, model, world.rate_hz, misses, turns)


def begin(config: ExpandDemos) -> None:
    """Refuses to go on with tries of other settings."""
    file = config.output / SETTINGS
    settings = config.model_dump_json(indent=2, exclude={"output", "json_file", "count", "most_tries"}) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != settings:
        raise BadInput(f"{config.output} holds tries of other settings", "name a new --output")
    config.output.mkdir(parents=True, exist_ok=True)
    keep(config.world.task, config.output)
    artefact.write_text(file, settings)


def collect(config: ExpandDemos, world: World, starts: Starts, generator: Generator) -> list[Try]:
    """Tries until the store has its count or too many failed; with those of runs before."""
    store = EpisodeStore.create(config.output / "store")
    store.seal_interrupted()
    done = read_models(config.output / TRIES, Try)
    forget_unnoted(store, done)
    kept = len(judged(store))
    with progress("twin demonstrations", config.count, min(kept, config.count)) as advance:
        while kept < config.count and spent(done) < config.most_tries * config.count:
            one = attempt(len(done), starts, world, generator, config)
            done.append(one)
            add_line(config.output / TRIES, one)
            kept += one.result == "success"
            if one.result == "success":
                advance(f"{kept} of {len(done)} tries")
    return done


def forget_unnoted(store: EpisodeStore, done: Sequence[Try]) -> None:
    """Removes an episode whose try a kill kept from being noted: that try comes next again, and stores the same.

    Raises `BadInput` where there are more of them, which no kill leaves.
    """
    unnoted = judged(store)[sum(one.result == "success" for one in done) :]
    if len(unnoted) > 1:
        raise BadInput(
            f"{store.folder} holds {len(unnoted)} episodes that {TRIES} says nothing of", "name a new --output"
        )
    for episode in unnoted:
        log.info("episode %d was stored when the run was killed, and is made again", episode.number)
        store.remove(episode.number)


def regions_of(config: ExpandDemos, of_task: Sequence[tuple[PartName, Region]]) -> list[tuple[PartName, Region]]:
    if not config.polygon:
        return [(name, region) for name, region in of_task if name == config.part]
    return [(config.part, drawn(config.polygon, of_task[0][1].yaw_rad))]


def path_of(given: Demonstrations, number: int, object_name: str, kinematics: Kinematics) -> warp.ToolPath:
    """A stored demonstration as the tool's way. Columns say where the object was (`tandem rl demos`), or it was seen
    when the episode began (a recorder beside a guided page). Raises `BadInput` where neither is known.
    """
    shown = given[number]
    seen = shown.T_base_object
    if seen is not None and pose_columns(object_name)[0] not in given.layout.state_names:
        return warp.tool_path(shown.actions, Pose("base", object_name, seen.matrix), kinematics)

    def T_base_object(step: int) -> Pose:
        columns = dict(zip(given.layout.state_names, shown.state[step].tolist(), strict=True))
        return pose_of(columns, object_name)

    path = warp.tool_path(shown.actions, T_base_object(0), kinematics)
    return replace(path, pushed_m=path.T_base_object.distance_to(T_base_object(path.grip))[0])


def figures_of(
    config: ExpandDemos,
    world: str,
    regions: Sequence[tuple[PartName, Region]],
    given: Sequence[TaskStart],
    done: Sequence[Try],
) -> ExpandFigures:
    kept = [one for one in done if one.result == "success"]
    tried = [one for one in done if one.result != "solved"]
    cells = grid(regions, config.grid)
    covered = {cell_of(start, cells) for start in [*(one.start for one in kept), *given]} - {None}
    low, high = wilson(len(kept), len(tried))
    return ExpandFigures(
        world=world,
        generator=config.generator,
        part=config.part if config.resets is None else f"drawn from {config.resets}",
        kept=len(kept),
        tried=len(tried),
        solved=len(done) - len(tried),
        unreachable=sum(one.result == "unreachable" for one in done),
        rate=len(kept) / max(1, len(tried)),
        interval=(float(low), float(high)),
        cells=len(cells),
        covered_cells=len(covered),
    )


def start_of(path: warp.ToolPath) -> TaskStart:
    """Where a demonstration's object stood."""
    matrix = path.T_base_object.matrix
    yaw_rad = float(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return TaskStart(x_m=float(matrix[0, 3]), y_m=float(matrix[1, 3]), yaw_rad=yaw_rad)


def words(figures: ExpandFigures) -> str:
    low, high = figures.interval
    solved = f"{figures.solved} more solved by the policy itself; " if figures.solved else ""
    return (
        f"kept {figures.kept} of {figures.tried} ({figures.rate:.0%}, 95 %: {low:.0%} … {high:.0%}), "
        f"{figures.unreachable} out of reach; {solved}{figures.covered_cells} of {figures.cells} cells covered"
    )


def report(config: ExpandDemos, figures: ExpandFigures) -> None:
    """One file that needs no network."""
    rows = [
        ("world", figures.world),
        ("generator", figures.generator),
        ("starts", figures.part),
        ("", words(figures)),
    ]
    parts = [report_page.table(rows), "<h2>Where demonstrations are</h2>"]
    parts.append(report_page.embedded(config.output / COVERAGE))
    if (config.output / SHEET).is_file():
        parts += ["<h2>Looks, one a row of episodes</h2>", report_page.embedded(config.output / SHEET)]
    report_page.write(config.output / REPORT, "expand", "Demonstrations over a region", parts)
