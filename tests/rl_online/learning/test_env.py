"""Chunks run to their end or their episode's, rewards fall on the step that earned them, N changes nothing."""

import numpy as np
import pytest

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.spatial import rotation_from_rotvec
from rl_online.learning.env import ChunkEnv, gone
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Rollout, run_episodes
from rl_online.worlds.outcome import OUTCOMES, Outcome, delivered
from rl_online.worlds.world import World, pose_of, pose_values
from tests.rl_online.slider import SliderWorld, interface
from vla.policy import ObservationBatch


def start(x_m: float) -> TaskStart:
    return TaskStart(x_m=x_m, y_m=0.0, yaw_rad=0.0)


def environment(n_envs: int = 1, rewards: Rewards | None = None, horizon: int = 4) -> ChunkEnv:
    return ChunkEnv(SliderWorld(n_envs), interface(horizon), rewards or Rewards(), 0.9, execute_steps=horizon)


def to(target: float, rows: int = 1, horizon: int = 4) -> np.ndarray:
    return np.tile(np.array([target, 1.0]), (rows, horizon, 1))


def test_the_slider_is_a_world():
    assert isinstance(SliderWorld(), World)


def test_success_in_mid_chunk_ends_the_episode_there():
    env = environment()
    env.reset([start(0.3)])
    first = env.run(to(0.5))  # 0.1 … 0.4, the block goes along from 0.3
    assert (first.executed[0], bool(first.over[0])) == (4, False)
    second = env.run(to(0.5))
    assert second.executed.tolist() == [1]
    assert second.terminated[0].tolist() == [True, False, False, False]
    assert second.rewards[0].tolist() == [10.0, 0.0, 0.0, 0.0]
    assert (second.success[0], second.over[0], second.timed_out[0]) == (True, True, False)


def test_half_of_a_chunk_is_done_unless_told_otherwise():
    env = ChunkEnv(SliderWorld(1), interface(4), Rewards(), 0.9)
    env.reset([start(0.3)])
    outcome = env.run(to(0.5))
    assert (outcome.executed.tolist(), outcome.over.tolist()) == ([2], [False])
    assert outcome.rewards[0].tolist() == pytest.approx([-0.05, -0.05, 0, 0])


def test_time_runs_out_in_mid_chunk_without_a_termination():
    env = environment(horizon=6)  # the limit is 2 s at 10 Hz: 20 steps
    env.reset([start(0.3)])
    outcomes = [env.run(to(0.0, horizon=6)) for _ in range(4)]
    assert [int(outcome.executed[0]) for outcome in outcomes] == [6, 6, 6, 2]
    assert outcomes[-1].timed_out[0]
    assert outcomes[-1].over[0]
    assert not outcomes[-1].terminated.any()
    assert outcomes[-1].rewards[0].tolist() == pytest.approx([-0.05, -0.05, 0, 0, 0, 0])


def test_the_process_reward_is_the_discounted_gain_of_progress():
    env = environment(rewards=Rewards(step=0.0, success=1.0, progress=2.0))
    env.reset([start(0.3)])
    outcome = env.run(to(0.5))
    # progress is 1 − |x − 0.5| / 0.5: 0.6 while untouched, 0.8 at 0.4; each step 2·(0.9·after − before)
    expected = [2 * (0.9 * 0.6 - 0.6)] * 3 + [2 * (0.9 * 0.8 - 0.6)]
    assert outcome.rewards[0].tolist() == pytest.approx(expected)
    last = env.run(to(0.5))
    assert last.rewards[0, 0] == pytest.approx(1.0 + 2 * (0 - 0.8))  # no potential after the end


def test_an_object_out_of_reach_ends_the_episode_without_success():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, 2, 3] = 0.9, -0.4
    assert gone(poses).tolist() == [False, True, True]


def test_a_policy_that_does_not_fit_is_told_why():
    other = interface().but(state_names=("slide", "elbow"))
    with pytest.raises(BadInput, match=r"'elbow'.*has: slide, gripper, block.x_m"):
        ChunkEnv(SliderWorld(), other, Rewards(), 0.9)
    with pytest.raises(BadInput, match="30 Hz"):
        ChunkEnv(SliderWorld(), interface().but(rate_hz=30.0), Rewards(), 0.9)


class Pusher:
    """Goes to 0.5, with noise from its seed."""

    def act(self, observations: ObservationBatch, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).uniform(-0.01, 0.01)
        return to(0.5 + noise, len(observations)).astype(np.float32)


