"""Posed photos and their points: what is written comes back, and held-out views are kept apart."""

from pathlib import Path

import numpy as np
import pytest
import small_twin
from pydantic import ValidationError

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput
from twin.posed_images import PosedImages, SparsePoints, View


def test_posed_images_come_back(tmp_path: Path):
    posed = small_twin.cameras(9)
    artefact.write_model(tmp_path / "posed.json", posed)
    assert read(PosedImages, tmp_path / "posed.json") == posed


def test_views_are_either_trained_on_or_held_out():
    posed = small_twin.cameras(9)
    assert [view.image for view in posed.held_out] == ["photo_003.jpg", "photo_007.jpg"]
    assert set(posed.training) | set(posed.held_out) == set(posed.views)
    assert not set(posed.training) & set(posed.held_out)


def test_a_views_pose_maps_the_camera_to_the_world():
    view = small_twin.cameras(1).views[0]
    assert (view.pose.parent, view.pose.child) == ("world", "cam")
    np.testing.assert_array_equal(view.pose.matrix, np.array(view.T_world_cam))


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(ValidationError):
        View(image="a.jpg", camera="phone", T_world_cam=((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))


def test_points_come_back_bit_for_bit(tmp_path: Path):
    rng = np.random.default_rng(0)
    points = SparsePoints(
        rng.normal(size=(7, 3)),
        rng.integers(0, 255, (7, 3), dtype=np.uint8),
        rng.random(7),
        np.arange(7, dtype=np.uint8),
    )
    points.save(tmp_path / "points.npz")
    back = SparsePoints.load(tmp_path / "points.npz")
    for name in vars(points):
        np.testing.assert_array_equal(getattr(back, name), getattr(points, name))


@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_points_that_cannot_be_read_are_named(tmp_path: Path, data: bytes):
    file = tmp_path / "points.npz"
    file.write_bytes(data)
    with pytest.raises(BadInput, match=r"points\.npz is not a file of points"):
        SparsePoints.load(file)
