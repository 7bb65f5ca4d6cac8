"""`tandem rl mine`: a policy over the grid of start configurations in; failure map, S_target and a reset plan out.

Every cell gets a least number of rollouts, the rest go where the rate is least known. Finished rollouts are appended to
`rollouts.jsonl` one by one, so a stopped run goes on from there, and the same seed gives the same map.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Int
from numpy import ndarray
from pydantic import Field, NonNegativeInt, PositiveInt

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.errors import BadInput
from hardware.progress import progress
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Chooser, Rollout, run_episodes
from rl_online.lines import add_line, read_models
from rl_online.mining.failure_map import draw
from rl_online.mining.ray_rollouts import RayRunner, Runner
from rl_online.starts.regions import Cell, Fineness, PartName, Region, drawn, grid
from rl_online.starts.resets import TAU, CellScore, ResetPlan, allocate
from rl_online.worlds.open_world import WorldChoice, open_world
from rl_online.worlds.tasks import keep
from vla.intervals import wilson
from vla.policy_file import load_policy

log = logging.getLogger(__name__)

PLAN, MAP, FIGURES, ROLLOUTS, SETTINGS = "resets.json", "failure_map.png", "mine.json", "rollouts.jsonl", "run.json"
GAMMA = 0.98
"""Only rewards depend on it, and mining reads none."""


class MinePolicy(Config):
    """Run a policy from every cell of the start grid, find where it fails, and plan the resets."""

    policy: tyro.conf.Positional[Path]
    """Folder of a policy, as `tandem vla sft` leaves it (RUN/policy)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: resets.json, failure_map.png, mine.json, rollouts.jsonl."""
    world: WorldChoice = WorldChoice()
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners x y x y … of a drawn region in the base frame, in place of the task's own regions."""
    grid: Fineness = Fineness()
    rollouts: PositiveInt = 10
    """In every cell, at least."""
    extra: int = Field(default=0, ge=0)
    """More rollouts, given to the cells whose rate is least known."""
    envs: PositiveInt = 4
    """At once; on a cluster, its workers."""
    ray: str = ""
    """Address of a Ray cluster that runs the rollouts (host:port, auto, or local: started here for the run)."""
    tau: float = Field(default=TAU, gt=0, le=1)
    """Cells below this rate form S_target."""
    seed: NonNegativeInt = 0
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Write the figures there too."""


class PartFigures(Config):
    """Success over a part of the starts, every rollout counted."""

    rollouts: int
    successes: int
    rate: float
    interval: tuple[float, float]
    """Wilson, 95 %; it takes the cells as drawn by the rollouts that they got."""


class MineFigures(Config):
    """What a mining run found."""

    world: str
    policy: str
    seed: int
    tau: float
    parts: dict[str, PartFigures]
    target_cells: int
    cells: int


class RolloutLine(Config):
    """One finished rollout, as it lies in `rollouts.jsonl`."""

    number: int
    cell: int
    start: TaskStart
    success: bool
    steps: int


def mine(config: MinePolicy) -> int:
    """The verb."""
    policy = load_policy(config.policy)
    world = open_world(config.world, config.envs)
    env = ChunkEnv(world, policy.interface, Rewards(), GAMMA)
    try:
        cells = grid(regions(config, world.sheet.parts), config.grid)
        remote = ray_runner(config)
        _begin(config)
        plan = survey(remote or here(env, policy, config.seed), cells, config)
        if remote is not None:
            remote.close()
    finally:
        env.close()
    figures = summary(plan, config, world.label)
    artefact.write_model(config.output / PLAN, plan)
    artefact.write_model(config.output / FIGURES, figures)
    draw(config.output / MAP, plan, world.sheet.goal, f"{world.label}: {config.policy.name}")
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    print(table(figures))
    print(f"failure map: {config.output / MAP}\nreset plan:  {config.output / PLAN}")
    return 0


def regions(config: MinePolicy, of_task: Sequence[tuple[PartName, Region]]) -> Sequence[tuple[PartName, Region]]:
    """The drawn polygon with the task's yaws, or the task's own regions."""
    if not config.polygon:
        return of_task
    return [("ood", drawn(config.polygon, of_task[0][1].yaw_rad))]


def here(env: ChunkEnv, chooser: Chooser, seed: int) -> Runner:
    """In this process."""
    return lambda starts, on_done: run_episodes(env, chooser, starts, seed, on_done)


def ray_runner(config: MinePolicy) -> RayRunner | None:
    """On a cluster, where one is named."""
    if not config.ray:
        return None
    return RayRunner(config.ray, config.envs, config.policy, config.world, GAMMA, config.seed)


def survey(runner: Runner, cells: Sequence[Cell], config: MinePolicy) -> ResetPlan:
    """Rollouts in two rounds: the least in every cell, then the extra ones by what the first showed."""
    file = config.output / ROLLOUTS
    least = np.full(len(cells), config.rollouts)
    counts = run_round(runner, cells, least, config, first=0, file=file)
    if config.extra:
        given = allocate(counts[0], counts[1], config.extra, config.rollouts, config.tau)
        counts = counts + run_round(runner, cells, given, config, first=int(counts[1].sum()), file=file)
    scores = [
        CellScore(cell=cell, successes=int(won), rollouts=int(tried))
        for cell, won, tried in zip(cells, *counts, strict=True)
    ]
    return ResetPlan(scores=tuple(scores), tau=config.tau)


def run_round(
    runner: Runner,
    cells: Sequence[Cell],
    given: Int[ndarray, " N"],
    config: MinePolicy,
    first: int,
    file: Path,
) -> Int[ndarray, "2 N"]:
    """(successes, rollouts) of each cell. Rollout `number` has the same start in every run of this config.

    With another count of extra ones, a number may fall to another cell: what was run there under it does not count.
    """
    wanted = [number for number, count in enumerate(given.tolist()) for _ in range(count)]
    starts = [
        cells[cell].draw(np.random.default_rng([config.seed, first + place])) for place, cell in enumerate(wanted)
    ]
    lines = [line for line in read_models(file, RolloutLine) if 0 <= line.number - first < len(wanted)]
    done = {line.number: line for line in lines if line.cell == wanted[line.number - first]}
    left = [place for place in range(len(wanted)) if first + place not in done]
    counts = np.zeros((2, len(cells)), np.int64)
    for place, cell in enumerate(wanted):
        if first + place in done:
            counts[:, cell] += (int(done[first + place].success), 1)
    with progress("rollouts", len(wanted), len(wanted) - len(left)) as advance:

        def keep(rollout: Rollout) -> None:
            place = left[rollout.number]
            cell = wanted[place]
            line = RolloutLine(
                number=first + place, cell=cell, start=rollout.start, success=rollout.success, steps=rollout.steps
            )
            add_line(file, line)
            counts[:, cell] += (int(rollout.success), 1)
            advance(f"{counts[0].sum()} of {counts[1].sum()} succeeded")

        runner([starts[place] for place in left], keep)
    return counts


def _begin(config: MinePolicy) -> None:
    """Refuses to go on with rollouts of other settings."""
    file = config.output / SETTINGS
    config.output.mkdir(parents=True, exist_ok=True)
    settings = config.model_dump_json(indent=2, exclude={"output", "envs", "ray", "json_file", "extra"}) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != settings:
        raise BadInput(f"{config.output} holds rollouts of other settings", "name a new --output")
    keep(config.world.task, config.output)
    artefact.write_text(file, settings)


def summary(plan: ResetPlan, config: MinePolicy, world: str) -> MineFigures:
    parts = {}
    for part in dict.fromkeys(score.cell.part for score in plan.scores):
        inside = [score for score in plan.scores if score.cell.part == part]
        rollouts, successes = sum(s.rollouts for s in inside), sum(s.successes for s in inside)
        low, high = wilson(successes, rollouts)
        rate = successes / max(1, rollouts)
        parts[part] = PartFigures(
            rollouts=rollouts, successes=successes, rate=rate, interval=(float(low), float(high))
        )
    return MineFigures(
        world=world,
        policy=str(config.policy),
        seed=config.seed,
        tau=config.tau,
        parts=parts,
        target_cells=int(plan.target.sum()),
        cells=len(plan.scores),
    )


def table(figures: MineFigures) -> str:
    lines = [f"{figures.world}, τ = {figures.tau:g}"]
    for name, part in figures.parts.items():
        low, high = part.interval
        lines.append(
            f"  {name:<4} {part.successes}/{part.rollouts} = {part.rate:.0%} (95 %: {low:.0%} … {high:.0%})"
        )
    lines.append(f"  S_target: {figures.target_cells} of {figures.cells} cells")
    return "\n".join(lines)
