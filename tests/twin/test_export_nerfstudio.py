"""A reader that knows only nerfstudio's documentation sees every point at the pixel where our camera sees it."""

import json

import cv2
import numpy as np
import plyfile
import pytest
import small_twin

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.export import nerfstudio
from twin.posed_images import SparsePoints

LENS = small_twin.CAMERA.but(k1=-0.11, k2=0.03, p1=0.002, p2=-0.001, k3=0.004)
OTHER = CameraModel(width_px=100, height_px=140, fx_px=90.0, fy_px=92.0, cx_px=51.0, cy_px=69.0, k1=0.02)


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for view in small_twin.cameras(9).views:
        (folder / view.image).write_bytes(view.image.encode())
    return folder


def points() -> SparsePoints:
    rng = np.random.default_rng(0)
    return SparsePoints(
        xyz=rng.uniform([-0.3, -0.3, 0], [0.3, 0.3, 0.2], (50, 3)),
        rgb=rng.integers(0, 256, (50, 3), np.uint8),
        reprojection_px=np.ones(50),
        track_length=np.full(50, 4, np.uint8),
    )


def read_pixels(folder, xyz):
    """file path → pixels of world points, by nerfstudio's conventions alone (OpenGL pose, OpenCV lens)."""
    meta = json.loads((folder / "transforms.json").read_text())
    assert meta["camera_model"] == "OPENCV"
    pixels = {}
    for frame in meta["frames"]:
        lens = meta | frame
        world_to_gl = np.linalg.inv(np.array(frame["transform_matrix"]))
        in_gl = xyz @ world_to_gl[:3, :3].T + world_to_gl[:3, 3]
        in_cv = in_gl * [1, -1, -1]
        matrix = np.array([[lens["fl_x"], 0, lens["cx"]], [0, lens["fl_y"], lens["cy"]], [0, 0, 1]])
        distortion = np.array([lens[name] for name in ("k1", "k2", "p1", "p2", "k3")])
        projected = cv2.projectPoints(in_cv, np.zeros(3), np.zeros(3), matrix, distortion)[0][:, 0]
        pixels[frame["file_path"]] = projected, (lens["w"], lens["h"])
    return pixels


@pytest.mark.parametrize("mixed", [False, True])
def test_points_land_on_the_same_pixels(tmp_path, frames, mixed):
    posed = small_twin.cameras(9, LENS)
    if mixed:
        views = [view.but(camera="tablet") if index % 2 else view for index, view in enumerate(posed.views)]
        posed = posed.but(cameras={"phone": LENS, "tablet": OTHER}, views=tuple(views))
    out = tmp_path / "out"
    out.mkdir()
    nerfstudio.write(out, posed, frames, points())
    seen = read_pixels(out, points().xyz)
    assert len(seen) == len(posed.views)
    for view in posed.views:
        camera = posed.cameras[view.camera]
        ours, _ = camera.project(view.pose.inverse().apply(points().xyz))
        theirs, size = seen[f"images/{view.image}"]
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
        assert size == (camera.width_px, camera.height_px)
        assert (out / "images" / view.image).read_bytes() == view.image.encode()


def test_held_out_views_stay_held_out(tmp_path, frames):
    out = tmp_path / "out"
    out.mkdir()
    nerfstudio.write(out, small_twin.cameras(9), frames, None)
    meta = json.loads((out / "transforms.json").read_text())
    assert meta["val_filenames"] == meta["test_filenames"] == ["images/photo_003.jpg", "images/photo_007.jpg"]
    assert len(meta["train_filenames"]) == 7
    assert not set(meta["train_filenames"]) & set(meta["val_filenames"])
    assert "ply_file_path" not in meta
    assert not (out / "sparse_pc.ply").exists()


def test_the_points_come_back_with_their_colours(tmp_path, frames):
    out = tmp_path / "out"
    out.mkdir()
    nerfstudio.write(out, small_twin.cameras(9), frames, points())
    meta = json.loads((out / "transforms.json").read_text())
    rows = plyfile.PlyData.read(str(out / meta["ply_file_path"]))["vertex"].data
    np.testing.assert_allclose(np.column_stack([rows[name] for name in "xyz"]), points().xyz, rtol=1e-6)
    np.testing.assert_array_equal(np.column_stack([rows[c] for c in ("red", "green", "blue")]), points().rgb)


def test_a_missing_photo_is_named(tmp_path, frames):
    (frames / "photo_004.jpg").unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match=r"photo_004\.jpg"):
        nerfstudio.write(tmp_path / "out", small_twin.cameras(9), frames, None)
