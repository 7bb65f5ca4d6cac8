"""The chunk critic's target, by hand: γ = 0.9, chunks of three steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_online.learning.returns import of_chunks, to_the_end, worth_imitating

GAMMA = 0.9


def one(rewards: list[float], terminated: list[bool], executed: int) -> tuple[float, float]:
    made = of_chunks(np.array([rewards], float), np.array([terminated]), np.array([executed]), GAMMA)
    return float(made.reward[0]), float(made.bootstrap[0])


def test_a_whole_chunk_discounts_what_follows_by_gamma_to_the_third():
    # 1 + 0.9·2 + 0.81·3 = 5.23; then 0.9³ = 0.729
    assert one([1, 2, 3], [False, False, False], 3) == pytest.approx((5.23, 0.729))


def test_success_in_mid_chunk_ends_it_and_later_rewards_do_not_count():
    # −0.05 + 0.9·10 = 8.95; the 7 after it was never earned; nothing follows
    assert one([-0.05, 10, 7], [False, True, False], 3) == pytest.approx((8.95, 0.0))


def test_failure_at_the_last_step_counts_its_reward_and_does_not_bootstrap():
    # 0 + 0 + 0.81·(−1) = −0.81
    assert one([0, 0, -1], [False, False, True], 3) == pytest.approx((-0.81, 0.0))


def test_a_time_out_in_mid_chunk_bootstraps_from_the_state_where_it_was_cut():
    # two steps done: 1 + 0.9·2 = 2.8; the third never happened; 0.9² = 0.81
    assert one([1, 2, 99], [False, False, False], 2) == pytest.approx((2.8, 0.81))


def test_a_time_out_at_the_end_of_a_chunk_bootstraps_as_any_other():
    assert one([1, 1, 1], [False, False, False], 3) == pytest.approx((2.71, 0.729))


def test_a_mark_after_the_executed_steps_is_not_a_termination():
    assert one([1, 2, 0], [False, False, True], 2) == pytest.approx((2.8, 0.81))


def test_the_first_of_two_terminations_counts():
    assert one([1, 1, 1], [True, False, True], 3) == pytest.approx((1.0, 0.0))


def test_returns_to_the_end_by_hand():
    # 10 last; −1 + 0.9·10 = 8; −1 + 0.9·8 = 6.2
    assert to_the_end([-1.0, -1.0, 10.0], GAMMA, timed_out=False) == pytest.approx([6.2, 8.0, 10.0])


def test_a_timed_out_episode_goes_on_losing_for_ever():
    # −0.05 / (1 − 0.9) = −0.5 at every step
    assert to_the_end([-0.05] * 4, GAMMA, timed_out=True) == pytest.approx([-0.5] * 4)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=24), st.integers(1, 6))
def test_chunks_chained_by_their_bootstrap_give_the_episodes_return(rewards: list[float], horizon: int):
    returns = to_the_end(rewards, GAMMA, timed_out=False)
    follows = 0.0
    for start in range((len(rewards) - 1) // horizon * horizon, -1, -horizon):
        part = rewards[start : start + horizon]
        padded = np.array([part + [99.0] * (horizon - len(part))])
        terminated = np.zeros((1, horizon), bool)
        terminated[0, len(part) - 1] = start + horizon >= len(rewards)
        made = of_chunks(padded, terminated, np.array([len(part)]), GAMMA)
        follows = float(made.reward[0] + made.bootstrap[0] * follows)
    assert follows == pytest.approx(returns[0])


def test_corrections_and_what_the_policy_did_after_the_last_one_are_worth_imitating():
    corrected = np.array([False, True, False, True, False])
    assert worth_imitating(True, corrected).tolist() == [False, True, False, True, True]
    assert worth_imitating(False, corrected).tolist() == corrected.tolist()
    assert worth_imitating(True, np.zeros(3, bool)).all()
    assert not worth_imitating(False, np.zeros(3, bool)).any()
