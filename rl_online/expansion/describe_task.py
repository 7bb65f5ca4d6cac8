"""`tandem rl task`: a twin and demonstrations of one's own task in; the task, as `tandem rl` has to know it, out.

All of it is read off the demonstrations: where the object stood (ID), where the jaws let go of it and how high it came
over what stands round that place (by the arm's kinematics), and how it lay in the end, which no camera told: so they
are replayed in the twin's physics. Beside ID lies OOD: as far as asked, and as the arm reaches. The file is JSON, to be
looked over and changed by hand before anything is made by it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, PositiveInt, model_validator

from hardware import artefact
from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, kinematic_model
from hardware.progress import progress
from rl_online.expansion import coverage, demonstrated
from rl_online.expansion.demonstrated import Delivered, delivered, together
from rl_online.expansion.expand import path_of, start_of
from rl_online.expansion.plan_generator import ROOM_ABOVE_M
from rl_online.expansion.warp import ToolPath
from rl_online.starts.regions import Box, Region, drawn
from rl_online.worlds.open_world import WorldChoice, open_twin
from rl_online.worlds.outcome import Outcome
from rl_online.worlds.tasks import Delivery, TwinTask, arm_of
from twin import object_asset
from twin.object_asset import ASSET, ObjectAsset
from twin.sim import scene
from vla.demonstrations import Demonstrations, open_demonstrations

log = logging.getLogger(__name__)

SLACK, LEAST_S = 1.5, 10.0
"""Of the longest demonstration: the time limit; and no less than this."""
SETTLES_S = 0.5
"""After a replayed demonstration, until the object is looked at."""
ANYWHERE = Outcome(half_m=10.0, height_m=10.0, still_m_s=demonstrated.STILL_M_S, let_go=True)


class DescribeTask(Config):
    """Write down your own task for `--world.task`: starts, goal, success and time limit, read off its demonstrations.
    Look it over before anything is made by it: it is a short JSON file, and a picture beside it.
    """

    bundle: tyro.conf.Positional[Path]
    """The cell's twin, with the object, the arm and contact."""
    demos: tyro.conf.Positional[Path]
    """Demonstrations that know where the object stood: recorded beside a guided page, or by `tandem rl demos`."""
    object: str
    """Name of the object in the twin (`tandem twin segment`)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file, .json; one that is there already is not written over."""
    instruction: str = ""
    """Empty: as the demonstrations have it."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of OOD in the base frame, metres. None given: strips on all sides of ID."""
    widen_m: float = Field(default=0.08, ge=0, le=0.5)
    """How wide these strips are, where the arm reaches; 0: none."""
    turns: PositiveInt = 1
    """The object looks the same after this part of a turn about the vertical: 4 for a cube, 2 for a pen."""

    @model_validator(mode="after")
    def _can_be_written(self) -> DescribeTask:
        if self.output.suffix != ".json":
            raise ValueError(f"'{self.output}' is no .json file")
        if 0 < self.widen_m < demonstrated.LEAST_STRIP_M:
            raise ValueError(f"a strip of {self.widen_m} m; the least is {demonstrated.LEAST_STRIP_M} m, 0 is none")
        return self


@dataclass(frozen=True, eq=False)
class Shown:
    """Demonstrations of one task by one arm."""

    given: Demonstrations
    paths: tuple[ToolPath, ...]
    ends: tuple[Delivered, ...]
    """Of those that let go of the object, in their order."""
    arm: ArmName
    size_m: tuple[float, float, float]
    """Of the object."""
    table_z_m: float


@dataclass(frozen=True)
class TaskFound:
    """Where it ends."""

    goal: TaskStart
    outcome: Outcome
    basis: str


def describe(config: DescribeTask) -> int:
    """The verb. Raises `BadInput` where the demonstrations do not end at one place, or the twin lacks the object."""
    if config.output.exists():
        raise BadInput(f"{config.output} is there already, and may have been changed by hand", "-o another.json")
    shown = opened(config)
    draft = TaskFound(
        *demonstrated.ending(let_go_at(shown), shown.size_m, shown.table_z_m), "where the jaws let go"
    )
    lay = arrived(replayed(config, shown, written(config, shown, draft)), draft)
    found = ended(config, shown, lay, draft)
    task = written(config, shown, found)
    task = task.but(
        ood=tuple(beside(config, shown, found, demonstrated_in(config, shown))),
        note=f"of {config.demos}: {len(shown.paths)} demonstrations, {len(lay)} reach the goal in {config.bundle}; "
        f"the goal is {found.basis}",
    )
    artefact.write_model(config.output, task)
    picture = config.output.with_suffix(".png")
    starts = [start_of(path) for path in shown.paths]
    coverage.draw(picture, task.parts, task.goal, starts, {}, task.instruction)
    print(told(task))
    print(f"look it over: {config.output}, {picture}")
    print(f"then, for expand, mine, act and real: --world.bundle {config.bundle} --world.task {config.output}")
    return 0


