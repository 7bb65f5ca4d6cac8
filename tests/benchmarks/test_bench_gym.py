"""The bench as a gymnasium environment: its actions reach what joint targets reach, its ends are the plant's."""

import math

import numpy as np
import pytest

from benchmarks.peers.bench_gym import OPEN, STAY, STEP_M, BenchGym, yaw_of
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.tasks.start import TaskStart
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config

START = TaskStart(x_m=0.21, y_m=-0.1, yaw_rad=0.2)
REST = np.array([0, 0, 0, 0, STAY], np.float32)


@pytest.fixture(scope="module")
def env() -> BenchGym:
    return BenchGym(BenchWorld(plant_config(WorldChoice())))


def test_what_is_seen_lies_in_the_space_and_the_same_seed_draws_the_same_starts(env: BenchGym) -> None:
    first, _ = env.reset(seed=3)
    assert env.observation_space.contains(first)
    later, _ = env.reset()
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first["environment_state"], again["environment_state"])
    assert np.abs(later["environment_state"] - first["environment_state"]).max() > 1e-3


def test_a_full_step_moves_the_tool_25_mm_and_the_gripper_rounds_to_a_whole_action(env: BenchGym) -> None:
    env.reset(options={"start": START})
    for _ in range(4):  # at home the tool leans, and high up the wrist must turn fast
        seen, *_ = env.step(np.array([0, 0, -1, 0, STAY], np.float32))
    then, *_ = env.step(np.array([1, 0, 0, 0, 0.4], np.float32))
    moved = then["agent_pos"][6:9] - seen["agent_pos"][6:9]
    np.testing.assert_allclose(moved, [STEP_M, 0, 0], atol=5e-4)
    assert seen["agent_pos"][-1] == 1.0
    assert then["agent_pos"][-1] == pytest.approx(0.8)  # 0.4 is nearest to close: 0.2 of the opening in one step


def test_joint_targets_are_reached_through_actions(env: BenchGym) -> None:
    """A demonstrator's targets: the tool comes there within the tolerance of the inverse kinematics, 0.2 mm."""
    env.reset(options={"start": START})
    q_rad = env.asked_rad + np.array([-0.4, 0.25, 0.1, -0.3, 0.3])
    for _ in range(12):
        action, whole = env.action_to(q_rad, 0.4)
        env.step(action)
    assert whole
    there, here = env.kinematics.T_base_tip(q_rad), env.kinematics.T_base_tip(env.asked_rad)
    np.testing.assert_allclose(here.translation_m, there.translation_m, atol=1e-3)
    assert abs(math.remainder(yaw_of(here) - yaw_of(there), math.tau)) < 0.05
    assert env.asked_open == pytest.approx(0.4)


def test_time_runs_out_without_an_end_and_without_a_reward(env: BenchGym) -> None:
    env.reset(options={"start": START})
    before = env.world_steps
    for _ in range(env.limit_steps // env.substeps - 1):
        _, reward, terminated, truncated, _ = env.step(REST)
        assert (reward, terminated, truncated) == (0.0, False, False)
    _, reward, terminated, truncated, info = env.step(REST)
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"success": False})
    assert env.world_steps - before == env.limit_steps


def test_the_demonstrator_succeeds_through_the_environments_actions_and_is_paid_once(env: BenchGym) -> None:
    env.reset(options={"start": START})
    config, plant = env.world.config, env.world.plants[0]
    person = Demonstrator(config.task, config.arm_model, env.world.rate_hz, env.substeps)
    rewards, terminated = [], False
    while not terminated:
        chunk = person.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        action, _ = env.action_to(chunk.values[-1, :-1], float(chunk.values[-1, -1]))
        _, reward, terminated, truncated, _ = env.step(action)
        assert not truncated
        rewards.append(reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_out_of_reach_the_arm_stays_within_its_joints_ranges(env: BenchGym) -> None:
    env.reset(options={"start": START})
    for _ in range(12):
        env.step(np.array([1, 1, 1, 1, OPEN], np.float32))
    assert (env.asked_rad >= env.kinematics.lower_rad - 1e-9).all()
    assert (env.asked_rad <= env.kinematics.upper_rad + 1e-9).all()
