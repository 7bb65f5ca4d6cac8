"""Every rasteriser that can run here draws and differentiates as the float64 reference does."""

import dataclasses

import numpy as np
import pytest
import scenes
import torch

from hardware.camera_model import CameraModel
from twin.rasterise import reference
from twin.rasterise.choose import rasteriser, why_no_cuda
from twin.rasterise.protocol import Rendering, SplatGradient
from twin.splat import Splat

KINDS = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(bool(why_no_cuda()), reason="CUDA")]),
]
BACKGROUND = np.array([0.2, 0.5, 0.9], np.float32)


def expected(
    splat: Splat, camera: CameraModel, T_cam_world: np.ndarray, weights: list[np.ndarray] | None = None
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The reference's picture, and with `weights` the gradients of Σ weights · picture."""
    names = [field.name for field in dataclasses.fields(splat)]
    leaves = {name: torch.tensor(getattr(splat, name), dtype=torch.float64, requires_grad=True) for name in names}
    leaves["T_cam_world"] = torch.tensor(T_cam_world, dtype=torch.float64, requires_grad=True)
    drawn = reference.render(**leaves, camera=camera, background=torch.tensor(BACKGROUND).double())
    pictures = [picture.detach().numpy() for picture in drawn]
    if weights is None:
        return pictures, {}
    loss = sum((picture * torch.tensor(w)).sum() for picture, w in zip(drawn, weights, strict=True))
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return pictures, {
        name: np.zeros(leaf.shape) if grad is None else grad.numpy()
        for (name, leaf), grad in zip(leaves.items(), grads, strict=True)
    }


def assert_same_picture(drawn: Rendering, wanted: list[np.ndarray]) -> None:
    for name, picture, truth in zip(("rgb", "depth_m", "alpha"), dataclasses.astuple(drawn), wanted, strict=True):
        scale = max(1.0, float(np.abs(truth).max()))
        assert np.abs(picture - truth).mean() <= 1e-4 * scale, name  # worst measured: 2e-6


def assert_same_gradient(grad: SplatGradient, wanted: dict[str, np.ndarray]) -> None:
    for name, truth in wanted.items():
        ours = getattr(grad, name)
        truth = truth[:3] if name == "T_cam_world" else truth
        error = np.linalg.norm(ours - truth) / max(np.linalg.norm(truth), 1e-6)
        assert error <= 1e-3, f"{name}: {error:.1e}"


def weights_for(camera: CameraModel, seed: int = 3) -> list[np.ndarray]:
    rng, shape = np.random.default_rng(seed), (camera.height_px, camera.width_px)
    return [rng.normal(size=(*shape, 3)), rng.normal(size=shape), rng.normal(size=shape)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3])
