"""Training starts on the points and in what the cameras see."""

import numpy as np
import pytest
import small_twin

from twin.initial_splat import initial_splat, scene_extent_m
from twin.photos import Level, Photo
from twin.posed_images import SparsePoints

C0 = small_twin.C0


def views(count: int = 6) -> list[Photo]:
    """Photos of one colour each: 0, 10, 20 …"""
    camera, made = small_twin.CAMERA, []
    for number, view in enumerate(small_twin.cameras(count).views):
        rgb = np.full((camera.height_px, camera.width_px, 3), 10 * number, np.uint8)
        made.append(Photo(view.image, view.pose.inverse().matrix, (Level(camera, rgb, None),)))
    return made


def points(count: int = 100, seed: int = 0) -> SparsePoints:
    rng = np.random.default_rng(seed)
    return SparsePoints(
        rng.uniform(-0.2, 0.2, (count, 3)) * [1, 1, 0.2],
        rng.integers(0, 255, (count, 3), dtype=np.uint8),
        np.zeros(count),
        np.zeros(count, np.uint8),
    )


def test_every_point_gets_a_gaussian_of_its_colour_and_the_size_of_its_gap():
    cloud = points()
    splat = initial_splat(views(), cloud, 0.8, 50, np.random.default_rng(0))
    assert len(splat) == 150
    np.testing.assert_allclose(splat.means_m[:100], cloud.xyz, atol=1e-6)
    np.testing.assert_allclose(splat.sh[:100, 0] * C0 + 0.5, cloud.rgb / 255, atol=1e-6)
    distances = np.sort(np.linalg.norm(splat.means_m[:, None] - splat.means_m[None], axis=-1), axis=1)
    rms = np.sqrt((distances[:, 1:4] ** 2).mean(1))
    np.testing.assert_allclose(splat.scales_m, np.repeat(np.clip(rms, 8e-5, 0.16)[:, None], 3, 1), rtol=1e-3)


@pytest.mark.parametrize("cloud", [None, points()])
def test_scattered_ones_lie_where_their_photo_has_their_colour(cloud):
    photos, extent_m = views(), 0.8
    splat = initial_splat(photos, cloud, extent_m, 400, np.random.default_rng(3))
    splat = splat.select(np.arange(len(splat) - 400, len(splat)))
    of_photo = np.round((splat.sh[:, 0, 0] * C0 + 0.5) * 25.5).astype(int)
    assert set(of_photo) == set(range(6))
    for mean, number in zip(splat.means_m.astype(np.float64), of_photo, strict=True):
        T = photos[number].T_cam_world
        in_camera = T[:3, :3] @ mean + T[:3, 3]
        assert photos[number].levels[-1].camera.project(in_camera)[1]
        assert extent_m / 2 * 0.999 <= in_camera[2] <= 4 * extent_m * 1.001


def test_the_same_draw_gives_the_same_splat():
    one, other = (initial_splat(views(), points(), 0.8, 99, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.means_m, other.means_m)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_even_a_single_gaussian_has_a_size(count):
    splat = initial_splat(views(), None, 0.8, count, np.random.default_rng(0))
    assert (splat.scales_m > 0).all()
    splat.require_finite()


def test_points_at_one_place_still_have_a_size():
    heap = SparsePoints(np.zeros((60, 3)), np.zeros((60, 3), np.uint8), np.zeros(60), np.zeros(60, np.uint8))
    splat = initial_splat(views(), heap, 0.8, 10, np.random.default_rng(0))
    assert splat.scales_m.min() == pytest.approx(1e-4 * 0.8)


def test_the_extent_is_the_median_depth_of_what_is_seen():
    photos = views(1)
    T_world_cam = np.linalg.inv(photos[0].T_cam_world)
    depths = np.linspace(1, 3, 101)
    xyz = T_world_cam[:3, 3] + depths[:, None] * T_world_cam[:3, 2]
    behind = T_world_cam[:3, 3] - 5 * depths[:, None] * T_world_cam[:3, 2]
    cloud = points(202)
    cloud = SparsePoints(np.concatenate([xyz, behind]), cloud.rgb, cloud.reprojection_px, cloud.track_length)
    assert scene_extent_m(photos, cloud) == pytest.approx(2.0)


def test_without_points_the_extent_comes_from_the_cameras():
    photos = views(6)
    centres = np.array([np.linalg.inv(photo.T_cam_world)[:3, 3] for photo in photos])
    expected = np.linalg.norm(centres - centres.mean(0), axis=1).mean()
    assert scene_extent_m(photos, None) == pytest.approx(expected)
    assert scene_extent_m(photos, points(10)) == pytest.approx(expected)  # too few to go by
    assert scene_extent_m(photos[:1] * 3, None) == 1.0
