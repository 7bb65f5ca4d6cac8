"""The torch function, the pose's gradient, and gsplat's backend against a small fake of gsplat's one function."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import scenes
import torch

from hardware.camera_model import CameraModel
from twin.rasterise import autograd, reference
from twin.rasterise.choose import rasteriser
from twin.rasterise.cpu import CpuRasteriser
from twin.rasterise.pose_gradient import moved, twist_gradient


def leaves(splat, T_cam_world) -> dict[str, torch.Tensor]:
    named = {field.name: getattr(splat, field.name) for field in dataclasses.fields(splat)}
    named["T_cam_world"] = T_cam_world
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in named.items()}


def test_the_torch_function_gives_the_references_gradients():
    splat, camera, T = scenes.random_splat(40, sh_degree=1), scenes.CAMERA, scenes.pose()
    target = torch.linspace(0, 1, 37 * 43 * 3, dtype=torch.float64).reshape(37, 43, 3)
    grads = []
    for draw in (
        lambda tensors: autograd.render(CpuRasteriser(), **tensors, camera=camera),
        lambda tensors: reference.render(**tensors, camera=camera, background=torch.zeros(3).double()),
    ):
        tensors = leaves(splat, T)
        rgb, depth, alpha = draw(tensors)
        ((rgb - target) ** 2).mean().add(depth.mean() * 0.1 + (alpha**2).mean()).backward()
        grads.append({name: tensor.grad for name, tensor in tensors.items()})
    for name, ours in grads[0].items():
        truth = grads[1][name]
        assert ours.dtype == torch.float64
        assert (ours[:3] - truth[:3]).norm() <= 1e-3 * truth.norm(), name


def test_descending_the_pose_gradient_finds_the_camera_again():
    splat, camera, truth = scenes.random_splat(150, seed=4, sh_degree=0), scenes.LARGER, scenes.pose(4)
    wanted = CpuRasteriser().render(splat, camera, truth).rgb
    T = moved(truth, np.array([0.03, -0.02, 0.04, 0.01, -0.015, 0.01]))
    momentum, square = np.zeros(6), np.zeros(6)
    for step in range(1, 301):
        drawn = CpuRasteriser().forward(splat, camera, T)
        slope = twist_gradient(T, drawn.backward(2 * (drawn.rendering.rgb - wanted)).T_cam_world)
        momentum, square = 0.9 * momentum + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        rate = 5e-3 * 0.985**step
        T = moved(T, -rate * (momentum / (1 - 0.9**step)) / np.sqrt(square / (1 - 0.99**step) + 1e-12))
    error = T @ np.linalg.inv(truth)
    assert np.linalg.norm(error[:3, 3]) < 6e-3  # from 54 mm and 21 mrad
    assert np.linalg.norm(error[:3, :3] - np.eye(3)) < 4e-3


def fake_rasterization(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, eps2d=0.3, sh_degree=None, packed=True, tile_size=16, backgrounds=None, render_mode="RGB",
):  # fmt: skip
    """gsplat 1.5.3's signature and layout (C = 1), drawn by the reference."""
    assert (near_plane, eps2d, render_mode, packed) == (0.01, 0.3, "RGB+D", False)
    assert colors.shape[1] == (sh_degree + 1) ** 2
    assert backgrounds.shape == (1, 3)
    K = Ks[0].tolist()
    camera = CameraModel(
        width_px=width, height_px=height, fx_px=K[0][0], fy_px=K[1][1], cx_px=K[0][2], cy_px=K[1][2]
    )
    means2d = torch.zeros(1, len(means), 2, requires_grad=True)
    arguments = [x.double() for x in (means, quats, scales, opacities, colors, viewmats[0])]
    rgb, depth, alpha = reference.render(*arguments, camera=camera, background=backgrounds[0].double())
    drawn = torch.cat([rgb, depth[..., None]], -1) + 0 * means2d.sum()
    return drawn[None].float(), alpha[None, ..., None].float(), {"means2d": means2d}


@pytest.fixture
def gsplat(monkeypatch):
    package, rendering = types.ModuleType("gsplat"), types.ModuleType("gsplat.rendering")
    rendering.rasterization = fake_rasterization
    monkeypatch.setitem(sys.modules, "gsplat", package)
    monkeypatch.setitem(sys.modules, "gsplat.rendering", rendering)
    monkeypatch.delitem(sys.modules, "twin.rasterise.gsplat_backend", raising=False)
    yield
    sys.modules.pop("twin.rasterise.gsplat_backend", None)


def test_the_gsplat_backend_calls_gsplat_as_it_wants_and_agrees_with_the_cpu(gsplat):
    from twin.rasterise.gsplat_backend import GsplatRasteriser

    splat, camera, T = scenes.random_splat(30, sh_degree=1), scenes.CAMERA, scenes.pose()
    background = np.array([0.1, 0.2, 0.3], np.float32)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(37, 43, 3)), rng.normal(size=(37, 43)), rng.normal(size=(37, 43))
    ours = CpuRasteriser().forward(splat, camera, T, background)
    theirs = GsplatRasteriser(device="cpu").forward(splat, camera, T, background)
    for a, b in zip(dataclasses.astuple(ours.rendering), dataclasses.astuple(theirs.rendering), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    grad, grad2 = ours.backward(*weights), theirs.backward(*weights)
    for name in ("means_m", "quats_wxyz", "scales_m", "opacities", "sh", "T_cam_world"):
        a, b = getattr(grad, name), getattr(grad2, name)
        assert np.linalg.norm(a - b) <= 2e-3 * np.linalg.norm(b), name
    plain = GsplatRasteriser(device="cpu").render(splat, camera, T, background)
    np.testing.assert_allclose(plain.rgb, theirs.rendering.rgb)


def test_asking_for_cuda_where_there_is_none_says_what_is_missing():
    from hardware.errors import BadInput
    from twin.rasterise.choose import why_no_cuda

    if why_no_cuda() is None:
        pytest.skip("this machine has CUDA and gsplat")
    with pytest.raises(BadInput, match=r"no CUDA rasteriser: (gsplat|torch)"):
        rasteriser("cuda")
    assert rasteriser("auto") is not None
