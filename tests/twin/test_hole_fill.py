"""A hole in the table is closed with Gaussians on its plane, in the colours round it."""

import numpy as np
import pytest
import small_objects as small

from hardware.errors import BadInput
from twin import hole_fill
from twin.object_asset import Plane
from twin.rasterise.choose import rasteriser
from twin.view import base_colours

PLANE = Plane(normal=(0.0, 0.0, 1.0), offset_m=small.TABLE_Z_M, spread_mm=0.1)


def test_the_patch_lies_on_the_plane_and_has_the_tables_colour():
    table = small.table()
    away = np.linalg.norm(table.means_m[:, :2] - [0.05, 0.02], axis=1) > 0.03
    new = hole_fill.fill(rasteriser(), table.select(away), PLANE, hole_fill.disc(np.array([0.05, 0.02]), 0.03))
    np.testing.assert_allclose(new.means_m[:, 2], small.TABLE_Z_M + hole_fill.FLAT_M, atol=1e-6)
    assert np.linalg.norm(new.means_m[:, :2] - [0.05, 0.02], axis=1).max() < 0.033
    # one per (2.5 mm)² of a disc of 30 mm: π · 30² / 2.5² = 452
    assert len(new) == pytest.approx(452, rel=0.08)
    np.testing.assert_allclose(np.median(base_colours(new), 0), (0.6, 0.5, 0.4), atol=0.04)


def test_the_hole_is_covered_when_seen_from_a_camera():
    table = small.table()
    away = np.linalg.norm(table.means_m[:, :2], axis=1) > 0.03
    open_ = table.select(away)
    new = hole_fill.fill(rasteriser(), open_, PLANE, hole_fill.disc(np.zeros(2), 0.035))
    size, low = np.array([60, 60]), np.array([-0.0375, -0.0375])
    before = hole_fill.from_above(rasteriser(), open_, PLANE, low, size)
    after = hole_fill.from_above(rasteriser(), small.Splat.concatenate([open_, new]), PLANE, low, size)
    assert before[30, 30].max() < 0.1
    np.testing.assert_allclose(after[30, 30], (0.6, 0.5, 0.4), atol=0.06)


def test_painting_takes_the_colour_of_the_nearer_rim():
    picture = np.zeros((60, 60, 3), np.float32)
    picture[:, :30] = (1.0, 0, 0)
    picture[:, 30:] = (0, 0, 1.0)
    hole = np.zeros((60, 60), bool)
    hole[20:40, 20:40] = True
    picture[hole] = 0
    filled = hole_fill.painted(picture, hole)
    assert filled[30, 22, 0] > 0.7
    assert filled[30, 37, 2] > 0.7


def test_a_hole_without_extent_is_refused():
    with pytest.raises(BadInput, match="cannot be filled"):
        hole_fill.fill(rasteriser(), small.table(), PLANE, np.zeros((3, 2)))
    with pytest.raises(BadInput, match="cannot be filled"):
        hole_fill.fill(rasteriser(), small.table(), PLANE, hole_fill.disc(np.zeros(2), 0.9))
