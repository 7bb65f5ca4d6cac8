"""What demonstrations say of their task: where they begin, where they end, what is beside that and in reach. Pure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.bench.motion import Planner
from hardware.bench.tasks.start import TaskStart
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion.warp import ToolPath, has_closed
from rl_online.starts.regions import Box, Region, inside
from rl_online.worlds.outcome import Outcome

LEAST_HALF_M, MISSED_M = 0.02, 0.01
"""A goal takes at least so much to each side; and this more than the demonstrations spread."""
TOGETHER_M, DEVIATIONS = 0.03, 4.0
"""What lies within so much of the middle, or so many median deviations, lies at the goal; what does not, beside it."""
ABOVE = 0.3
"""A delivered object lies no higher than the demonstrations', and this share of its height more."""
ALIKE = 1.2
"""Sides of an object whose longest is no longer than this times its shortest: it may lie on any of them."""
UPRIGHT_RAD, LEANS_RAD = math.radians(30), math.radians(15)
"""Other objects must not lean further than the first, if no demonstration's leant further than the second."""
STILL_M_S = 0.02
"""As the bench's own tasks have it."""
PAD_M, PAD_RAD = 0.005, 0.05
"""Round what was demonstrated, so that one start is a region, too."""
LEAST_STRIP_M, STEP_M = 0.02, 0.01
GRIPS = 4
"""Of the demonstrations, tried for a start's reach."""

Reaches = Callable[[TaskStart], bool]


@dataclass(frozen=True)
class Delivered:
    """One demonstration's end, by the arm's kinematics."""

    T_base_object: Pose
    """As the jaws let go of it, if it was held all the way as it was gripped."""
    T_tip_object: Pose
    rose_m: float
    """Higher than it stood at the start by so much, then."""
    came_over_m: float
    """The same where it first came near the goal."""


def delivered(path: ToolPath) -> Delivered:
    """Where the object is when the jaws begin to open."""
    T_tip_object = path.Ts_base_tip[has_closed(path)].inverse() @ path.T_base_object
    carried = [T_base_tip @ T_tip_object for T_base_tip in path.Ts_base_tip[path.grip : path.release + 1]]
    at_m = np.stack([pose.translation_m for pose in carried])
    near = np.linalg.norm(at_m[:, :2] - at_m[-1, :2], axis=1) < TOGETHER_M
    rose_m = at_m[:, 2] - path.T_base_object.translation_m[2]
    return Delivered(carried[-1], T_tip_object, float(rose_m[-1]), float(rose_m[int(np.argmax(near))]))


def together(at_m: Float[ndarray, "N 3"]) -> Bool[ndarray, " N"]:
    """Those that lie at one place in the table's plane; the others went astray."""
    away_m = np.linalg.norm(at_m[:, :2] - np.median(at_m[:, :2], axis=0), axis=1)
    return away_m <= max(TOGETHER_M, DEVIATIONS * float(np.median(away_m)))


def ending(
    Ts_base_object: Float[ndarray, "N 4 4"], size_m: tuple[float, float, float], table_z_m: float
) -> tuple[TaskStart, Outcome]:
    """Goal and success for objects that lay there, at one place."""
    at_m = Ts_base_object[:, :3, 3]
    goal_m = np.median(at_m, axis=0)
    half_m = max(float(np.abs(at_m[:, :2] - goal_m[:2]).max()) + MISSED_M, LEAST_HALF_M)
    leans_rad = float(np.arccos(np.clip(Ts_base_object[:, 2, 2], -1, 1)).max())
    stands = max(size_m) > ALIKE * min(size_m) and leans_rad < LEANS_RAD
    outcome = Outcome(
        half_m=round(half_m, 4),
        height_m=round(max(float(at_m[:, 2].max()) - table_z_m, 0.0) + ABOVE * size_m[2], 4),
        upright_rad=UPRIGHT_RAD if stands else math.pi,
        still_m_s=STILL_M_S,
        let_go=True,
    )
    return TaskStart(x_m=round(float(goal_m[0]), 4), y_m=round(float(goal_m[1]), 4), yaw_rad=0.0), outcome


