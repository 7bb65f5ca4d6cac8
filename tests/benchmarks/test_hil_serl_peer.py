"""LeRobot's learner as it is put together here: it learns when it should, corrections count twice, runs are alike."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.hil_serl_peer import CRITIC_UPDATES, WARM_UP, Episodes, Helper, Peer, Practice, Transition, bench
from benchmarks.peers.bench_gym import STAY, BenchGym
from hardware.bench.tasks.start import TaskStart


@pytest.fixture(scope="module")
def env() -> Iterator[BenchGym]:
    made = BenchGym(bench())
    yield made
    made.close()


def made_up(count: int, corrected: bool = False) -> list[Transition]:
    rng = np.random.default_rng(0)

    def seen() -> dict[str, np.ndarray]:
        return {
            "agent_pos": rng.normal(size=12).astype(np.float32),
            "environment_state": rng.normal(size=5).astype(np.float32),
        }

    def action() -> np.ndarray:
        return np.append(rng.uniform(-1, 1, 4), rng.integers(3)).astype(np.float32)

    return [
        Transition(seen(), action(), float(n % 5 == 0), seen(), n % 5 == 0, False, corrected) for n in range(count)
    ]


def weights(peer: Peer) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in peer.policy.actor.parameters()])


def test_it_learns_after_the_warm_up_once_for_each_step_and_the_same_each_time() -> None:
    steps, found = made_up(WARM_UP + 4), []
    for _ in range(2):
        peer = Peer(steps[:30], seed=1)
        before = weights(peer)
        for each in steps[: WARM_UP - 1]:
            peer.learn(each)
        assert torch.equal(weights(peer), before)
        for each in steps[WARM_UP - 1 :]:
            peer.learn(each)
        assert peer.algorithm.optimization_step == 5
        assert not torch.equal(weights(peer), before)
        assert np.isfinite(peer.losses["loss_critic"])
        found.append(weights(peer))
    assert torch.equal(found[0], found[1])


def test_a_correction_goes_to_both_buffers_and_the_rest_to_the_online_one() -> None:
    peer = Peer(made_up(30), seed=0)
    for each in (*made_up(4), *made_up(3, corrected=True)):
        peer.learn(each)
    assert (len(peer.online), len(peer.offline)) == (7, 33)


def test_actions_are_four_in_the_unit_box_and_one_of_three_for_the_gripper() -> None:
    peer, steps = Peer(made_up(30), seed=0), made_up(20)
    actions = np.stack([peer.act(each.seen) for each in steps])
    assert np.abs(actions[:, :4]).max() <= 1
    assert set(actions[:, 4].tolist()) <= {0.0, 1.0, 2.0}


def test_the_script_takes_over_from_one_who_does_nothing_and_ends_the_task(env: BenchGym) -> None:
    helper, nothing = Helper(env), np.array([0, 0, 0, 0, STAY], np.float32)
    env.reset(options={"start": TaskStart(x_m=0.2, y_m=0.0, yaw_rad=-0.2)})
    helper.begin(watches=True)
    helped, done, reward = 0, False, 0.0
    while not done:
        correction = helper.action()
        helped += correction is not None
        _, reward, terminated, truncated, _ = env.step(nothing if correction is None else correction)
        done = terminated or truncated
    assert reward == 1.0
    assert helped > 20
    helper.begin(watches=False)
    assert helper.action() is None


def test_rounds_count_what_was_done(env: BenchGym, tmp_path: Path) -> None:
    practice = Practice(demos=tmp_path, round_steps=1, rounds=1, trials=1, takeover=0.0, seed=0)
    steps = made_up(30)
    episodes = Episodes(env, Peer(steps, 0), practice)
    before = env.world_steps
    for _ in range(WARM_UP + 2):
        episodes.step()
    assert env.world_steps - before == 2 * (WARM_UP + 2)
    assert (episodes.actions, episodes.corrected) == (WARM_UP + 2, 0)
    assert CRITIC_UPDATES * episodes.peer.algorithm.optimization_step == 6
