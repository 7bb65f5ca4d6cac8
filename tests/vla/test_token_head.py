"""The token head says with a cache what it says without one, and a whole chunk when it must."""

import numpy as np
import pytest
import small_policy
import torch

from vla.token_head import TokenHead, surest_whole_chunk

VOCABULARY, MOST = 40, 13


@pytest.fixture
def head() -> TokenHead:
    torch.manual_seed(0)
    return TokenHead(small_policy.SMALL, VOCABULARY, MOST).eval()


def test_log_probabilities_are_equal_with_and_without_the_cache() -> None:
    policy = small_policy.policy()
    observations = small_policy.batch(3)
    said = policy.sample(observations, n=16, temperature=0.8, seed=1)
    assert said.mask.float().mean() < 1, "no row ended before the longest: the mask is not tested"
    taught = policy.log_probabilities(observations, said.tokens, 0.8)
    torch.testing.assert_close(taught, said.log_probabilities, atol=2e-5, rtol=1e-5)
    assert (taught[~said.mask] == 0).all()
    assert (taught[said.mask] < 0).all()


def test_each_prefix_gives_the_same_logits_alone(head: TokenHead) -> None:
    """Causality: what comes later changes nothing before it."""
    context = torch.randn(2, 5, 32)
    tokens = torch.randint(0, VOCABULARY, (2, 7))
    whole = head.logits(context, tokens)
    for length in range(1, 7):
        torch.testing.assert_close(
            head.logits(context, tokens[:, :length]), whole[:, :length], atol=1e-5, rtol=1e-5
        )


def test_samples_follow_the_tempered_distribution(head: TokenHead) -> None:
    """20 000 first tokens against softmax(logits / T): no frequency off by more than 5 standard errors."""
    from vla.token_head import sampling

    rows, temperature = 20_000, 1.5
    logits = torch.randn(1, VOCABULARY + 1)
    chosen = sampling(temperature, 3)(logits.expand(rows, -1), torch.zeros(rows, 0))
    share = torch.bincount(chosen, minlength=VOCABULARY + 1) / rows
    wanted = torch.softmax(logits[0] / temperature, dim=0)
    assert ((share - wanted).abs() <= 5 * (wanted * (1 - wanted) / rows).sqrt() + 1e-4).all()


def test_the_loss_is_the_mean_over_a_rows_own_tokens(head: TokenHead) -> None:
    context = torch.randn(1, 5, 32)
    tokens = torch.tensor([[3, 9, head.end, head.end, head.end]])
    distribution = torch.log_softmax(head.logits(context, tokens), dim=-1)
    by_hand = -(distribution[0, 0, 3] + distribution[0, 1, 9] + distribution[0, 2, head.end]) / 3
    torch.testing.assert_close(head.loss(context, tokens)[0], by_hand)


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_chunk_always_decodes_even_with_random_weights(seed: int) -> None:
    policy = small_policy.policy(seed)
    context = torch.randn(8, 6, 32, generator=torch.Generator().manual_seed(seed))
    choose = surest_whole_chunk(torch.from_numpy(policy.fast.symbols_per_token), small_policy.H * small_policy.D)
    said = policy.token_head.speak(context, choose, 1.0)
    assert policy.fast.decode(policy.cut(said.tokens)).valid.all()


def test_an_unguided_random_head_says_chunks_that_do_not_decode() -> None:
    """Otherwise the guided one would prove nothing."""
    policy = small_policy.policy()
    said = policy.sample(small_policy.batch(4), n=8, temperature=1.0, seed=0)
    _, valid = policy.detokenise(policy.cut(said.tokens.flatten(0, 1)))
    assert not valid.all()


def test_one_wrong_token_costs_one_token_of_agreement() -> None:
    policy = small_policy.policy()
    ids = policy.tokenise(small_policy.smooth_chunks(1, seed=4))[0]
    lengths = policy.fast.symbols_per_token
    other = next(t for t in range(policy.fast.vocabulary) if lengths[t] == lengths[ids[0]] and t != ids[0])
    wrong, valid = policy.detokenise([[other, *ids[1:]]])
    right, _ = policy.detokenise([ids])
    assert valid.all()
    assert np.abs(wrong - right).max() > 0
