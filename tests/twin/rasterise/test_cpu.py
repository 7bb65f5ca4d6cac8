"""The CPU kernels as software: threads, forks, speed, refusals."""

import dataclasses
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scenes

from hardware.errors import BadInput
from twin import threads
from twin.rasterise.cpu import CpuRasteriser
from twin.splat import Splat


def test_the_picture_and_gradient_do_not_depend_on_the_number_of_threads(monkeypatch):
    splat, T = scenes.random_splat(3000, sh_degree=1, scale_m=0.03), scenes.pose()
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "thread_count", lambda count=count: count)
        monkeypatch.setattr(threads, "_pools", {})
        drawn = CpuRasteriser().forward(splat, scenes.LARGER, T)
        grad = drawn.backward(np.ones_like(drawn.rendering.rgb))
        results.append((*dataclasses.astuple(drawn.rendering), grad.means_m, grad.sh, grad.T_cam_world))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_threads_may_render_at_once():
    splat, T = scenes.random_splat(500), scenes.pose()
    rasteriser = CpuRasteriser()
    wanted = rasteriser.render(splat, scenes.CAMERA, T).rgb
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: rasteriser.render(splat, scenes.CAMERA, T).rgb, range(16)))
    assert all(np.array_equal(picture, wanted) for picture in pictures)


def _mean_colour(seed: int) -> float:
    return float(CpuRasteriser().render(scenes.random_splat(200, seed), scenes.CAMERA, scenes.pose()).rgb.mean())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_renders_after_its_parent_has():
    wanted = [_mean_colour(seed) for seed in range(3)]  # starts this process's threads, which children lack
    with multiprocessing.get_context("fork").Pool(2) as children:
        assert children.map_async(_mean_colour, range(3)).get(timeout=60) == wanted


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Splat)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_splat_that_is_not_finite_is_refused_by_name(field, value):
    splat = scenes.random_splat(10)
    spoiled = getattr(splat, field).copy()
    spoiled[3] = value
    with pytest.raises(BadInput, match=rf"{field}\[3\] is not finite"):
        CpuRasteriser().render(dataclasses.replace(splat, **{field: spoiled}), scenes.CAMERA, scenes.pose())


def test_a_camera_with_distortion_and_a_broken_pose_are_refused():
    splat = scenes.random_splat(3)
    with pytest.raises(BadInput, match="distortion"):
        CpuRasteriser().render(splat, scenes.CAMERA.but(k1=0.1), scenes.pose())
    with pytest.raises(BadInput, match="finite 4×4"):
        CpuRasteriser().render(splat, scenes.CAMERA, np.full((4, 4), np.nan))
    with pytest.raises(BadInput, match="background"):
        CpuRasteriser().render(splat, scenes.CAMERA, scenes.pose(), np.array([0, np.nan, 0]))


def test_equal_depths_are_drawn_in_the_splats_order():
    # two wide discs at one place, opacity 0.9, the first red: red 0.9, green (1 − 0.9) · 0.9 = 0.09
    red, green = np.array([[[1.0, 0, 0]]]), np.array([[[0, 1.0, 0]]])
    sh = (np.concatenate([red, green]) - 0.5) / 0.28209479177387814
    splat = Splat(np.zeros((2, 3)), np.tile([1.0, 0, 0, 0], (2, 1)), np.full((2, 3), 5.0), np.full(2, 0.9), sh)
    T = np.eye(4)
    T[2, 3] = 3
    picture = CpuRasteriser().render(splat, scenes.CAMERA.but(cx_px=21.5, cy_px=18.5), T)
    np.testing.assert_allclose(picture.rgb[18, 21], [0.9, 0.09, 0], atol=1e-5)
    np.testing.assert_allclose(picture.alpha[18, 21], 0.99, atol=1e-5)
    np.testing.assert_allclose(picture.depth_m[18, 21], 0.99 * 3, atol=1e-4)


def test_it_stays_fast():
    """A guard against a kernel that lost its vectors (3× slower), with room for a busy machine: 20k at 128²."""
    rng = np.random.default_rng(0)
    count = 20_000
    splat = Splat(
        rng.uniform(-1, 1, (count, 3)),
        rng.normal(size=(count, 4)),
        np.exp(rng.normal(np.log(0.0077), 0.5, (count, 3))),
        rng.uniform(0.1, 0.95, count),
        rng.normal(0, 0.6, (count, 1, 3)),
    )
    camera = scenes.CAMERA.but(width_px=128, height_px=128, fx_px=154, fy_px=154, cx_px=64, cy_px=64)
    rasteriser, T = CpuRasteriser(), np.eye(4)
    T[2, 3] = 3
    rasteriser.render(splat, camera, T)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        rasteriser.render(splat, camera, T)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1 / 45  # measured on 2 idle cores: 4 ms
