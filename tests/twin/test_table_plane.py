"""The table is found under boards, boxes and haze; without one the answer is a refusal."""

import numpy as np
import pytest
import small_objects

from hardware.errors import BadInput
from twin import table_plane
from twin.splat import Splat


def test_a_tilted_table_is_found_to_a_tenth_of_a_millimetre():
    rng = np.random.default_rng(0)
    flat = small_objects.table()
    slope = np.array([0.02, -0.01])
    z = flat.means_m[:, :2] @ slope + 0.012 + rng.normal(0, 3e-4, len(flat))
    splat = small_objects.sheet(
        np.column_stack([flat.means_m[:, :2], z]), np.tile([0.0, 0, 1], (len(flat), 1)), (1, 1, 1)
    )
    plane = table_plane.fit(splat)
    expected = np.array([-0.02, 0.01, 1.0]) / np.linalg.norm([-0.02, 0.01, 1.0])  # z = 0.02 x − 0.01 y + 0.012
    np.testing.assert_allclose(plane.normal, expected, atol=4e-4)
    assert plane.offset_m == pytest.approx(0.012 * expected[2], abs=1e-4)
    T = plane.T_world_table
    np.testing.assert_allclose(plane.heights_m(T.apply(np.array([[0.1, 0.2, 0.05]]))), [0.05], atol=1e-12)


def test_a_dense_board_on_the_table_does_not_win_over_the_wide_table():
    xy = small_objects.grid((0.25, 0.18), 0.002)
    board = small_objects.sheet(
        np.column_stack([xy, np.zeros(len(xy))]), np.tile([0.0, 0, 1], (len(xy), 1)), (1, 1, 1)
    )
    table = small_objects.table()
    assert len(board) > 2 * len(table)
    plane = table_plane.fit(Splat.concatenate([table, board]))
    assert plane.offset_m == pytest.approx(small_objects.TABLE_Z_M, abs=2e-4)


def test_a_cloud_has_no_table():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.3, 0.3, (200, 3))
    with pytest.raises(BadInput, match="no table within"):
        table_plane.fit(small_objects.sheet(points[:10], np.tile([0.0, 0, 1], (10, 1)), (1, 1, 1)))
