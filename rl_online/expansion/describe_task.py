"""`tandem rl task`: a twin and demonstrations of one's own task in; the task, as `tandem rl` has to know it, out.

All of it is read off the demonstrations: where the object stood (ID), where the jaws let go of it and how high it came
over what stands round that place (by the arm's kinematics), and where it lay in the end, which no camera told: so they
are replayed in the twin's physics. Beside ID lies OOD: as far as asked, and as the arm reaches. The file is JSON, to be
looked over and changed by hand.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from pydantic import NonNegativeFloat, PositiveInt

from hardware import artefact
from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.bench.motion import Planner
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.progress import progress
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion import coverage
from rl_online.expansion.expand import path_of, paths_of, start_of
from rl_online.expansion.plan_generator import ROOM_ABOVE_M
from rl_online.expansion.warp import ToolPath, has_closed
from rl_online.starts.regions import Box, Region, drawn
from rl_online.worlds.open_world import WorldChoice, open_twin
from rl_online.worlds.outcome import Outcome
from rl_online.worlds.tasks import Delivery, TwinTask
from twin import object_asset
from twin.object_asset import ASSET, ObjectAsset
from twin.sim import scene
from vla.demonstrations import Demonstrations, open_demonstrations

LEAST_HALF_M, MISSED_M = 0.015, 0.01
"""A goal takes at least so much to each side; and this more than the demonstrations spread."""
SPREAD_M = 0.08
"""Demonstrations that let go further apart than this do not all end at one place."""
ABOVE = 0.3
"""A delivered object lies no higher than the demonstrations let go of it, and this share of its height more."""
SLACK = 1.5
"""Of the longest demonstration: the time limit."""
LEAST_STRIP_M, STEP_M = 0.02, 0.01


log = logging.getLogger(__name__)

Reaches = Callable[[TaskStart], bool]


class DescribeTask(Config):
    """Write down your own task for `--world.task`: starts, goal, success and time limit, read off its demonstrations.
    Look it over: it is a short JSON file, and a picture beside it.
    """

    bundle: tyro.conf.Positional[Path]
    """The cell's twin, with the object, the arm and contact."""
    demos: tyro.conf.Positional[Path]
    """Demonstrations that know where the object stood: recorded beside a guided page, or by `tandem rl demos`."""
    object: str
    """Name of the object in the twin (`tandem twin segment`)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file, .json."""
    instruction: str = ""
    """Empty: as the demonstrations have it."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of OOD in the base frame, metres. None given: strips on all sides of ID."""
    widen_m: NonNegativeFloat = 0.08
    """How wide these strips are, where the arm reaches; 0: none."""
    turns: PositiveInt = 1
    """The object looks the same after this part of a turn about the vertical: 4 for a cube."""
    arm: ArmName = "so101"


@dataclass(frozen=True)
class Delivered:
    """One demonstration's end."""

    T_base_object: Pose
    """As the jaws let go of it, if it was held all the way as it was gripped."""
    T_tip_object: Pose
    rose_m: float
    """Higher than it stood at the start by so much, then."""
    came_over_m: float
    """The same where it first came near the goal."""


def describe(config: DescribeTask) -> int:
    """The verb. Raises `BadInput` where the demonstrations do not end at one place, or the twin lacks the object."""
    if config.output.suffix != ".json":
        raise BadInput(f"'{config.output}' is no .json file", "-o task.json")
    if config.object not in object_asset.names(config.bundle):
        have = ", ".join(object_asset.names(config.bundle)) or "none"
        raise BadInput(f"no object '{config.object}' in {config.bundle}; have: {have}", "tandem twin segment")
    asset = read(ObjectAsset, object_asset.folder(config.bundle, config.object) / ASSET)
    paths = paths_of(config.demos, config.arm, config.object)
    shown = open_demonstrations(config.demos, config.demos.name)
    table_z_m, seconds = scene.read(config.bundle).table_m, max(len(path) for path in paths) / shown.layout.rate_hz
    words = config.instruction or shown[0].instruction
    task = described(paths, asset.size_m, table_z_m, config, seconds=seconds, instruction=words)
    lay_m = replayed(config, task, shown)
    if 2 * len(lay_m) > len(paths):
        goal, outcome = ending_at(lay_m, asset.size_m, table_z_m)
        task = task.but(goal=goal, outcome=outcome)
    else:
        log.warning(
            "only %d of %d demonstrations, replayed, bring the object to the goal, so that is where the jaws let go: "
            "the twin's servos or contact differ (tandem twin identify, tandem twin compare)",
            *(len(lay_m), len(paths)),
        )
    artefact.write_model(config.output, task)
    picture = config.output.with_suffix(".png")
    coverage.draw(picture, task.parts, task.goal, [start_of(path) for path in paths], {}, task.instruction)
    print(told(task, len(paths)))
    print(f"replayed in the twin, {len(lay_m)} of {len(paths)} bring it there")
    print(
        f"look it over: {config.output}, {picture}\nthen: --world.bundle {config.bundle} --world.task {config.output}"
    )
    return 0