def covered(starts: Sequence[TaskStart], turns: int) -> Box:
    """The box that the demonstrations begin in. Where their turns go once round, as far as the object looks the same,
    they are counted from their middle.
    """
    at_m = np.array([(start.x_m, start.y_m) for start in starts])
    period = 2 * math.pi / turns
    yaws = np.array([start.yaw_rad for start in starts])
    if np.ptp(yaws) > period:
        middle = math.atan2(np.sin(turns * yaws).mean(), np.cos(turns * yaws).mean()) / turns
        yaws = middle + (yaws - middle + period / 2) % period - period / 2
    low, high = (at_m.min(axis=0) - PAD_M).tolist(), (at_m.max(axis=0) + PAD_M).tolist()
    return Box(
        name="demonstrated",
        lower_m=(round(low[0], 4), round(low[1], 4)),
        upper_m=(round(high[0], 4), round(high[1], 4)),
        yaw_rad=(round(float(yaws.min()) - PAD_RAD, 4), round(float(yaws.max()) + PAD_RAD, 4)),
    )


def strips(of: Box, wide_m: float, goal: TaskStart, keep_off_m: float, reaches: Reaches) -> Iterator[Box]:
    """On the four sides of a box, each as wide as asked, or as far as all of its edge is in reach and off the goal."""
    (x0, y0), (x1, y1) = of.lower_m, of.upper_m
    for name, (x, y) in {"near": (-1, 0), "far": (1, 0), "right": (0, -1), "left": (0, 1)}.items():
        widest = None
        for width_m in np.arange(LEAST_STRIP_M, wide_m + 1e-9, STEP_M).tolist():
            lower_x, upper_x = {-1: (x0 - width_m, x0), 0: (x0, x1), 1: (x1, x1 + width_m)}[x]
            lower_y, upper_y = {-1: (y0 - width_m, y0), 0: (y0, y1), 1: (y1, y1 + width_m)}[y]
            lower_m, upper_m = (round(lower_x, 4), round(lower_y, 4)), (round(upper_x, 4), round(upper_y, 4))
            box = Box(name=name, lower_m=lower_m, upper_m=upper_m, yaw_rad=of.yaw_rad)
            if is_near(box, goal, keep_off_m) or not all(reaches(start) for start in edge(box)):
                break
            widest = box
        if widest is not None:
            yield widest


def is_near(region: Region, goal: TaskStart, keep_off_m: float) -> bool:
    """Whether an object that starts in the region may lie where it has to go. Of a polygon, corners and goal alone."""
    at_m = np.array([goal.x_m, goal.y_m])
    if isinstance(region, Box):
        beside_m = np.maximum(np.array(region.lower_m) - at_m, at_m - np.array(region.upper_m))
        return bool(beside_m.max() < keep_off_m)
    corners_m = np.array(region.outline_m)
    away_m = np.linalg.norm(corners_m - at_m, axis=1).min()
    return bool(inside(at_m[None], region.outline_m)[0] or away_m < keep_off_m)


def edge(box: Box) -> list[TaskStart]:
    """Corners, the middles of the sides and the middle, turned as the middle of the box's yaw."""
    yaw_rad = sum(box.yaw_rad) / 2
    xs, ys = (np.linspace(low, high, 3).tolist() for low, high in zip(box.lower_m, box.upper_m, strict=True))
    return [TaskStart(x_m=x, y_m=y, yaw_rad=yaw_rad) for x in xs for y in ys]


def reach_of(arm: ArmName, z_m: float, ends: Sequence[Delivered]) -> Reaches:
    """Whether an object that stands there, its centre `z_m` high, can be gripped as in some demonstration."""
    planner = Planner(Kinematics(kinematic_model(ARMS[arm]), TIP), ARMS[arm])
    home_rad = np.array(ARMS[arm].home_rad)
    grips = [ends[row].T_tip_object for row in np.unique(np.linspace(0, len(ends) - 1, GRIPS).astype(int))]

    def reaches(start: TaskStart) -> bool:
        turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad]))
        for T_tip_object in grips:
            T_base_object = Pose.from_parts("base", T_tip_object.child, turn, (start.x_m, start.y_m, z_m))
            with contextlib.suppress(Unreachable):
                planner.reach(T_base_object @ T_tip_object.inverse(), home_rad)
                return True
        return False

    return reaches
