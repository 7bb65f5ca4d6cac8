"""The table is found under boards, boxes and haze; without one the answer is a refusal."""

import numpy as np
import pytest
import small_objects

from hardware.errors import BadInput
from twin import table_plane
from twin.object_asset import Plane
from twin.posed_images import SparsePoints
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


def sparse(xyz: np.ndarray, track_length: int = 5) -> SparsePoints:
    flat = np.zeros((len(xyz), 3), np.uint8)
    return SparsePoints(xyz, flat, np.full(len(xyz), 0.5), np.full(len(xyz), track_length, np.uint8))


def test_triangulated_points_say_where_a_table_is_whose_crust_hovers(tmp_path):
    """By 2 mm and 0.3°, as after a short training; with a board and noise among the points."""
    rng = np.random.default_rng(0)
    table = small_objects.table()
    hovering = table.means_m + np.array([0, 0, 2e-3]) + np.outer(table.means_m[:, 0] * 0.005, [0, 0, 1])
    splat = small_objects.sheet(hovering, np.tile([0.0, 0, 1], (len(table), 1)), (1, 1, 1))
    xy = rng.uniform(-0.3, 0.3, (600, 2))
    on_it = np.column_stack([xy, small_objects.TABLE_Z_M + rng.normal(0, 5e-4, 600)])
    board = np.column_stack([0.2 * xy, np.full(600, small_objects.TABLE_Z_M + 3e-3)])
    file = tmp_path / table_plane.TRIANGULATED
    file.parent.mkdir(parents=True)
    sparse(np.concatenate([on_it, board, rng.uniform(-0.3, 0.3, (300, 3))])).save(file)
    ground = table_plane.ground(tmp_path, splat)
    assert np.degrees(np.arccos(ground.crust.normal[2])) == pytest.approx(0.29, abs=0.05)
    assert np.degrees(np.arccos(ground.plane.normal[2])) < 0.05
    assert ground.plane.offset_m == pytest.approx(small_objects.TABLE_Z_M, abs=2e-4)


def flat(count: int, side_m: tuple[float, float], z_m: float, seed: int = 1) -> np.ndarray:
    """Points on a level rectangle round the origin, with SfM's noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, 0.5, (2, count))
    return np.column_stack([x * side_m[0], y * side_m[1], z_m + rng.normal(0, 5e-4, count)])


TABLE = flat(300, (0.6, 0.6), small_objects.TABLE_Z_M)
CORNER = flat(300, (0.08, 0.08), small_objects.TABLE_Z_M) + np.array([0.2, 0.2, 0.0])
BOARD = flat(1500, (0.25, 0.18), small_objects.TABLE_Z_M + 3e-3)


def test_a_dense_board_does_not_win_over_few_points_of_the_table():
    plane = table_plane.triangulated(sparse(np.concatenate([TABLE, BOARD])), *bare_table())
    assert plane is not None
    assert plane.offset_m == pytest.approx(small_objects.TABLE_Z_M, abs=2e-4)
    assert plane.source == "triangulated"


def bare_table() -> tuple[Plane, Splat]:
    splat = small_objects.table()
    return table_plane.fit(splat), splat


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (sparse(np.zeros((0, 3))), "none"),
        (sparse(TABLE, track_length=0), "nobody triangulated them"),
        (sparse(TABLE[:190]), "too few"),
        (sparse(BOARD), "on the board alone"),
        (sparse(CORNER), "in a corner"),
    ],
)
def test_without_enough_of_them_the_crust_is_all_there_is(points, why):
    assert table_plane.triangulated(points, *bare_table()) is None, why


def test_a_plane_that_is_not_level_with_the_crust_is_no_table():
    crust, splat = bare_table()
    tilted = crust.but(normal=(float(np.sin(0.05)), 0.0, float(np.cos(0.05))))
    assert table_plane.triangulated(sparse(TABLE), crust, splat) is not None
    assert table_plane.triangulated(sparse(TABLE), tilted, splat) is None
