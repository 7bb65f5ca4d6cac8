"""Each process reward against numbers worked by hand, and the traps that the paper's code falls into."""

from math import exp

import numpy as np
import pytest
import small_policy

from hardware.errors import BadInput
from vla.rft.process_rewards import RewardWeights, ctar, fcr, gripper_columns, qacr, score, total


def test_qacr_counts_equal_places_by_the_longer_sequence() -> None:
    assert qacr([5, 6, 7, 8], [5, 6, 7, 8], True) == 1.0
    assert qacr([5, 0, 7, 8], [5, 6, 7, 8], True) == 3 / 4  # one wrong token
    assert qacr([5, 6], [5, 6, 7, 8], True) == 2 / 4  # too short: max(U, V) = 4
    assert qacr([5, 6, 7, 8, 9], [5, 6], True) == 2 / 5  # too long: max(U, V) = 5
    assert qacr([6, 7, 8], [5, 6, 7, 8], True) == 0.0  # shifted by one: no place agrees
    assert qacr([5, 6, 7, 8], [5, 6, 7, 8], False) == 0.0


def test_ctar_by_hand() -> None:
    """Two steps, two pose dims and a gripper. d = (0.1 + 0.3)/2 = 0.2 and 0; the gripper agrees, then not:
    ½ [0.8 e^(−5·0.2) + 0.2 + 0.8 e^0 + 0] = ½ [0.8 · 0.367879 + 0.2 + 0.8] = 0.647152."""
    expert = np.array([[0.0, 0.0, 1.0], [0.5, -0.5, 1.0]])
    actions = np.array([[0.1, -0.3, 0.6], [0.5, -0.5, -0.2]])
    assert ctar(actions, expert, True, gripper=(2,)) == pytest.approx(0.647152, abs=1e-6)
    assert ctar(actions, expert, False, gripper=(2,)) == 0.0
    assert ctar(expert, expert, True, gripper=(2,)) == pytest.approx(1.0)


def test_ctar_of_two_grippers_counts_each_for_half() -> None:
    """One step, no distance: 0.8 + 0.2 · ½."""
    expert = np.array([[0.0, 1.0, -1.0]])
    assert ctar(np.array([[0.0, 1.0, 1.0]]), expert, True, gripper=(1, 2)) == pytest.approx(0.9)


def test_ctar_without_a_gripper_is_the_poses_alone() -> None:
    """α = 2, d = 0.5: e^(−1)."""
    assert ctar(np.array([[0.5]]), np.array([[0.0]]), True, alpha=2.0) == pytest.approx(exp(-1))
    assert ctar(np.array([[0.5]]), np.array([[-0.5]]), True, gripper=(0,)) == 0.0


def test_the_sum_is_weighted_and_ablated() -> None:
    """0.7 · 0.5 + 0.3 · 0.8 + 0.1 · 1 = 0.69"""
    paper = RewardWeights()
    assert total(0.5, 0.8, fcr(True), paper) == pytest.approx(0.69)
    assert total(0.5, 0.8, 1.0, paper.but(without=("qacr",))) == pytest.approx(0.34)
    assert total(0.5, 0.8, 1.0, paper.but(without=("ctar",))) == pytest.approx(0.45)
    assert total(0.5, 0.8, 1.0, paper.but(without=("fcr",))) == pytest.approx(0.59)


def scored(tokens: list[list[int]], weights: RewardWeights | None = None):
    """Beside one demonstrated chunk of the small policy."""
    policy, expert = small_policy.policy(), small_policy.smooth_chunks(1, seed=4)
    actions, valid = policy.detokenise(tokens)
    experts = policy.tokenise(expert)
    return score(tokens, actions, valid, experts, expert, (), weights or RewardWeights())


def test_the_experts_own_tokens_are_worth_the_most() -> None:
    """QACR and FCR are 1; CTAR is short of 1 by the rounding alone: d ≤ 0.05·√H (Cauchy–Schwarz) at its worst."""
    [ids] = small_policy.policy().tokenise(small_policy.smooth_chunks(1, seed=4))
    rewards = scored([ids])
    assert rewards.qacr[0, 0] == rewards.fcr[0, 0] == 1.0
    assert exp(-5 * 0.05 * 6**0.5) < rewards.ctar[0, 0] < 1.0
    assert rewards.total[0, 0] == pytest.approx(0.7 + 0.3 * rewards.ctar[0, 0] + 0.1)


def test_one_wrong_token_of_the_same_length_costs_one_place_and_some_motion() -> None:
    policy = small_policy.policy()
    [ids] = policy.tokenise(small_policy.smooth_chunks(1, seed=4))
    lengths = policy.fast.symbols_per_token
    other = next(t for t in range(policy.fast.vocabulary) if lengths[t] == lengths[ids[0]] and t != ids[0])
    rewards = scored([ids, [other, *ids[1:]]])
    assert rewards.qacr[0, 1] == pytest.approx(1 - 1 / len(ids))
    assert rewards.ctar[0, 1] < rewards.ctar[0, 0]
    assert rewards.fcr[0, 1] == 1.0


def test_a_chunk_that_does_not_decode_gets_nothing_though_its_zeros_look_like_standing_still() -> None:
    """The decoder gives zeros for it; beside an expert who stands still they would be worth almost everything."""
    policy = small_policy.policy()
    still = np.zeros((1, small_policy.H, small_policy.D), np.float32)
    [ids] = policy.tokenise(still)
    short = ids[:-1]
    actions, valid = policy.detokenise([short, ids, []])
    assert np.abs(actions[0]).max() == 0
    rewards = score([short, ids, []], actions, valid, [ids], still, (), RewardWeights())
    for part in (rewards.qacr, rewards.ctar, rewards.fcr, rewards.total):
        assert part[0, 0] == part[0, 2] == 0.0
        assert part[0, 1] > 0


def test_samples_of_one_observation_lie_behind_each_other() -> None:
    """Two observations with two samples each; only the second one's second sample is right."""
    chunks = np.zeros((4, 1, 1))
    experts = [[1], [2]]
    rewards = score([[3], [2], [1], [2]], chunks, np.ones(4, bool), experts, chunks[:2], (), RewardWeights())
    np.testing.assert_array_equal(rewards.qacr, [[0, 0], [0, 1]])


def test_the_gripper_is_found_by_its_name_or_named() -> None:
    assert gripper_columns(("x", "left_gripper", "y", "gripper")) == (1, 3)
    assert gripper_columns(("x", "jaw"), ("jaw",)) == (1,)
    assert gripper_columns(("x", "y")) == ()
    with pytest.raises(BadInput, match="no action 'claw'"):
        gripper_columns(("x", "jaw"), ("claw",))
