"""The fused step is PyTorch's Adam through the chain rule, and its noise has the covariance of 3DGS-MCMC."""

import numpy as np
import pytest
import torch

from hardware.spatial import rotation_from_quat_wxyz
from twin import threads
from twin.optimiser import MEAN, OPACITY, QUAT, SCALE, SH, Parameters, StepSizes, rows_of_splat
from twin.rasterise.protocol import SplatGradient
from twin.splat import Splat

SIZES = StepSizes(
    mean_m=1e-3, quat=1e-2, log_scale=5e-3, opacity_logit=5e-2, sh_base=2.5e-3, sh_higher=1e-4,
    opacity_pull=0.01, scale_pull=0.02,
)  # fmt: skip


def random_splat(n: int, seed: int = 0, coefficients: int = 4) -> Splat:
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(n, 4))
    return Splat(
        means_m=rng.normal(size=(n, 3)),
        quats_wxyz=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        scales_m=np.exp(rng.uniform(-4, 0, (n, 3))),
        opacities=rng.uniform(0.2, 0.95, n),
        sh=rng.normal(size=(n, coefficients, 3)),
    )


def random_gradient(n: int, seed: int, coefficients: int = 4, seen: np.ndarray | None = None) -> SplatGradient:
    rng = np.random.default_rng(seed)
    shapes = {
        "means_m": (n, 3),
        "quats_wxyz": (n, 4),
        "scales_m": (n, 3),
        "opacities": (n,),
        "sh": (n, coefficients, 3),
    }
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    means_px = np.ones(n, np.float32) if seen is None else seen.astype(np.float32)
    return SplatGradient(**values, T_cam_world=np.zeros((3, 4), np.float32), means_px=means_px)


def test_rows_mean_the_splat_that_they_were_made_of():
    splat = random_splat(50)
    back = Parameters.of(splat).splat
    for name in ("means_m", "quats_wxyz", "sh"):
        np.testing.assert_allclose(getattr(back, name), getattr(splat, name), atol=1e-6)
    np.testing.assert_allclose(back.scales_m, splat.scales_m, rtol=1e-5)
    np.testing.assert_allclose(back.opacities, splat.opacities, rtol=1e-5)


def test_opacities_of_nought_and_one_stay_finite():
    edges = Splat(np.zeros((2, 3)), np.eye(4)[:2], np.ones((2, 3)), np.array([0.0, 1.0]), np.zeros((2, 1, 3)))
    assert np.isfinite(rows_of_splat(edges)).all()
    np.testing.assert_allclose(Parameters.of(edges).splat.opacities, [0, 1], atol=2e-6)


