"""The fused loss against torch in float64, where the window is a plain convolution and autograd differentiates."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from twin.ssim import photometric, ssim_map

WEIGHT = 0.2


def window() -> torch.Tensor:
    taps = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    return (taps[:, None] * taps[None]).expand(3, 1, 11, 11)


def reference_map(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM of two 3 H W pictures, from its definition: means, variances and covariance under the window."""

    def blur(x):
        return F.conv2d(x[None], window(), padding=5, groups=3)[0]

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + 0.01**2) * (2 * cov + 0.03**2)
    return above / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))


def reference(rgb, photo, exposure, valid, weight=WEIGHT):
    """(loss, l1, ssim, d loss / d rgb, d loss / d exposure)."""
    rgb = torch.tensor(rgb, dtype=torch.float64, requires_grad=True)
    exposure = torch.tensor(exposure, dtype=torch.float64, requires_grad=True)
    exposed = torch.einsum("ij,hwj->ihw", exposure[:, :3], rgb) + exposure[:, 3, None, None]
    known = torch.tensor(valid)[None]
    render = torch.where(known, exposed, exposed.detach())
    target = torch.where(known, torch.tensor(photo / 255.0).permute(2, 0, 1), exposed.detach())
    l1, ssim = (render - target).abs().mean(), reference_map(render, target).mean()
    loss = (1 - weight) * l1 + weight * (1 - ssim)
    loss.backward()
    return loss.item(), l1.item(), ssim.item(), rgb.grad.numpy(), exposure.grad.numpy()


def smooth(rng, height, width):
    """A picture with large and small structure, as photos have it."""
    coarse = torch.tensor(rng.random((1, 3, max(height // 8, 2), max(width // 8, 2))))
    fine = 0.1 * torch.tensor(rng.random((1, 3, height, width)))
    picture = F.interpolate(coarse, (height, width), mode="bilinear") * 0.9 + fine
    return picture[0].permute(1, 2, 0).numpy().astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(37, 50), (16, 16), (5, 3), (1, 1), (33, 70)])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_and_gradients_match_float64_convolutions(height, width, masked):
    rng = np.random.default_rng(height * width)
    rgb = smooth(rng, height, width)
    photo = (smooth(rng, height, width) * 255).astype(np.uint8)
    exposure = (np.eye(3, 4) + 0.1 * rng.normal(size=(3, 4))).astype(np.float32)
    valid = rng.random((height, width)) > (0.3 if masked else -1)
    ours = photometric(rgb, photo, exposure, WEIGHT, valid if masked else None)
    loss, l1, ssim, grad_rgb, grad_exposure = reference(rgb, photo, exposure, valid)
    assert abs(ours.loss - loss) < 2e-6
    assert abs(ours.l1 - l1) < 1e-6
    assert abs(ours.ssim - ssim) < 5e-6
    # float32 loses digits in blur(a²) − blur(a)²: the worst of these cases is 3e-5 of the largest slope
    assert np.abs(ours.grad_rgb - grad_rgb).max() <= 2e-4 * np.abs(grad_rgb).max() + 1e-12
    assert np.abs(ours.grad_exposure - grad_exposure).max() <= 2e-4 * np.abs(grad_exposure).max() + 1e-9


def test_ssim_map_matches_float64_convolutions():
    rng = np.random.default_rng(1)
    a, b = smooth(rng, 61, 47), smooth(rng, 61, 47)
    wanted = reference_map(*(torch.tensor(x, dtype=torch.float64).permute(2, 0, 1) for x in (a, b)))
    np.testing.assert_allclose(ssim_map(a, b), wanted.permute(1, 2, 0).numpy(), atol=5e-5)


def test_a_picture_equals_itself():
    photo = (smooth(np.random.default_rng(2), 40, 60) * 255).astype(np.uint8)
    same = photometric(photo.astype(np.float32) / 255, photo, np.eye(3, 4, dtype=np.float32), WEIGHT)
    assert same.l1 < 1e-7
    assert same.ssim == pytest.approx(1, abs=1e-5)


def test_nothing_valid_means_no_loss_and_no_gradient():
    rng = np.random.default_rng(3)
    rgb, photo = smooth(rng, 20, 30), np.zeros((20, 30, 3), np.uint8)
    blind = photometric(rgb, photo, np.eye(3, 4, dtype=np.float32), WEIGHT, np.zeros((20, 30), bool))
    assert blind.loss == pytest.approx(0, abs=1e-5)
    assert not blind.grad_rgb.any()
    assert not blind.grad_exposure.any()


def test_pictures_of_different_size_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        photometric(np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.uint8), np.eye(3, 4), WEIGHT)
    with pytest.raises(ValueError, match="differ in size"):
        ssim_map(np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.float32))


def test_it_is_far_faster_than_torch_convolutions_at_training_size():
    """5 ms against 150 … 650 ms on two cores; a factor of eight leaves room for a busy machine."""
    rng = np.random.default_rng(4)
    rgb, photo = smooth(rng, 300, 400), (smooth(rng, 300, 400) * 255).astype(np.uint8)
    exposure, valid = np.eye(3, 4, dtype=np.float32), np.ones((300, 400), bool)

    def seconds(work, rounds):
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        return min(taken)

    ours = seconds(lambda: photometric(rgb, photo, exposure, WEIGHT), 20)
    theirs = seconds(lambda: reference(rgb, photo, exposure, valid), 1)
    assert ours < theirs / 8