def described(
    paths: Sequence[ToolPath],
    size_m: tuple[float, float, float],
    table_z_m: float,
    config: DescribeTask,
    *,
    seconds: float,
    instruction: str,
) -> TwinTask:
    """By kinematics alone. Raises `BadInput` where the demonstrations let go of the object at several places."""
    ends = [delivered(path) for path in paths if path.release < len(path)]
    if not ends:
        raise BadInput(
            "no demonstration lets go of the object", "record until the gripper has opened over its goal"
        )
    goal, outcome = ending_at(np.stack([end.T_base_object.translation_m for end in ends]), size_m, table_z_m)
    demonstrated = covered([start_of(path) for path in paths], config.turns)
    if config.polygon:
        ood: tuple[Region, ...] = (drawn(config.polygon, demonstrated.yaw_rad),)
    else:
        reaches = reach_of(config.arm, paths, ends)
        keep_off_m = outcome.half_m + max(size_m[:2]) / 2
        ood = tuple(strips(demonstrated, config.widen_m, goal, keep_off_m, reaches))
    return TwinTask(
        instruction=instruction,
        object_name=config.object,
        time_limit_s=max(10.0, math.ceil(SLACK * seconds)),
        id=(demonstrated,),
        ood=ood,
        goal=goal,
        outcome=outcome,
        delivery=Delivery(
            lift_m=round(max(0.001, float(np.median([end.rose_m for end in ends]))), 4),
            rim_m=round(max(0.0, float(np.median([end.came_over_m for end in ends])) - ROOM_ABOVE_M), 4),
        ),
    )


def ending_at(
    at_m: Float[ndarray, "N 3"], size_m: tuple[float, float, float], table_z_m: float
) -> tuple[TaskStart, Outcome]:
    """Goal and success for objects that lay there. Raises `BadInput` where that is not one place."""
    goal_m = np.median(at_m, axis=0)
    missed_m = float(np.abs(at_m[:, :2] - goal_m[:2]).max())
    if missed_m > SPREAD_M:
        raise BadInput(
            f"the demonstrations let go of the object up to {1e3 * missed_m:.0f} mm from their middle "
            f"({goal_m[0]:.3f}, {goal_m[1]:.3f}): that is not one place",
            "demonstrations of one task, with one goal",
        )
    goal = TaskStart(x_m=round(float(goal_m[0]), 4), y_m=round(float(goal_m[1]), 4), yaw_rad=0.0)
    height_m = float(at_m[:, 2].max()) - table_z_m + ABOVE * size_m[2]
    half_m = max(missed_m + MISSED_M, LEAST_HALF_M)
    return goal, Outcome(half_m=round(half_m, 4), height_m=round(height_m, 4), still_m_s=0.02, let_go=True)


def replayed(config: DescribeTask, draft: TwinTask, shown: Demonstrations) -> Float[ndarray, "N 3"]:
    """Where the object lay at the end in the twin, for those demonstrations that bring it near the draft's goal."""
    choice = WorldChoice(bundle=config.bundle, arm=config.arm, rate_hz=shown.layout.rate_hz)
    goal_m, lay_m = np.array([draft.goal.x_m, draft.goal.y_m]), []
    kinematics = Kinematics(kinematic_model(ARMS[config.arm]), TIP)
    world = open_twin(choice, config.bundle, draft)
    try:
        with progress("replayed in the twin", len(shown)) as advance:
            for number in range(len(shown)):
                world.reset([start_of(path_of(shown, number, config.object, kinematics))], [0])
                for action in shown[number].actions:
                    world.step(action[None].astype(float), [0])
                at_m = world.moment().Ts_base_object[0, :3, 3]
                if np.linalg.norm(at_m[:2] - goal_m) < SPREAD_M:
                    lay_m.append(at_m)
                advance(f"{len(lay_m)} at the goal")
    finally:
        world.close()
    return np.array(lay_m).reshape(-1, 3)


def delivered(path: ToolPath) -> Delivered:
    """Where the object is when the jaws begin to open."""
    T_tip_object = path.Ts_base_tip[has_closed(path)].inverse() @ path.T_base_object
    carried = [T_base_tip @ T_tip_object for T_base_tip in path.Ts_base_tip[path.grip : path.release + 1]]
    at_m = np.stack([pose.translation_m for pose in carried])
    near = np.linalg.norm(at_m[:, :2] - at_m[-1, :2], axis=1) < 2 * LEAST_HALF_M
    rose_m = at_m[:, 2] - path.T_base_object.translation_m[2]
    return Delivered(carried[-1], T_tip_object, float(rose_m[-1]), float(rose_m[int(np.argmax(near))]))


