"""Where a task begins and ends, read off demonstrations: by hand-worked places."""

import math

import numpy as np
import pytest

from hardware.bench.tasks.start import TaskStart
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion.demonstrated import covered, delivered, edge, ending, is_near, strips, together
from rl_online.expansion.warp import ToolPath
from rl_online.starts.regions import Box, drawn

CUBE_M, MUG_M = (0.03, 0.03, 0.03), (0.08, 0.08, 0.1)


def path(*tip_m: tuple[float, float, float], closed: slice) -> ToolPath:
    """A tool that looks down, and a block 10 mm under its tip where it closes."""
    down = np.diag([1.0, -1.0, -1.0])
    poses = tuple(Pose.from_parts("base", "tip", down, at) for at in tip_m)
    opening = np.ones(len(poses))
    opening[closed] = 0.1
    at = np.array(tip_m[closed.start]) - (0.0, 0.0, 0.01)
    T_base_block = Pose.from_parts("base", "block", np.eye(3), at)
    return ToolPath(poses, opening, T_base_block, closed.start, closed.start, closed.stop)


def lying(*at_m: tuple[float, float, float], leans_rad: float = 0.0) -> np.ndarray:
    turn = rotation_from_rotvec(np.array([leans_rad, 0.0, 0.0]))
    return np.stack([Pose.from_parts("base", "block", turn, at).matrix for at in at_m])


def test_what_is_held_goes_with_the_tip_until_it_is_let_go() -> None:
    up_over_down = [(0.2, 0.0, 0.03), (0.2, 0.0, 0.12), (0.2, 0.09, 0.09), (0.2, 0.1, 0.05), (0.2, 0.1, 0.15)]
    end = delivered(path(*up_over_down, closed=slice(0, 3)))
    np.testing.assert_allclose(end.T_base_object.translation_m, (0.2, 0.1, 0.04), atol=1e-12)
    assert end.rose_m == pytest.approx(0.02)
    assert end.came_over_m == pytest.approx(0.06)  # at the third pose, the first one near the goal
    np.testing.assert_allclose(end.T_tip_object.translation_m, (0.0, 0.0, 0.01), atol=1e-12)


def test_one_that_went_astray_is_told_from_those_that_spread() -> None:
    at_m = np.array([[0.2, 0.1, 0.0]] * 9 + [[0.2, 0.172, 0.0]])
    assert together(at_m).tolist() == [True] * 9 + [False]
    wide = np.array([[0.2 + 0.02 * step, 0.1, 0.0] for step in range(-4, 5)])
    assert together(wide).all()  # median deviation 40 mm: no more than a place this wide


def test_the_goal_is_the_middle_of_where_it_lay_and_takes_a_centimetre_more() -> None:
    lay = lying((0.2, 0.1, 0.02), (0.215, 0.1, 0.03), (0.23, 0.1, 0.025))
    goal, outcome = ending(lay, CUBE_M, 0.005)
    assert (goal.x_m, goal.y_m) == (0.215, 0.1)
    assert outcome.half_m == pytest.approx(0.025)
    assert outcome.height_m == pytest.approx(0.03 - 0.005 + 0.3 * 0.03)
    assert outcome.let_go
    assert ending(lay[:1], CUBE_M, 0.005)[1].half_m == 0.02


def test_a_mug_must_stand_where_it_always_stood_and_a_cube_may_lie_on_any_side() -> None:
    place = (0.2, 0.1, 0.02)
    assert ending(lying(place, leans_rad=0.1), MUG_M, 0.0)[1].upright_rad == pytest.approx(math.radians(30))
    assert ending(lying(place, leans_rad=1.5), MUG_M, 0.0)[1].upright_rad == math.pi  # it was laid down
    assert ending(lying(place), CUBE_M, 0.0)[1].upright_rad == math.pi


def test_a_region_holds_what_was_demonstrated_be_it_one_start() -> None:
    start = TaskStart(x_m=0.187064, y_m=-0.1, yaw_rad=0.3)
    box = covered([start], turns=1)
    assert box.contains(start)
    assert box.area_m2 == pytest.approx(1e-4, rel=0.05)


def test_a_yaw_that_looks_the_same_is_the_same_where_they_go_once_round() -> None:
    """A cube from −40° to 40° is as it was seen; at 40° and at 180° it is 40° and 0°."""
    for degrees, wide in (((-40.0, 40.0), 80.0), ((40.0, 180.0), 40.0)):
        starts = [TaskStart(x_m=0.2, y_m=0.0, yaw_rad=math.radians(yaw)) for yaw in degrees]
        low, high = covered(starts, turns=4).yaw_rad
        assert math.degrees(high - low) == pytest.approx(wide + math.degrees(0.1), abs=0.1)


def test_strips_end_where_the_arm_does_and_keep_off_the_goal() -> None:
    of = Box(name="demonstrated", lower_m=(0.2, -0.1), upper_m=(0.3, 0.0), yaw_rad=(0.0, 1.0))
    goal = TaskStart(x_m=0.25, y_m=0.09, yaw_rad=0.0)
    made = {box.name: box for box in strips(of, 0.08, goal, 0.045, lambda start: start.x_m < 0.335)}
    assert set(made) == {"near", "far", "right", "left"}
    assert made["near"].lower_m == (0.12, -0.1)
    assert made["far"].upper_m == (0.33, 0.0)  # of 8 cm, 3 in reach
    assert made["left"].upper_m == (0.3, 0.04)  # 45 mm off the goal is 5 mm further on
    assert all(start.yaw_rad == 0.5 for start in edge(made["near"]))
    assert [box.name for box in strips(of, 0.0, goal, 0.045, lambda _: True)] == []
    assert [box.name for box in strips(of, 0.08, goal, 0.045, lambda _: False)] == []


def test_a_drawn_region_is_near_the_goal_that_it_holds_or_touches() -> None:
    corners = ((0.1, 0.0), (0.2, 0.0), (0.2, 0.1), (0.1, 0.1))
    region = drawn(corners, (0.0, 1.0))
    assert is_near(region, TaskStart(x_m=0.15, y_m=0.05, yaw_rad=0.0), 0.01)
    assert is_near(region, TaskStart(x_m=0.21, y_m=0.1, yaw_rad=0.0), 0.02)
    assert not is_near(region, TaskStart(x_m=0.3, y_m=0.1, yaw_rad=0.0), 0.02)