def test_episodes_do_not_depend_on_how_many_run_at_once():
    starts = [start(x) for x in (0.1, 0.2, 0.3, 0.45, 0.7)]
    found = []
    for n_envs in (1, 3):
        done: dict[int, Rollout] = {}
        run_episodes(
            environment(n_envs), Pusher(), starts, 7, lambda one, done=done: done.update({one.number: one})
        )
        found.append([(done[n].success, done[n].steps, done[n].rewards) for n in range(5)])
    assert found[0] == found[1]
    assert [success for success, _, _ in found[0]] == [True, True, True, True, False]


def test_kept_chunks_hold_what_was_seen_before_and_after():
    done: list[Rollout] = []
    run_episodes(environment(), Pusher(), [start(0.2)], 0, done.append, keep=True)
    [rollout] = done
    assert rollout.chunks[0].observed.state[0].tolist() == pytest.approx([0.0, 1.0, 0.2])
    assert rollout.last is not None
    assert rollout.last.state[0, 2] == pytest.approx(0.5, abs=0.02)


class Lazy:
    """Stays where it is."""

    def act(self, observations: ObservationBatch, seed: int = 0) -> np.ndarray:
        return to(0.0, len(observations)).astype(np.float32)


class Impatient:
    """Takes over environment 1 from the second chunk of an episode on."""

    def __init__(self) -> None:
        self.asked = {0: 0, 1: 0}

    def begin(self, env: int) -> None:
        self.asked[env] = 0

    def correction(self, env: int, horizon_steps: int) -> np.ndarray | None:
        self.asked[env] += 1
        return to(0.5, horizon=horizon_steps)[0] if env == 1 and self.asked[1] > 1 else None


def test_a_supervisors_chunks_are_done_in_place_of_the_policys_and_marked():
    done: dict[int, Rollout] = {}
    run_episodes(
        environment(2), Lazy(), [start(0.3), start(0.3)], 0, lambda one: done.update({one.number: one}),
        supervisor=Impatient(),
    )  # fmt: skip
    assert (done[0].success, done[0].corrected.any()) == (False, False)
    assert done[1].success
    assert done[1].corrected.tolist() == [False, True, True]
    assert done[1].chunks[1].actions[0].tolist() == [0.5, 1.0]


def test_a_pose_survives_its_columns():
    matrix = np.tile(np.eye(4), (1, 1, 1))
    matrix[0, :2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    matrix[0, :3, 3] = (0.1, 0.2, 0.3)
    columns = dict(zip([f"b.{c}" for c in ("x_m", "y_m", "z_m", "cos_yaw", "sin_yaw")], pose_values(matrix)[0], strict=True))  # fmt: skip # noqa: E501
    assert np.allclose(pose_of(columns, "b").matrix, matrix[0])


def test_a_twins_object_is_delivered_when_it_lies_in_the_box_still_and_let_go():
    outcome = Outcome(half_m=0.03, height_m=0.03, still_m_s=0.02, let_go=True)
    inside = np.eye(4)[None].copy()
    inside[0, :3, 3] = (0.01, 0.0, 0.02)
    still, free = np.zeros((1, 3)), np.zeros(1, bool)
    assert delivered(inside, still, free, outcome).all()
    assert not delivered(moved(inside, 0.03, 0.0), still, free, outcome).any()
    assert not delivered(moved(inside, 0.0, 0.05), still, free, outcome).any()
    assert not delivered(inside, still + 0.1, free, outcome).any()
    assert not delivered(inside, still, ~free, outcome).any()


def test_a_peg_that_leans_is_not_in_its_socket_and_one_that_is_held_is():
    outcome = OUTCOMES["peg_insertion"]
    upright, leaning = np.eye(4)[None].copy(), np.eye(4)[None].copy()
    leaning[0, :3, :3] = rotation_from_rotvec(np.array([0.2, 0.0, 0.0]))  # more than 0.15 rad
    upright[0, 2, 3] = leaning[0, 2, 3] = 0.036
    still, held = np.zeros((1, 3)), np.ones(1, bool)
    assert delivered(upright, still, held, outcome).all()
    assert not delivered(leaning, still, held, outcome).any()


def moved(Ts_goal_object: np.ndarray, x_m: float, z_m: float) -> np.ndarray:
    there = Ts_goal_object.copy()
    there[:, :3, 3] += (x_m, 0.0, z_m)
    return there