def test_steps_are_pytorchs_adam_through_the_chain_rule():
    n = 30
    start = random_splat(n)
    ours = Parameters.of(start)
    tensors = {
        "means": torch.tensor(start.means_m, dtype=torch.float64),
        "quats": torch.tensor(start.quats_wxyz, dtype=torch.float64),
        "log_scales": torch.tensor(np.log(start.scales_m.astype(np.float64))),
        "logits": torch.logit(torch.tensor(start.opacities, dtype=torch.float64)),
        "base": torch.tensor(start.sh[:, :1], dtype=torch.float64),
        "higher": torch.tensor(start.sh[:, 1:], dtype=torch.float64),
    }
    rates = dict(zip(tensors, (1e-3, 1e-2, 5e-3, 5e-2, 2.5e-3, 1e-4), strict=True))
    for tensor in tensors.values():
        tensor.requires_grad_()
    adam = torch.optim.Adam([{"params": [tensors[k]], "lr": rates[k]} for k in tensors], eps=1e-15)
    for count in range(1, 11):
        gradient = random_gradient(n, seed=count)
        ours.step(gradient, SIZES, count, seed=0)
        g = {name: torch.tensor(getattr(gradient, name), dtype=torch.float64) for name in vars(gradient)}
        scales, opacities = tensors["log_scales"].exp(), torch.sigmoid(tensors["logits"])
        loss = (tensors["means"] * g["means_m"]).sum() + (tensors["quats"] * g["quats_wxyz"]).sum()
        loss = loss + (scales * (g["scales_m"] + 0.02)).sum() + (opacities * (g["opacities"] + 0.01)).sum()
        loss = loss + (tensors["base"] * g["sh"][:, :1]).sum() + (tensors["higher"] * g["sh"][:, 1:]).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            tensors["quats"] /= tensors["quats"].norm(dim=1, keepdim=True)
    rows = ours.rows
    for name, columns in (
        ("means", slice(MEAN, QUAT)),
        ("quats", slice(QUAT, SCALE)),
        ("log_scales", slice(SCALE, OPACITY)),
    ):
        np.testing.assert_allclose(rows[:, columns], tensors[name].detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(rows[:, OPACITY], tensors["logits"].detach().numpy(), atol=2e-4)
    np.testing.assert_allclose(rows[:, SH : SH + 3], tensors["base"].detach().numpy()[:, 0], atol=1e-5)
    np.testing.assert_allclose(rows[:, SH + 3 :], tensors["higher"].detach().numpy().reshape(n, -1), atol=1e-6)
    np.testing.assert_allclose(ours.splat.scales_m, np.exp(rows[:, SCALE:OPACITY]), rtol=1e-5)


def test_colours_of_what_no_photo_shows_stay_as_they_are():
    seen = np.arange(20) % 2 == 0
    parameters = Parameters.of(random_splat(20))
    before = parameters.rows.copy()
    parameters.step(random_gradient(20, 1, seen=seen), SIZES, 1, seed=0)
    np.testing.assert_array_equal(parameters.rows[~seen, SH:], before[~seen, SH:])
    assert (parameters.rows[seen, SH:] != before[seen, SH:]).any(1).all()


def still(n: int) -> SplatGradient:
    zeros = random_gradient(n, 0, 1)
    for array in vars(zeros).values():
        array[...] = 0
    return zeros


def test_the_noise_has_the_shape_of_the_gaussian():
    n = 20_000
    one = random_splat(1, seed=3, coefficients=1)
    splat = Splat(
        np.zeros((n, 3)), np.repeat(one.quats_wxyz, n, 0), np.tile([0.3, 0.1, 0.02], (n, 1)),
        np.full(n, 0.001), np.zeros((n, 1, 3)),
    )  # fmt: skip
    parameters = Parameters.of(splat)
    parameters.step(still(n), StepSizes(0, 0, 0, 0, 0, 0, noise_per_m=2.0), 1, seed=5)
    rotation = rotation_from_quat_wxyz(one.quats_wxyz[0].astype(np.float64))
    covariance = rotation @ np.diag([0.09, 0.01, 0.0004]) @ rotation.T
    gate = 2.0 / (1 + np.exp(100 * (0.001 - 0.005)))
    found = np.cov(parameters.splat.means_m.T)
    np.testing.assert_allclose(found, gate**2 * covariance @ covariance, atol=5 * gate**2 * 0.0081 / np.sqrt(n / 2))
    assert np.abs(parameters.splat.means_m.mean(0)).max() < 5 * gate * 0.09 / np.sqrt(n)


def test_what_is_seen_well_is_not_shaken():
    splat = random_splat(50, coefficients=1)
    parameters = Parameters.of(splat)
    parameters.step(still(50), StepSizes(0, 0, 0, 0, 0, 0, noise_per_m=1e3), 1, seed=5)
    np.testing.assert_array_equal(parameters.splat.means_m, splat.means_m)


@pytest.mark.parametrize("cores", [1, 3])
def test_the_result_does_not_depend_on_the_number_of_threads(monkeypatch, cores):
    sizes = StepSizes(1e-3, 1e-2, 5e-3, 5e-2, 2.5e-3, 1e-4, noise_per_m=10.0)
    results = []
    for count in (cores, 2):
        monkeypatch.setattr(threads, "thread_count", lambda count=count: count)
        parameters = Parameters.of(random_splat(501))
        for step in range(1, 4):
            parameters.step(random_gradient(501, step), sizes, step, seed=9 + step)
        results.append(parameters.rows)
    np.testing.assert_array_equal(*results)


def test_higher_harmonics_begin_at_nought():
    parameters = Parameters.of(random_splat(5, coefficients=1))
    more = parameters.with_sh_degree(2)
    assert more.splat.sh.shape == (5, 9, 3)
    np.testing.assert_array_equal(more.splat.sh[:, :1], parameters.splat.sh)
    assert not more.splat.sh[:, 1:].any()
