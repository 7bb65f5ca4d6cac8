"""The consistency head against its formulas."""

import math

import numpy as np
import pytest
import small_policy
import torch

from vla.consistency_head import FORGIVING, LIMIT, SIGMA_DATA, SIGMA_MAX, SIGMA_MIN, ConsistencyHead, sigmas


@pytest.fixture
def head() -> ConsistencyHead:
    torch.manual_seed(0)
    made = ConsistencyHead(small_policy.SMALL, 6, 2)
    torch.nn.init.normal_(made.outward.weight)
    return made


def test_at_the_smallest_noise_it_is_the_identity(head: ConsistencyHead) -> None:
    x = torch.randn(5, 6, 2) * 3
    torch.testing.assert_close(head(torch.randn(5, 4, 32), x, torch.full((5,), SIGMA_MIN)), x, atol=1e-5, rtol=0)


def test_the_formula_by_hand(head: ConsistencyHead) -> None:
    """σ = 1: c_skip = 0.25 / (0.998² + 0.25), c_out = 0.998 · 0.5 / √1.25, c_in = 1 / √1.25; all of it from where the
    arm is, which the last slot says.
    """
    context, x, sigma = torch.randn(1, 4, 32), torch.randn(1, 6, 2), torch.ones(1)
    c_skip, c_out, c_in = 0.25 / (0.998**2 + 0.25), 0.998 * 0.5 / math.sqrt(1.25), 1 / math.sqrt(1.25)
    here = context[:, -1, :2]
    network = head._network(context[:, :-1], c_in * (x - here), sigma)
    by_hand = here + c_skip * (x - here) + c_out * network
    torch.testing.assert_close(head(context, x, sigma), by_hand, atol=1e-5, rtol=1e-5)


def test_an_untrained_head_stays_where_the_arm_is(head: ConsistencyHead) -> None:
    torch.nn.init.zeros_(head.outward.weight)
    context = torch.rand(3, 4, 32)
    chunk = head.act(context, torch.randn(3, 6, 2))
    torch.testing.assert_close(chunk, context[:, -1:, :2].expand(-1, 6, -1), atol=0.02, rtol=0)


def test_the_scales_are_karras_from_largest_to_smallest() -> None:
    """The middle of 40, i = 20: (80^(1/7) + 20/39 · (0.002^(1/7) − 80^(1/7)))^7."""
    scales = sigmas()
    assert len(scales) == 40
    assert scales[0].item() == pytest.approx(SIGMA_MAX, rel=1e-5)
    assert scales[-1].item() == pytest.approx(SIGMA_MIN, rel=1e-4)
    by_hand = (80 ** (1 / 7) + 20 / 39 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert scales[20].item() == pytest.approx(by_hand, rel=1e-5)
    assert (scales.diff() < 0).all()


def test_acting_is_one_call_and_stays_within_its_limit(head: ConsistencyHead) -> None:
    context, noise = torch.randn(3, 4, 32), torch.randn(3, 6, 2)
    calls: list[int] = []
    head.outward.register_forward_hook(lambda *_: calls.append(1))
    chunk = head.act(context, noise)
    assert len(calls) == 1
    assert chunk.abs().max() <= LIMIT
    whole = head(context, SIGMA_MAX * noise, torch.full((3,), SIGMA_MAX))
    torch.testing.assert_close(chunk, whole.clamp(-LIMIT, LIMIT))


def test_the_loss_is_weighted_and_leaves_padding_out(head: ConsistencyHead) -> None:
    context, noise = torch.randn(2, 4, 32), torch.randn(2, 6, 2)
    actions = torch.rand(2, 6, 2)
    padded = torch.zeros(2, 6, dtype=torch.bool)
    padded[1, 3:] = True
    scales = torch.tensor([0, 30])
    sigma = sigmas()[scales]
    predicted = head(context, actions + sigma[:, None, None] * noise, sigma)
    weight = sigma**-2 + SIGMA_DATA**-2
    error = (weight[:, None, None] * (predicted - actions) ** 2 + FORGIVING**2).sqrt() - FORGIVING
    by_hand = torch.stack([error[0].mean(), error[1, :3].mean()])
    torch.testing.assert_close(head.loss(context, actions, padded, scales, noise), by_hand)


def test_half_of_the_drawn_rows_are_where_acting_starts(head: ConsistencyHead) -> None:
    scales, noise = head.draw(4000, torch.Generator().manual_seed(0))
    assert noise.shape == (4000, 6, 2)
    assert (scales == 0).float().mean().item() == pytest.approx(0.5 + 0.5 / 40, abs=0.03)
    assert len(scales.unique()) == 40


def test_it_learns_one_chunk() -> None:
    torch.manual_seed(0)
    head = ConsistencyHead(small_policy.SMALL, 6, 2)
    context = torch.randn(1, 4, 32)
    chunk = torch.from_numpy(small_policy.smooth_chunks(1))
    padded = torch.zeros(64, 6, dtype=torch.bool)
    optimiser = torch.optim.Adam(head.parameters(), 5e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=300)
    for _ in range(300):
        scales, noise = head.draw(64, torch.default_generator)
        loss = head.loss(context.expand(64, -1, -1), chunk.expand(64, -1, -1), padded, scales, noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
    with torch.no_grad():
        found = head.act(context.expand(5, -1, -1), torch.randn(5, 6, 2)).numpy()
    assert np.abs(found - chunk.numpy()).max() < 0.1
