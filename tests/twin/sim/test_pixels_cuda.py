"""The batched drawing against the CPU's, with gsplat's two functions as our own code has them."""

import sys
import types

import numpy as np
import pytest
import torch

from hardware.camera_model import CameraModel
from hardware.spatial import Pose, quat_wxyz_from_rotation, rotation_from_rotvec
from twin.rasterise.cpu import CpuRasteriser
from twin.sim.open import open_simulator
from twin.sim.pixels import SplatPixels
from twin.sim.protocol import Start
from twin.splat import Splat
from twin.splat_motion import sh_basis

SIZE = 48, 36


def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane, **rest):
    """gsplat 1.5.3's layout (M environments, one camera each, colours already chosen), drawn by our rasteriser."""
    assert rest == {"eps2d": pytest.approx(0.3), "packed": False, "render_mode": "RGB+D"}
    assert viewmats.shape == (len(means), 1, 4, 4)
    assert Ks.shape == (len(means), 1, 3, 3)
    drawn, alphas = [], []
    for env in range(len(means)):
        K = Ks[env, 0].numpy().astype(float)
        camera = CameraModel(
            width_px=width, height_px=height, fx_px=K[0, 0], fy_px=K[1, 1], cx_px=K[0, 2], cy_px=K[1, 2]
        )
        sh = ((colors[env] - 0.5) / 0.28209479177387814).numpy()[:, None]
        splat = Splat(*(part[env].numpy() for part in (means, quats, scales, opacities)), sh)
        one = CpuRasteriser().render(splat, camera, viewmats[env, 0].numpy())
        drawn.append(np.dstack([one.rgb, one.depth_m]))
        alphas.append(one.alpha)
    return torch.tensor(np.stack(drawn))[:, None], torch.tensor(np.stack(alphas))[:, None, ..., None], {}


def spherical_harmonics(degree, dirs, coeffs):
    flat = sh_basis(dirs.reshape(-1, 3).numpy().astype(float), degree)
    basis = torch.tensor(flat, dtype=torch.float32).reshape(*dirs.shape[:-1], -1)
    return (basis[..., None] * coeffs).sum(-2)


@pytest.fixture
def gsplat(monkeypatch):
    package = types.ModuleType("gsplat")
    package.rasterization, package.spherical_harmonics = rasterization, spherical_harmonics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", package)


@pytest.mark.parametrize("camera", ["scan", "cam_wrist"])
def test_the_batch_looks_as_on_the_cpu(armed, gsplat, monkeypatch, camera):
    from twin.sim import pixels_cuda

    monkeypatch.setattr(pixels_cuda, "AT_ONCE", 1)  # two batches
    sim = open_simulator(armed, n_envs=2)
    turned = Pose.from_quat_wxyz("base", "brick", (0.9, 0.1, 0.2, 0.35), (0.3, 0.05, 0.08))
    sim.reset([Start(), Start(q_rad=np.array([0.5, -0.3, 0.2, 0.8, 0.4]), objects={"brick": turned})])
    there = pixels_cuda.GsplatPixels(sim.scene, sim.model, device="cpu")
    here = SplatPixels(sim.scene, sim.model)
    Ts = sim.Ts_world_body
    apart = np.abs(there.render(camera, *SIZE, Ts).astype(int) - here.render(camera, *SIZE, Ts))
    assert np.quantile(apart, 0.999) <= 1  # at single pixels the two may differ in which layer is nearer
    assert apart.mean() < 0.02


def test_quaternions_multiply_as_rotations_do():
    from twin.sim.pixels_cuda import product

    rng = np.random.default_rng(0)
    one, other = (rotation_from_rotvec(rng.normal(size=3)) for _ in range(2))
    quats = [torch.tensor(quat_wxyz_from_rotation(turn))[None] for turn in (one, other)]
    both = product(*quats)[0].numpy()
    expected = quat_wxyz_from_rotation(one @ other)
    assert both * np.sign(both[0]) == pytest.approx(expected, abs=1e-12)