def arrived(lay: Float[ndarray, "N 4 4"], draft: TaskFound) -> Float[ndarray, "M 4 4"]:
    """Of what came to rest, what lies together, where the jaws let go or not far from there."""
    goal_m = np.array([draft.goal.x_m, draft.goal.y_m])
    away_m = np.linalg.norm(lay[:, :2, 3] - goal_m, axis=1)
    near = lay[away_m <= draft.outcome.half_m + demonstrated.TOGETHER_M]
    return near[together(near[:, :3, 3])] if len(near) else near


def ended(config: DescribeTask, shown: Shown, lay: Float[ndarray, "N 4 4"], draft: TaskFound) -> TaskFound:
    """As most demonstrations end in the twin, or where their jaws let go."""
    if 2 * len(lay) > len(shown.paths):
        return TaskFound(*demonstrated.ending(lay, shown.size_m, shown.table_z_m), "how they lay in the twin")
    log.warning(
        "only %d of %d demonstrations, replayed, bring the object to one place, so the goal is where the jaws let go: "
        "the twin's servos or contact differ (tandem twin identify %s %s)",
        *(len(lay), len(shown.paths), config.bundle, config.demos),
    )
    return draft


def opened(config: DescribeTask) -> Shown:
    """Raises `BadInput` that names the demonstration, where one is at fault."""
    if config.object not in object_asset.names(config.bundle):
        have = ", ".join(object_asset.names(config.bundle)) or "none"
        raise BadInput(f"no object '{config.object}' in {config.bundle}; have: {have}", "tandem twin segment")
    asset = read(ObjectAsset, object_asset.folder(config.bundle, config.object) / ASSET)
    given = open_demonstrations(config.demos, config.demos.name)
    if len(given) == 0:
        raise BadInput(f"{config.demos} holds no demonstration", "record some beside a guided page")
    arm = arm_of(given.layout.action_names)
    kinematics, paths = Kinematics(kinematic_model(ARMS[arm]), TIP), []
    for number in range(len(given)):
        try:
            paths.append(path_of(given, number, config.object, kinematics))
        except BadInput as error:
            raise BadInput(f"demonstration {number} of {config.demos}: {error}", error.fix) from error
    held = [number for number, path in enumerate(paths) if path.release >= len(path)]
    if held:
        log.warning(
            "demonstrations %s end with closed jaws: where they let go is not known", ", ".join(map(str, held))
        )
    ends = tuple(delivered(path) for path in paths if path.release < len(path))
    if not ends:
        raise BadInput(
            f"no demonstration of {config.demos} ends with open jaws",
            "record until the gripper has opened over its goal, and leave it open on the way back",
        )
    return Shown(given, tuple(paths), ends, arm, asset.size_m, scene.read(config.bundle).table_m)


def let_go_at(shown: Shown) -> Float[ndarray, "N 4 4"]:
    """Where the jaws let go, of most demonstrations. Raises `BadInput` where that is not one place."""
    Ts_base_object = np.stack([end.T_base_object.matrix for end in shown.ends])
    at_one_place = together(Ts_base_object[:, :3, 3])
    away_m = np.linalg.norm(Ts_base_object[:, :2, 3] - np.median(Ts_base_object[:, :2, 3], axis=0), axis=1)
    if 2 * at_one_place.sum() <= len(shown.ends) or np.median(away_m) > demonstrated.TOGETHER_M * 2:
        raise BadInput(
            f"half of the demonstrations let go of the object more than {1e3 * np.median(away_m):.0f} mm from their "
            "middle: that is not one place",
            "demonstrations of one task, with one goal",
        )
    return Ts_base_object[at_one_place]


