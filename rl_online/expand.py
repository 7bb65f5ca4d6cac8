"""`tandem rl expand`: few demonstrations in, or none; many over a region of starts out, each rolled out in physics.

Two generators (`rl_online.generators`): `warp` bends a demonstration to the object's new place, `plan` finds a grasp
and a motion by itself. Kept is only what was measured as a success. The report says the yield and shows where
demonstrations are, and where they are missing. Stopped runs go on: the store holds what was kept, `tries.jsonl` all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from pydantic import Field, PositiveInt

from hardware import artefact
from hardware import config as configs
from hardware.bench.arm_models import ARMS, TIP
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.episode import Source
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.progress import progress
from hardware.spatial import Pose
from rl_online import contact_sheet, coverage, warp
from rl_online.corrections import NothingToCorrect, open_corrections
from rl_online.demos import column_names, draw, step
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.generators import Generator, GeneratorName, Part, WarpGenerator
from rl_online.motion_planner import NoWay
from rl_online.open_world import WorldChoice, open_world
from rl_online.plan_generator import PlanGenerator, PlanSearch
from rl_online.regions import Fineness, PartName, Polygon, Region, cell_of, grid
from rl_online.resets import ResetPlan
from rl_online.solids import open_solids
from rl_online.world import World, pose_of
from vla import report_page
from vla.demonstrations import Demonstrations, open_demonstrations
from vla.intervals import wilson
from vla.policy import GRIPPER

log = logging.getLogger(__name__)

TRIES, FIGURES, SETTINGS, REPORT = "tries.jsonl", "expand.json", "run.json", "report.html"
COVERAGE, SHEET = "coverage.png", "looks.png"
SOLVED_COUNTS = 0.1
SETTLE_STEPS = 10
"""After the last target, for the object to come to rest."""
Result = Literal["success", "failure", "unreachable", "solved"]
"""solved: by the policy that was to be corrected."""


class ExpandDemos(Config):
    """Make demonstrations over a region of starts, run them in physics, keep the successes."""

    demos: tyro.conf.Positional[Path | None] = None
    """A store or dataset whose state has the object's pose, as `tandem rl demos` records it. Generator `plan` needs
    none; what is given is shown in the coverage map."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: store/ (the new demonstrations), report.html, expand.json, coverage.png, looks.png, tries.jsonl."""
    generator: GeneratorName = "warp"
    world: WorldChoice = WorldChoice()
    part: PartName = "ood"
    """Which start regions to fill."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of a drawn region in the base frame, in place of the task's own."""
    resets: Path | None = None
    """A reset plan (resets.json), as `tandem rl mine` leaves it: starts are drawn from it, most of them where the
    policy fails. In place of `part` and `polygon`."""
    count: PositiveInt = 30
    """Successes in the store when it is done."""
    most_tries: PositiveInt = 5
    """Times the count, before it gives up; what a policy solved by itself counts a tenth."""
    misses: float = Field(default=0.25, ge=0, le=1)
    """Share of the warped episodes that first grip beside the object; they are shown from there on."""
    turns: PositiveInt = 1
    """The object looks the same after this part of a turn about the vertical: 4 for a cube. Warped are then the grips
    that turn the wrist least, as a person's do."""
    policy: Path | None = None
    """Folder of a policy that acts first. Kept are the ways back from where it got stuck (corrections), in place of
    whole episodes; what it solves by itself is not counted as a try. With generator `warp`."""
    cameras: bool = True
    """no-cameras: states alone; much faster."""
    vary: bool = True
    """Vary the pictures of a twin from episode to episode, as `world.looks` says. The bench's look is its own."""
    poses: bool = True
    plan: PlanSearch = PlanSearch()
    grid: Fineness = Fineness()
    """Of the coverage map."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None

    @property
    def choice(self) -> WorldChoice:
        """The world, with its looks varied where there are pictures of a twin."""
        varied = self.vary and self.cameras and self.world.bundle is not None
        return self.world.but(varied=varied or self.world.varied)


class Try(Config):
    """One episode, as it came out."""

    number: int
    demo: int | None
    """The demonstration that it was made of."""
    start: TaskStart
    result: Result
    steps: int = 0


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


@dataclass(frozen=True, eq=False)
class Starts:
    """Where demonstrations are to begin."""

    regions: Sequence[tuple[PartName, Region]]
    part: PartName
    plan: ResetPlan | None

    def draw(self, rng: np.random.Generator) -> TaskStart:
        return draw(self.regions, self.part, rng) if self.plan is None else self.plan.draw(rng)[1]


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
    given = open_demonstrations(config.demos, config.demos.name)
    kinematics = Kinematics(kinematic_model(ARMS[config.world.arm]), TIP)
    return [path_of(given, number, object_name, kinematics) for number in range(len(given))]


def open_generator(config: ExpandDemos, world: World, paths: Sequence[warp.ToolPath]) -> Generator:
    arm = ARMS[config.world.arm]
    kinematics = Kinematics(kinematic_model(arm), TIP)
    if config.generator == "warp":
        ways = WarpGenerator(
            paths, world.sheet.object_name, kinematics, arm, world.rate_hz, config.misses, config.turns
        )
        return ways if config.policy is None else open_corrections(config.policy, world, ways)
    if config.policy is not None:
        raise BadInput("the way back is that of a demonstration", "leave out --policy or --generator plan")
    solids = open_solids(config.world, world.sheet.object_name)
    return PlanGenerator(solids, kinematics, config.world.task, world.sheet.goal, world.rate_hz, config.plan)


def begin(config: ExpandDemos) -> None:
    """Refuses to go on with tries of other settings."""
    file = config.output / SETTINGS
    settings = config.model_dump_json(indent=2, exclude={"output", "json_file", "count", "most_tries"}) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != settings:
        raise BadInput(f"{config.output} holds tries of other settings", "name a new --output")
    config.output.mkdir(parents=True, exist_ok=True)
    artefact.write_text(file, settings)


def collect(config: ExpandDemos, world: World, starts: Starts, generator: Generator) -> list[Try]:
    """Tries until the store has its count or too many failed; with those of runs before."""
    store = EpisodeStore.create(config.output / "store")
    store.seal_interrupted()
    done, kept = read_tries(config.output / TRIES), len(store.finished())
    with progress("twin demonstrations", config.count, min(kept, config.count)) as advance:
        while kept < config.count and spent(done) < config.most_tries * config.count:
            one = attempt(len(done), starts, world, generator, config)
            done.append(one)
            with (config.output / TRIES).open("a", encoding="utf-8") as stream:
                stream.write(one.model_dump_json() + "\n")
            kept += one.result == "success"
            if one.result == "success":
                advance(f"{kept} of {len(done)} tries")
    return done


def spent(done: Sequence[Try]) -> float:
    """Tries, of those that `most_tries` limits."""
    return sum((SOLVED_COUNTS if one.result == "solved" else 1.0 for one in done), 0.0)


def regions_of(config: ExpandDemos, of_task: Sequence[tuple[PartName, Region]]) -> list[tuple[PartName, Region]]:
    if not config.polygon:
        return [(name, region) for name, region in of_task if name == config.part]
    if len(config.polygon) < 3:
        raise BadInput(f"a polygon of {len(config.polygon)} corners", "--polygon x y x y x y")
    yaw_rad = of_task[0][1].yaw_rad
    return [(config.part, Polygon(name="drawn", outline_m=config.polygon, yaw_rad=yaw_rad))]


def path_of(given: Demonstrations, number: int, object_name: str, kinematics: Kinematics) -> warp.ToolPath:
    """A stored demonstration as the tool's way. Raises `BadInput` where the object's pose is not among its columns."""
    shown = given[number]

    def T_base_object(step: int) -> Pose:
        columns = dict(zip(given.layout.state_names, shown.state[step].tolist(), strict=True))
        return pose_of(columns, object_name)

    path = warp.tool_path(shown.actions, T_base_object(0), kinematics)
    return replace(path, pushed_m=path.T_base_object.distance_to(T_base_object(path.grip))[0])


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
    episode, aside = EpisodeLog(*columns), EpisodeLog(*columns)

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


def read_tries(file: Path) -> list[Try]:
    """Whole lines only."""
    if not file.is_file():
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
