"""GRPO's pieces against numbers worked by hand, and against what they estimate."""

from math import e, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla.rft import grpo


def test_advantages_are_of_the_group() -> None:
    """1, 2, 3, 4: mean 2.5, std √1.25 = 1.118034 → ∓1.341641, ∓0.447214. Equal rewards: none."""
    rows = grpo.advantages(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.7, 0.7, 0.7, 0.7]], dtype=torch.float64))
    expected = torch.tensor([[-1.341639, -0.447213, 0.447213, 1.341639], [0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(rows, expected, atol=2e-6, rtol=0)


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_advantages_do_not_see_scale_or_offset(scale: float, offset: float) -> None:
    rewards = torch.tensor([[0.1, 0.9, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(
        grpo.advantages(scale * rewards + offset), grpo.advantages(rewards), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.1, 2.0, 2.2),  # within 1 ± 0.2: ρA
        (1.5, 2.0, 2.4),  # already far on the good side: 1.2 · 2, no gradient
        (0.5, 2.0, 1.0),  # good and too rare: ρA, the gradient stays
        (0.5, -2.0, -1.6),  # already rare and bad: 0.8 · −2
        (1.5, -2.0, -3.0),  # bad and too likely: ρA
    ],
)
def test_the_ratio_is_clipped_where_going_on_would_be_rewarded(
    ratio: float, advantage: float, expected: float
) -> None:
    ratios = torch.tensor([[[ratio]]], requires_grad=True)
    value = grpo.surrogate(ratios, torch.tensor([[advantage]]), 0.2)
    assert value.item() == pytest.approx(expected)
    value.sum().backward()
    assert ratios.grad is not None
    assert ratios.grad.item() == pytest.approx(advantage if expected == pytest.approx(ratio * advantage) else 0.0)


def test_k3_by_hand() -> None:
    """q/p = e: e − 1 − 1 = 0.718282; q/p = 1/2: ½ + log 2 − 1 = 0.193147; q = p: 0."""
    log_p = torch.tensor([-2.0, -1.0, -3.0])
    reference = torch.tensor([-1.0, -1.0 - log(2), -3.0])
    torch.testing.assert_close(grpo.k3(log_p, reference), torch.tensor([e - 2, log(2) - 0.5, 0.0]))


def test_the_mean_of_k3_is_the_divergence() -> None:
    """Exactly, when the mean is taken over p itself: Σ p (q/p − 1 − log(q/p)) = Σq − 1 + KL(p‖q)."""
    generator = torch.Generator().manual_seed(0)
    p, q = torch.softmax(torch.randn(2, 30, generator=generator, dtype=torch.float64), dim=1)
    torch.testing.assert_close((p * grpo.k3(p.log(), q.log())).sum(), (p * (p.log() - q.log())).sum())


def test_the_loss_by_hand() -> None:
    """One group of two chunks, A = ±1, ε 0.2, γ 0.5.

    Chunk 1: tokens with ρ 1.1 and 1.5 → 1.1, 1.2: mean 1.15. k3 with q/p = 1, e: 0, e − 2: mean 0.359141.
    Chunk 2: one token (the other is padding) with ρ 0.5 → −0.8. k3 0.
    J = ½ [1.15 − 0.5 · 0.359141 − 0.8] = 0.0852148.
    """
    log_old = torch.full((1, 2, 2), -1.0)
    log_p = log_old + torch.tensor([[[1.1, 1.5], [0.5, 9.0]]]).log()
    reference = log_p + torch.tensor([[[0.0, 1.0], [0.0, 5.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    result = grpo.loss(log_p, log_old, reference, mask, torch.tensor([[1.0, -1.0]]), 0.2, 0.5)
    assert result.total.item() == pytest.approx(-0.0852148, abs=1e-6)
    assert result.kl.item() == pytest.approx((e - 2) / 4, abs=1e-6)
    assert result.clipped_share.item() == pytest.approx((0.5 + 1.0) / 2)


def test_on_policy_the_gradient_is_the_policy_gradient() -> None:
    """ρ = 1 everywhere: d(−J)/d log p = −A / (n L) on every token, whatever ε is; KL to itself pulls nowhere."""
    log_p = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    kept = log_p.detach()
    advantage = torch.tensor([[1.0, -1.0]])
    result = grpo.loss(log_p, kept, kept, torch.ones(1, 2, 3, dtype=torch.bool), advantage, 0.2, 1.0)
    result.total.backward()
    torch.testing.assert_close(log_p.grad, -advantage[:, :, None].expand(1, 2, 3) / 6)
    assert result.kl.item() == 0
    assert result.clipped_share.item() == 0
