"""Keypoints: places to a fraction of a patch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vla.efficientnet import COARSE_CHANNELS, FINE_CHANNELS
from vla.keypoints import Keypoints, enlarged, grid


def test_patches_lie_in_rows_from_the_top_left() -> None:
    by_hand = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    assert grid(2, torch.zeros(1)).tolist() == by_hand


def test_enlarging_keeps_a_linear_picture_linear() -> None:
    """A slope over 4 x 4 patches is the same slope over 8 x 8, but for the outermost half patch."""
    slope = grid(4, torch.zeros(1))[None, None]
    fine = enlarged(slope)[0, 0].unflatten(0, (8, 8))
    wanted = grid(8, torch.zeros(1)).unflatten(0, (8, 8))
    torch.testing.assert_close(fine[1:-1, 1:-1], wanted[1:-1, 1:-1])


def test_it_learns_where_a_spot_is_within_a_fifth_of_a_patch() -> None:
    """A spot as wide as a patch, anywhere: at 8 x 8 patches, 1/40 of the picture is a fifth of a patch."""
    torch.manual_seed(0)
    keypoints = Keypoints(cameras=1, count=4)
    readout = torch.nn.Linear(12, 2)
    spot = torch.randn(FINE_CHANNELS)
    learned = [*keypoints.parameters(), *readout.parameters()]
    optimiser = torch.optim.Adam(learned, 1e-2)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=400)

    def spots(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at = torch.rand(count, 2) * 1.4 - 0.7
        bright = torch.exp(-((grid(8, at)[None] - at[:, None]) ** 2).sum(dim=2) / (2 * 0.2**2))
        fine = torch.linspace(-1, 1, FINE_CHANNELS) + bright[:, None, :, None] * spot
        return fine, torch.zeros(count, 1, 16, COARSE_CHANNELS), at

    for _ in range(400):
        fine, coarse, at = spots(64)
        loss = F.mse_loss(readout(keypoints(fine, coarse).flatten(1)), at)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
    with torch.no_grad():
        fine, coarse, at = spots(200)
        off = (readout(keypoints(fine, coarse).flatten(1)) - at).norm(dim=1).numpy()
    assert np.median(off) == pytest.approx(0, abs=2 / 8 / 5)


def test_every_camera_has_its_own() -> None:
    torch.manual_seed(0)
    keypoints = Keypoints(cameras=2, count=3)
    fine = torch.randn(1, 1, 64, FINE_CHANNELS).expand(-1, 2, -1, -1)
    found = keypoints(fine, torch.randn(1, 1, 16, COARSE_CHANNELS).expand(-1, 2, -1, -1))
    assert found.shape == (1, 2, 3, 3)
    assert not torch.allclose(found[:, 0], found[:, 1])