def test_random_scenes_are_drawn_as_the_reference_draws_them(kind, sh_degree):
    splat, camera = scenes.random_splat(80, seed=sh_degree, sh_degree=sh_degree), scenes.CAMERA
    wanted, _ = expected(splat, camera, scenes.pose(sh_degree))
    assert_same_picture(rasteriser(kind).render(splat, camera, scenes.pose(sh_degree), BACKGROUND), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_gradients_agree_with_the_reference(kind, seed):
    splat, camera = (
        scenes.random_splat(60, seed=seed, sh_degree=seed),
        scenes.LARGER if seed == 1 else scenes.CAMERA,
    )
    weights = weights_for(camera)
    wanted, gradients = expected(splat, camera, scenes.pose(seed), weights)
    drawn = rasteriser(kind).forward(splat, camera, scenes.pose(seed), BACKGROUND)
    assert_same_picture(drawn.rendering, wanted)
    assert_same_gradient(drawn.backward(*weights), gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_opaque_scenes_stop_where_the_reference_stops(kind):
    dense = scenes.random_splat(250, seed=9, sh_degree=0, scale_m=0.4)
    splat = dataclasses.replace(dense, opacities=np.full(len(dense), 0.97, np.float32))
    weights = weights_for(scenes.CAMERA)
    wanted, gradients = expected(splat, scenes.CAMERA, scenes.pose(), weights)
    drawn = rasteriser(kind).forward(splat, scenes.CAMERA, scenes.pose(), BACKGROUND)
    assert wanted[2].max() > 0.9998
    assert_same_picture(drawn.rendering, wanted)
    assert_same_gradient(drawn.backward(*weights), gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_gaussians_are_drawn_and_have_finite_gradients(kind):
    splat = scenes.awkward_splat()
    weights = weights_for(scenes.CAMERA)
    wanted, gradients = expected(splat, scenes.CAMERA, scenes.pose(), weights)
    drawn = rasteriser(kind).forward(splat, scenes.CAMERA, scenes.pose(), BACKGROUND)
    assert_same_picture(drawn.rendering, wanted)
    grad = drawn.backward(*weights)
    for field in dataclasses.fields(grad):
        assert np.isfinite(getattr(grad, field.name)).all(), field.name
    ordinary = np.array([7, 11])  # the giant and the first opaque one: no cancellation in float32
    for name in ("means_m", "sh", "opacities"):
        ours, truth = getattr(grad, name)[ordinary], gradients[name][ordinary]
        assert np.linalg.norm(ours - truth) <= 5e-3 * max(np.linalg.norm(truth), 1e-6), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["nothing", "behind", "off the picture"])
def test_a_picture_without_gaussians_is_the_background_and_has_no_gradient(kind, what):
    splat = scenes.random_splat(5, sh_degree=1)
    shift = {"nothing": 0.0, "behind": -10.0, "off the picture": 0.0}[what]
    means = splat.means_m + np.array([500.0 if what == "off the picture" else 0, 0, shift], np.float32)
    splat = dataclasses.replace(splat, means_m=means).select(np.arange(0 if what == "nothing" else 5))
    drawn = rasteriser(kind).forward(splat, scenes.CAMERA, scenes.pose(), BACKGROUND)
    np.testing.assert_allclose(drawn.rendering.rgb, np.broadcast_to(BACKGROUND, drawn.rendering.rgb.shape))
    assert not drawn.rendering.alpha.any()
    grad = drawn.backward(*weights_for(scenes.CAMERA))
    assert not any(getattr(grad, field.name).any() for field in dataclasses.fields(grad))


@pytest.mark.parametrize("kind", KINDS)
def test_the_camera_gradient_predicts_the_loss_of_a_moved_camera(kind):
    from twin.rasterise.pose_gradient import moved, twist_gradient

    splat, camera, T = scenes.random_splat(60, seed=2, sh_degree=2), scenes.CAMERA, scenes.pose(2)
    weights = weights_for(camera)
    drawn = rasteriser(kind).forward(splat, camera, T, BACKGROUND)
    slope = twist_gradient(T, drawn.backward(*weights).T_cam_world)

    def loss(twist: np.ndarray) -> float:
        pictures, _ = expected(splat, camera, moved(T, twist))
        return float(sum((p * w).sum() for p, w in zip(pictures, weights, strict=True)))

    step = 1e-6
    measured = [(loss(step * axis) - loss(-step * axis)) / (2 * step) for axis in np.eye(6)]
    assert np.linalg.norm(slope - measured) <= 0.02 * np.linalg.norm(measured)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_agrees_with_finite_differences(seed):
    splat, camera, T = scenes.random_splat(6, seed, sh_degree=1, scale_m=0.3), scenes.CAMERA, scenes.pose(seed)
    weights = weights_for(camera)
    _, gradients = expected(splat, camera, T, weights)
    rng = np.random.default_rng(seed)

    def loss(leaves: dict[str, torch.Tensor]) -> float:
        drawn = reference.render(**leaves, camera=camera, background=torch.tensor(BACKGROUND).double())
        return float(sum((p * torch.tensor(w)).sum() for p, w in zip(drawn, weights, strict=True)))

    leaves = {n: torch.tensor(getattr(splat, n), dtype=torch.float64) for n in gradients if n != "T_cam_world"}
    leaves["T_cam_world"] = torch.tensor(T)
    for name, gradient in gradients.items():
        direction = rng.normal(size=gradient.shape)
        if name == "T_cam_world":
            direction[3] = 0
        step = 1e-7  # small, so that hardly a pixel crosses alpha = 1/255 between the two
        ahead = leaves | {name: leaves[name] + step * torch.tensor(direction)}
        behind = leaves | {name: leaves[name] - step * torch.tensor(direction)}
        measured = (loss(ahead) - loss(behind)) / (2 * step)
        predicted = float((gradient * direction).sum())
        assert measured == pytest.approx(predicted, rel=0.03, abs=0.02 * np.linalg.norm(gradient)), name
