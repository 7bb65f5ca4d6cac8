"""A plan picks the block up on the bench and lays it into the tray; ways keep clear of what is solid."""

import numpy as np
import pytest

from hardware.bench.arm_models import ARMS, TIP
from hardware.bench.plant_config import TaskName
from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, kinematic_model
from hardware.spatial import Pose
from rl_online.expansion import motion_planner
from rl_online.expansion.expand import ExpandDemos
from rl_online.expansion.motion_planner import NoWay, PlannerLimits
from rl_online.expansion.plan_generator import PlanGenerator, PlanSearch
from rl_online.expansion.solids import Solids, open_solids
from rl_online.expansion.tries import run
from rl_online.worlds.open_world import WorldChoice, open_world
from rl_online.worlds.tasks import delivery_of

CHOICE = WorldChoice(camera_px=8)
KINEMATICS = Kinematics(kinematic_model(ARMS["so101"]), TIP)
HOME = np.array(ARMS["so101"].home_rad)


@pytest.fixture(scope="module")
def solids() -> Solids:
    return open_solids(CHOICE, "block")


def generator(solids: Solids, task: TaskName = "pick_place") -> PlanGenerator:
    goal = TaskStart(x_m=0.185, y_m=0.13, yaw_rad=0.3)
    return PlanGenerator(solids, KINEMATICS, delivery_of(task, "so101"), goal, 20.0, PlanSearch())


@pytest.mark.slow
def test_a_planned_episode_succeeds_in_physics(solids: Solids, tmp_path):
    world = open_world(CHOICE)
    world.reset([TaskStart(x_m=0.21, y_m=0.0, yaw_rad=0.2)], [0])
    config = ExpandDemos(output=tmp_path, generator="plan", cameras=False)
    episode, success = run(world, generator(solids), np.random.default_rng(3), config)
    world.close()
    assert success
    assert 100 < len(episode) < 400
    steps = np.abs(np.diff(np.stack(episode.actions)[:, :-1], axis=0))
    assert steps.max() < ARMS["so101"].velocity_rad_s / 20 * 1.01


def test_the_arm_is_free_at_home_and_not_inside_the_table(solids: Solids):
    solids.place(Pose.from_parts("base", "block", np.eye(3), (0.21, 0.0, 0.0136)))
    assert solids.is_free(HOME, 0.42)
    low = KINEMATICS.solve(Pose.from_parts("base", "tip", np.diag([1.0, -1, -1]), (0.25, -0.1, -0.03)), HOME)
    assert not solids.is_free(low, 0.42)


def test_a_block_in_hand_collides_where_the_hand_alone_would_not(solids: Solids):
    T_base_tip = KINEMATICS.T_base_tip(HOME)
    floor = float(T_base_tip.translation_m[2]) + 0.0024
    long_arm = Pose.from_parts("tip", "block", np.eye(3), (0.0, 0.0, floor))
    assert solids.is_free(HOME, 0.42)
    with solids.holding(long_arm):
        assert not solids.is_free(HOME, 0.42)


def test_ways_are_free_all_along_and_the_same_for_the_same_seed(solids: Solids):
    solids.place(Pose.from_parts("base", "block", np.eye(3), (0.21, 0.0, 0.0136)))
    goal = HOME + np.array([0.9, 0.3, -0.1, 0.2, 0.5])
    ways = [motion_planner.way(HOME, goal, 0.42, solids, KINEMATICS, PlannerLimits(), 5) for _ in range(2)]
    np.testing.assert_array_equal(ways[0], ways[1])
    np.testing.assert_array_equal(ways[0][[0, -1]], [HOME, goal])
    for one, other in zip(ways[0], ways[0][1:], strict=False):
        for share in np.linspace(0, 1, 5):
            assert solids.is_free(one + share * (other - one), 0.42)


def test_a_goal_inside_the_table_has_no_way(solids: Solids):
    low = KINEMATICS.solve(Pose.from_parts("base", "tip", np.diag([1.0, -1, -1]), (0.25, -0.1, -0.03)), HOME)
    with pytest.raises(NoWay, match="last posture runs into something"):
        motion_planner.way(HOME, low, 0.42, solids, KINEMATICS, PlannerLimits(), 0)


def test_a_task_without_a_place_is_refused(solids: Solids):
    with pytest.raises(BadInput, match="wiping"):
        generator(solids, "wiping")
