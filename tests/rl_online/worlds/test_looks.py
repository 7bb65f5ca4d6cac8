"""Looks: a tint multiplies the colours that are drawn, cameras move a little, what is off changes nothing."""

import numpy as np

from hardware.camera_model import CameraModel
from hardware.spatial import Pose
from rl_online.worlds.looks import (
    Y00,
    Camera,
    Colour,
    Light,
    Looks,
    Texture,
    drawn_filter,
    moved,
    painted,
)
from twin.object_asset import rows
from twin.sim.cameras import SimCamera
from twin.splat import Splat


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def splat(count: int = 200) -> Splat:
    source = rng(1)
    sh = 0.3 * source.normal(size=(count, 4, 3))
    return Splat(source.normal(size=(count, 3)), np.ones((count, 4)), np.ones((count, 3)), np.ones(count), sh)


def picture() -> np.ndarray:
    return rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_a_tint_without_grain_multiplies_the_constant_colour_of_every_gaussian():
    before = splat()
    after = painted(before, Texture(tint=(0.5, 2.0), grain=0.0), rng())
    ratio = (0.5 + Y00 * after.sh[:, 0]) / (0.5 + Y00 * before.sh[:, 0])
    np.testing.assert_allclose(ratio, np.tile(ratio[:1], (len(before), 1)), rtol=2e-2, atol=1e-3)
    assert ratio.std(axis=1).min() > 0.01  # each channel its own
    np.testing.assert_allclose(after.sh[:, 1:], before.sh[:, 1:] * ratio[:1, None], rtol=2e-2, atol=1e-4)


def test_neighbours_in_space_get_nearly_the_same_grain():
    near = splat(2)
    near.means_m[1] = near.means_m[0] + 1e-4
    near.sh[1] = near.sh[0]
    after = painted(near, Texture(tint=(1.0, 1.0), grain=0.3), rng())
    np.testing.assert_allclose(after.sh[0], after.sh[1], atol=0.02)
    assert not np.allclose(after.sh[0], near.sh[0])


def test_with_everything_off_a_picture_stays_as_it_is():
    looks = Looks(
        light=Light(on=False), colour=Colour(on=False), camera=Camera(on=False), texture=Texture(on=False)
    )
    np.testing.assert_array_equal(drawn_filter(looks, rng()).apply(picture()), picture())


def test_switching_colour_off_leaves_the_drawn_light_as_it_was():
    both, light = drawn_filter(Looks(), rng(4)), drawn_filter(Looks(colour=Colour(on=False)), rng(4))
    assert both.gamma == light.gamma
    np.testing.assert_array_equal(both.slope, light.slope)
    assert light.saturation == 1.0
    assert len(set(light.gain.tolist())) == 1


def test_light_is_within_its_range_over_many_looks():
    looks = Looks(colour=Colour(on=False))
    filters = [drawn_filter(looks, rng(seed)) for seed in range(200)]
    exposures = [each.gain[0] for each in filters]
    assert 0.7 <= min(exposures) < 0.75
    assert 1.28 < max(exposures) <= 1.35
    assert all(np.abs(each.slope).max() <= looks.light.slope for each in filters)


def test_an_eye_moves_by_the_deviation_asked_and_zooms():
    camera = SimCamera(
        camera=CameraModel(width_px=80, height_px=60, fx_px=100.0, fy_px=100.0, cx_px=40.0, cy_px=30.0),
        mount="base",
        T_mount_cam=rows(Pose.identity("base", "cam")),
    )
    vary = Camera(shift_m=0.01, turn_rad=0.0, zoom=(0.9, 1.1))
    eyes = [moved(camera, vary, rng(seed)) for seed in range(300)]
    at = np.stack([eye.pose.translation_m for eye in eyes])
    np.testing.assert_allclose(at.std(axis=0), 0.01, rtol=0.15)
    assert all(90 <= eye.camera.fx_px <= 110 and eye.camera.fx_px == eye.camera.fy_px for eye in eyes)
    assert eyes[0].camera.cx_px == 40.0
