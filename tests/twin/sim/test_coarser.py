import numpy as np
import pytest
import small_objects

from hardware.spatial import rotation_from_quat_wxyz
from twin.sim.coarser import coarser
from twin.splat import Splat


def covariances(splat):
    axes = rotation_from_quat_wxyz(splat.quats_wxyz.astype(float)) * splat.scales_m[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def test_gaussians_alone_in_their_cells_stay_as_they_are():
    rng = np.random.default_rng(0)
    splat = Splat(
        means_m=np.array([[0.005, 0.005, 0.005], [0.105, 0.005, 0.005], [0.005, 0.305, 0.005]]),
        quats_wxyz=rng.normal(size=(3, 4)),
        scales_m=rng.uniform(1e-3, 4e-3, (3, 3)),
        opacities=np.array([0.3, 0.6, 0.9]),
        sh=rng.normal(size=(3, 4, 3)),
    )
    same = coarser(splat, 0.01)
    order = [int(np.argmin(np.linalg.norm(same.means_m - mean, axis=1))) for mean in splat.means_m]
    assert sorted(order) == [0, 1, 2]
    assert covariances(same)[order] == pytest.approx(covariances(splat), abs=1e-9)
    assert same.opacities[order] == pytest.approx(splat.opacities, abs=1e-5)
    assert same.sh[order] == pytest.approx(splat.sh, abs=1e-6)


def test_two_become_one_with_their_mean_spread_and_depth():
    # equal weights at x = ±1 mm: mean 0, variance 1 mm² + own 1 mm² = 2 mm² along x; optical depth 2 · ln 2 over an
    # area grown by √2 is √2 · ln 2, so opacity 1 − 2^(−√2) = 0.6248
    splat = Splat(
        means_m=np.array([[0.004, 0.005, 0.005], [0.006, 0.005, 0.005]]),
        quats_wxyz=np.tile([1.0, 0, 0, 0], (2, 1)),
        scales_m=np.tile([1e-3, 1e-3, 2e-4], (2, 1)),
        opacities=np.array([0.5, 0.5]),
        sh=np.array([[[1.0, 0, 0]], [[0, 1.0, 0]]]),
    )
    one = coarser(splat, 0.01)
    assert len(one) == 1
    assert one.means_m[0] == pytest.approx([0.005, 0.005, 0.005], abs=1e-7)
    assert np.sort(one.scales_m[0]) == pytest.approx([2e-4, 1e-3, 1e-3 * np.sqrt(2)], rel=1e-3)
    assert one.opacities[0] == pytest.approx(1 - 2 ** (-np.sqrt(2)), abs=1e-3)
    assert one.sh[0, 0] == pytest.approx([0.5, 0.5, 0.0])


def test_wide_gaussians_are_kept_and_close_ones_shrink_in_number():
    table = small_objects.table()
    assert len(coarser(table, 0.005)) == len(table)  # 7 mm wide
    box = small_objects.box()
    assert len(coarser(box, 0.008)) < len(box) / 3
