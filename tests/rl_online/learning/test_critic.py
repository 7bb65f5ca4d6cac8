"""The critic's losses, by hand, and that the ensemble learns a value it is shown."""

import math

import pytest
import torch

from rl_online.learning.critic import ChunkCritic, CriticSize, calibrated_gap, follow, target, td_loss
from rl_online.learning.presets import PRESETS, VALUE_DIVISOR, preset


def test_the_target_takes_the_lower_of_the_two_critics():
    made = target(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), torch.tensor([[4.0, 9.0], [2.0, 9.0]]))
    assert made.tolist() == [2.0, 1.0]  # 1 + 0.5·min(4, 2); 1 + 0


def test_the_td_loss_adds_the_members_and_averages_the_batch():
    values, targets = torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([1.0, 4.0])
    assert float(td_loss(values, targets)) == (0 + 4 + 4 + 4) / 2


def gap(elsewhere: float, floor: float, on_data: float = 0.0) -> float:
    samples = torch.full((1, 1, 4), elsewhere)
    return float(calibrated_gap(torch.tensor([[on_data]]), samples, torch.tensor([floor]), 1.0))


def test_a_value_above_the_return_is_pushed_down():
    assert gap(elsewhere=3.0, floor=1.0, on_data=0.5) == pytest.approx(2.5)


def test_a_value_below_the_return_counts_as_the_return():
    assert gap(elsewhere=-7.0, floor=1.0, on_data=0.5) == pytest.approx(0.5)


def test_below_its_floor_no_value_is_pushed_further_down():
    samples = torch.full((1, 1, 4), -7.0, requires_grad=True)
    calibrated_gap(torch.zeros(1, 1), samples, torch.ones(1), 1.0).backward()
    assert samples.grad is not None
    assert samples.grad.abs().max() == 0


def test_the_gap_is_the_logarithm_of_the_mean_exponential():
    # log((e^0 + e^2)/2) = 1.43378
    samples = torch.tensor([[[0.0, 2.0]]])
    made = calibrated_gap(torch.zeros(1, 1), samples, torch.tensor([-9.0]), 1.0)
    assert float(made) == pytest.approx(math.log((1 + math.exp(2)) / 2))


def test_the_target_network_moves_a_share_of_the_way():
    slow, fast = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(slow.weight, 0.0)
    torch.nn.init.constant_(fast.weight, 1.0)
    follow(slow, fast, 0.25)
    assert float(slow.weight.detach()) == 0.25


def test_the_members_are_independent_and_each_learns():
    critic = ChunkCritic(3, 2, 1, CriticSize(members=3, width=32), seed=0)
    seen, chunk = torch.randn(64, 3), torch.randn(64, 2, 1)
    truth = seen[:, 0] + chunk.sum(dim=(1, 2))
    assert critic(seen, chunk).std(dim=0).mean() > 0.01
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(80):
        loss = td_loss(critic(seen, chunk), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1 * float(3 * truth.var())


def test_samples_are_valued_as_one_by_one():
    critic = ChunkCritic(3, 2, 1, CriticSize(members=2, width=16), seed=1)
    seen, chunks = torch.randn(5, 3), torch.randn(5, 4, 2, 1)
    assert torch.allclose(critic.of_samples(seen, chunks)[:, :, 2], critic(seen, chunks[:, 2]), atol=1e-6)


def test_presets_are_what_the_papers_say():
    twin, conrft, serl = (PRESETS[name] for name in ("twinrl", "conrft", "hil_serl"))
    assert (twin.gamma, twin.calql.alpha, twin.rewards.success) == (0.98, 0.1, 10.0)
    assert (conrft.calql.alpha, conrft.online.imitation) == (0.01, 0.5)
    assert conrft.online.value == pytest.approx(1.0 / VALUE_DIVISOR)
    assert (serl.gamma, serl.offline_steps, serl.calql.alpha, serl.critic_updates) == (0.97, 0, 0.0, 2)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(Exception, match="twinrl, conrft, hil_serl"):
        preset("sac")
