"""Paths are where their names say, and a nerfstudio path means the cameras that nerfstudio means."""

import json

import numpy as np
import pytest
import small_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import BadInput
from twin.camera_path import focus, framed, from_nerfstudio, looking, orbit, poses, up_axis, walk
from twin.posed_images import PosedImages

POSED = small_twin.cameras(12)
TARGET = np.array([0, 0, 0.03])


def turned(posed: PosedImages, T: np.ndarray, world: str) -> PosedImages:
    """The same cameras written in another world: `T_other_world`."""
    views = [
        view.but(T_world_cam=tuple(tuple(map(float, row)) for row in T @ np.array(view.T_world_cam)))
        for view in posed.views
    ]
    return posed.but(world=world, views=tuple(views), metric=world != "sfm")


def rigid(Ts: np.ndarray) -> bool:
    return bool(
        np.allclose(Ts[:, :3, :3] @ Ts[:, :3, :3].swapaxes(1, 2), np.eye(3), atol=1e-9)
        and np.allclose(np.linalg.det(Ts[:, :3, :3]), 1)
    )


def test_the_focus_is_where_all_cameras_look():
    np.testing.assert_allclose(focus(poses(POSED.views)), TARGET, atol=1e-9)


def test_there_is_no_focus_for_parallel_or_outward_cameras():
    parallel = np.tile(np.eye(4), (5, 1, 1))
    parallel[:, 0, 3] = np.arange(5)
    assert focus(parallel) is None
    outward = poses(POSED.views) @ np.diag([-1.0, 1, -1, 1])
    assert focus(outward) is None