def written(config: DescribeTask, shown: Shown, found: TaskFound) -> TwinTask:
    """But for OOD. Raises `BadInput` for no words."""
    words = config.instruction or shown.given[0].instruction
    if not words:
        raise BadInput("the demonstrations have no instruction", "--instruction 'put the block into the tray'")
    seconds = max(len(path) for path in shown.paths) / shown.given.layout.rate_hz
    return TwinTask(
        instruction=words,
        object_name=config.object,
        time_limit_s=max(LEAST_S, math.ceil(SLACK * seconds)),
        id=(demonstrated_in(config, shown),),
        goal=found.goal,
        outcome=found.outcome,
        delivery=Delivery(
            lift_m=round(max(0.001, float(np.median([end.rose_m for end in shown.ends]))), 4),
            rim_m=round(max(0.0, float(np.median([end.came_over_m for end in shown.ends])) - ROOM_ABOVE_M), 4),
        ),
    )


def demonstrated_in(config: DescribeTask, shown: Shown) -> Box:
    """ID."""
    return demonstrated.covered([start_of(path) for path in shown.paths], config.turns)


def beside(config: DescribeTask, shown: Shown, found: TaskFound, id_region: Box) -> Sequence[Region]:
    """OOD. Raises `BadInput` for a polygon that begins at the goal."""
    keep_off_m = found.outcome.half_m + max(shown.size_m[:2]) / 2
    if demonstrated.is_near(id_region, found.goal, keep_off_m):
        log.warning("some demonstrations may begin at the goal itself: in ID there are successes without a motion")
    if not config.polygon:
        z_m = float(np.median([path.T_base_object.translation_m[2] for path in shown.paths]))
        reaches = demonstrated.reach_of(shown.arm, z_m, shown.ends)
        return list(demonstrated.strips(id_region, config.widen_m, found.goal, keep_off_m, reaches))
    region = drawn(config.polygon, id_region.yaw_rad)
    if demonstrated.is_near(region, found.goal, keep_off_m):
        raise BadInput(
            f"the polygon comes within {1e3 * keep_off_m:.0f} mm of the goal ({found.goal.x_m:.3f}, "
            f"{found.goal.y_m:.3f}): what starts there is delivered already",
            "--polygon further off",
        )
    return [region]


def replayed(config: DescribeTask, shown: Shown, draft: TwinTask) -> Float[ndarray, "N 4 4"]:
    """How the object lay in the twin after each demonstration that left it at rest and let go, and moved it."""
    choice = WorldChoice(bundle=config.bundle, arm=shown.arm, rate_hz=shown.given.layout.rate_hz)
    world = open_twin(choice, config.bundle, draft.but(outcome=ANYWHERE))
    lay, astray = [], []
    try:
        with progress("replayed in the twin", len(shown.paths)) as advance:
            for number, path in enumerate(shown.paths):
                world.reset([start_of(path)], [0])
                actions = shown.given[number].actions
                for action in [*actions, *[actions[-1]] * round(SETTLES_S * choice.rate_hz)]:
                    world.step(action[None].astype(float), [0])
                now = world.moment()
                moved_m = np.linalg.norm(now.Ts_base_object[0, :2, 3] - path.T_base_object.translation_m[:2])
                if now.success[0] and moved_m > demonstrated.TOGETHER_M:
                    lay.append(now.Ts_base_object[0])
                else:
                    astray.append(number)
                advance(f"{len(lay)} moved, at rest and let go")
    finally:
        world.close()
    if astray:
        log.warning("in the twin demonstrations %s do not deliver the object", ", ".join(map(str, astray)))
    return np.array(lay).reshape(-1, 4, 4)


def told(task: TwinTask) -> str:
    goal, box, outcome = task.goal, task.id[0], task.outcome
    (x0, y0), (x1, y1) = box.lower_m, box.upper_m
    names = ", ".join(region.name for region in task.ood) or "none"
    upright = (
        "" if outcome.upright_rad == math.pi else f", within {math.degrees(outcome.upright_rad):.0f}° of upright"
    )
    return (
        f"“{task.instruction}” ({task.note})\n"
        f"{task.object_name} from x {x0:.3f} … {x1:.3f}, y {y0:.3f} … {y1:.3f} m (ID; OOD: {names}) "
        f"to x {goal.x_m:.3f}, y {goal.y_m:.3f} m: within {1e3 * outcome.half_m:.0f} mm to each side, no higher than "
        f"{1e3 * outcome.height_m:.0f} mm over the table, at rest, let go{upright}, in {task.time_limit_s:.0f} s"
    )