def covered(starts: Sequence[TaskStart], turns: int) -> Box:
    """The box that the demonstrations fill. Turns by which the object looks the same are taken off its yaw."""
    at_m = np.array([(start.x_m, start.y_m) for start in starts])
    period = 2 * math.pi / turns
    yaws = np.array([start.yaw_rad for start in starts])
    middle = math.atan2(np.sin(turns * yaws).mean(), np.cos(turns * yaws).mean()) / turns
    yaws = middle + (yaws - middle + period / 2) % period - period / 2
    lower, upper = np.round(at_m.min(axis=0), 4).tolist(), np.round(at_m.max(axis=0), 4).tolist()
    return Box(
        name="demonstrated",
        lower_m=(lower[0], lower[1]),
        upper_m=(upper[0], upper[1]),
        yaw_rad=(round(float(yaws.min()), 4), round(float(yaws.max()), 4)),
    )


def strips(of: Box, wide_m: float, goal: TaskStart, keep_off_m: float, reaches: Reaches) -> Iterator[Box]:
    """On the four sides of a box, each as wide as asked, or as far as all of its edge is in reach and off the goal."""
    (x0, y0), (x1, y1) = of.lower_m, of.upper_m
    for name, (x, y) in {"near": (-1, 0), "far": (1, 0), "right": (0, -1), "left": (0, 1)}.items():
        for width_m in np.arange(wide_m, LEAST_STRIP_M - 1e-9, -STEP_M).tolist():
            lower_x, upper_x = {-1: (x0 - width_m, x0), 0: (x0, x1), 1: (x1, x1 + width_m)}[x]
            lower_y, upper_y = {-1: (y0 - width_m, y0), 0: (y0, y1), 1: (y1, y1 + width_m)}[y]
            lower_m, upper_m = (round(lower_x, 4), round(lower_y, 4)), (round(upper_x, 4), round(upper_y, 4))
            box = Box(name=name, lower_m=lower_m, upper_m=upper_m, yaw_rad=of.yaw_rad)
            if not is_near(box, goal, keep_off_m) and all(reaches(start) for start in edge(box)):
                yield box
                break


def is_near(box: Box, goal: TaskStart, keep_off_m: float) -> bool:
    """Whether an object that starts in the box may lie where it has to go."""
    at_m = np.array([goal.x_m, goal.y_m])
    beside_m = np.maximum(np.array(box.lower_m) - at_m, at_m - np.array(box.upper_m))
    return bool(beside_m.max() < keep_off_m)


def edge(box: Box) -> list[TaskStart]:
    """Corners, the middles of the sides and the middle, turned as the middle of the box's yaw."""
    yaw_rad = sum(box.yaw_rad) / 2
    xs, ys = (np.linspace(low, high, 3).tolist() for low, high in zip(box.lower_m, box.upper_m, strict=True))
    return [TaskStart(x_m=x, y_m=y, yaw_rad=yaw_rad) for x in xs for y in ys]


def reach_of(arm: ArmName, paths: Sequence[ToolPath], ends: Sequence[Delivered]) -> Reaches:
    """Whether an object that starts there can be gripped as in one of the demonstrations."""
    planner = Planner(Kinematics(kinematic_model(ARMS[arm]), TIP), ARMS[arm])
    z_m = float(np.median([path.T_base_object.translation_m[2] for path in paths]))
    home_rad = np.array(ARMS[arm].home_rad)

    def reaches(start: TaskStart) -> bool:
        turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad]))
        for end in ends:
            thing = end.T_tip_object.child
            T_base_object = Pose.from_parts("base", thing, turn, (start.x_m, start.y_m, z_m))
            with contextlib.suppress(Unreachable):
                planner.reach(T_base_object @ end.T_tip_object.inverse(), home_rad)
                return True
        return False

    return reaches


def told(task: TwinTask, demonstrations: int) -> str:
    goal, box = task.goal, task.id[0]
    beside = ", ".join(region.name for region in task.ood) or "none"
    return (
        f"“{task.instruction}” from {demonstrations} demonstrations: {task.object_name} from "
        f"x {box.lower_m[0]:.3f} … {box.upper_m[0]:.3f}, y {box.lower_m[1]:.3f} … {box.upper_m[1]:.3f} m "
        f"(ID; OOD: {beside}) "
        f"to x {goal.x_m:.3f}, y {goal.y_m:.3f} m, within {1e3 * task.outcome.half_m:.0f} mm, at rest and let go, "
        f"in {task.time_limit_s:.0f} s"
    )