def test_an_orbit_is_a_level_circle_round_the_focus():
    Ts = orbit(POSED, 40)
    assert rigid(Ts)
    centres = Ts[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(centres[:, :2], axis=1), 0.7, atol=0.01)
    assert np.ptp(centres[:, 2]) < 1e-9
    assert 0.4 <= centres[0, 2] <= 0.5
    along = TARGET - centres
    np.testing.assert_allclose(Ts[:, :3, 2], along / np.linalg.norm(along, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(Ts[:, 2, 0], 0, atol=1e-9)  # x stays level
    assert (Ts[:, 2, 1] < 0).all()  # y points down
    steps = np.linalg.norm(np.diff(centres, axis=0, append=centres[:1]), axis=1)
    np.testing.assert_allclose(steps, steps[0])  # closes without a seam


def test_an_orbit_does_not_depend_on_how_the_sfm_world_lies():
    T = small_twin.looking(np.array([1.0, 2, 3]), np.array([0.3, -1, 0.2]), np.array([0, 0, 1.0]))
    here = orbit(turned(POSED, np.eye(4), "sfm"), 8)
    there = orbit(turned(POSED, T, "sfm"), 8)
    np.testing.assert_allclose(there, T @ here, atol=1e-9)
    np.testing.assert_allclose(up_axis(turned(POSED, T, "sfm")) @ T[:3, 2], 1, atol=0.05)


def test_cameras_that_looked_outward_are_turned_on_the_spot():
    outward = turned(POSED, np.eye(4), "board")
    flipped = [
        v.but(T_world_cam=tuple(map(tuple, np.array(v.T_world_cam) @ np.diag([-1.0, 1, -1, 1]))))
        for v in POSED.views
    ]
    Ts = orbit(outward.but(views=tuple(flipped)), 6)
    assert rigid(Ts)
    assert np.ptp(Ts[:, :3, 3], axis=0).max() == 0
    np.testing.assert_allclose(Ts[:, :3, 2].sum(0), 0, atol=1e-9)


def test_a_walk_passes_through_every_training_camera_in_order():
    knots = poses(POSED.training)
    Ts = walk(tuple(reversed(POSED.training)), 4000)  # sorted by name again
    assert rigid(Ts)
    np.testing.assert_allclose(Ts[[0, -1]], knots[[0, -1]], atol=1e-9)
    nearest = [int(np.abs(Ts - knot).sum((1, 2)).argmin()) for knot in knots]
    assert nearest == sorted(nearest)
    for index, knot in zip(nearest, knots, strict=True):
        np.testing.assert_allclose(Ts[index], knot, atol=2e-3)


def test_a_walk_has_an_even_pace_and_no_kinks():
    centres = walk(POSED.training, 500)[:, :3, 3]
    velocity = np.diff(centres, axis=0)
    pace = np.linalg.norm(velocity, axis=1)
    assert pace.max() < 1.25 * pace.min()
    turn_rad = np.arccos(np.clip((velocity[1:] * velocity[:-1]).sum(1) / pace[1:] / pace[:-1], -1, 1))
    assert turn_rad.max() < np.radians(3)


def test_a_walk_survives_repeated_and_single_cameras():
    twice = tuple(v.but(image=f"{i}_{k}") for i, v in enumerate(POSED.views[:3]) for k in range(2))
    np.testing.assert_allclose(walk(twice, 30), walk(twice[::2], 30), atol=1e-9)
    np.testing.assert_array_equal(walk(POSED.views[:1], 3), np.repeat(poses(POSED.views[:1]), 3, axis=0))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_a_camera_looks_where_it_is_told(seed):
    centre, target, up = np.random.default_rng(seed).normal(size=(3, 3))
    T = looking(centre, target, up / np.linalg.norm(up))
    assert rigid(T[None])
    seen = np.linalg.inv(T) @ [*target, 1]
    np.testing.assert_allclose(seen[:3], [0, 0, np.linalg.norm(target - centre)], atol=1e-9)


def test_a_nerfstudio_path_is_read_as_nerfstudio_means_it(tmp_path):
    # OpenGL camera at (1, 2, 3) with identity rotation: looks along the world's −z, y up.
    # Vertical 90° on 200 rows: focal = 100 / tan 45° = 100 px.
    matrix = [1, 0, 0, 1, 0, 1, 0, 2, 0, 0, 1, 3, 0, 0, 0, 1]
    path = {
        "camera_type": "perspective",
        "render_height": 200,
        "render_width": 300,
        "seconds": 4,
        "keyframes": [],
        "camera_path": [{"camera_to_world": matrix, "fov": 90, "aspect": 1.5}],
    }
    file = tmp_path / "camera_path.json"
    file.write_text(json.dumps(path))
    (shot,) = from_nerfstudio(file)
    assert (shot.camera.fx_px, shot.camera.cx_px, shot.camera.cy_px) == (pytest.approx(100), 150, 100)
    in_cam = shot.T_cam_world @ [1.5, 2.25, 2, 1]  # right, up and in front of it
    np.testing.assert_allclose(in_cam[:3], [0.5, -0.25, 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera_type": "fisheye"}, "fisheye"),
        ({"camera_path": []}, "camera_path"),
        ({"camera_path": [{"camera_to_world": [1, 2], "fov": 50}]}, "camera_to_world"),
        ({"camera_path": [{"camera_to_world": [2.0] * 16, "fov": 50}]}, "frame 0"),
    ],
)
def test_a_path_that_cannot_be_rendered_is_named(tmp_path, change, words):
    path = {
        "render_height": 8,
        "render_width": 8,
        "camera_path": [{"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50}],
    }
    file = tmp_path / "p.json"
    file.write_text(json.dumps(path | change))
    with pytest.raises(BadInput, match=words):
        from_nerfstudio(file)


def test_another_size_shows_the_same_field_of_view():
    camera = small_twin.CAMERA
    half = framed(camera, (80, 60), None)
    assert (half.fx_px, half.fy_px, half.cx_px, half.cy_px) == (75, 75.5, 39.5, 30.75)
    wide = framed(camera, (320, 100), None)
    assert (wide.fx_px, wide.cx_px, wide.cy_px) == (300, 160, 50)
    assert framed(camera, None, None) == camera.pinhole()
    # 90° over 160 columns: 80 px
    assert framed(camera, None, 90.0).fx_px == pytest.approx(80)
