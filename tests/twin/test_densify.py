"""Densification: as many as asked, none transparent, and what is not touched is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.densify import DEAD_OPACITY, densified
from twin.optimiser import MEAN, OPACITY, QUAT, SCALE, SH, Parameters
from twin.splat import Splat


def parameters(opacities: np.ndarray, seed: int = 0) -> Parameters:
    rng, n = np.random.default_rng(seed), len(opacities)
    splat = Splat(
        rng.normal(size=(n, 3)), rng.normal(size=(n, 4)), np.exp(rng.uniform(-4, -2, (n, 3))), opacities,
        rng.normal(size=(n, 4, 3)),
    )  # fmt: skip
    made = Parameters.of(splat)
    made.first[:], made.second[:] = rng.normal(size=made.first.shape), rng.uniform(size=made.second.shape)
    return made


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.004, 0.006, 0.5, 0.99]), min_size=1, max_size=60), st.integers(0, 100))
def test_there_are_as_many_as_asked_and_none_is_transparent(opacities, count):
    before = parameters(np.array(opacities))
    after = densified(before, count, np.random.default_rng(1))
    alive = before.splat.opacities > DEAD_OPACITY
    if not alive.any():
        assert after is before
        return
    assert len(after) == max(len(before), count)
    assert (after.splat.opacities > DEAD_OPACITY).all()
    after.splat.require_finite()
    untouched = np.flatnonzero(alive & (after.rows[: len(before)] == before.rows).all(1))
    for name in ("first", "second"):
        kept = getattr(after, name)[untouched] == getattr(before, name)[untouched]
        assert kept.all()
    fresh = np.setdiff1d(np.arange(len(after)), untouched)
    assert not after.first[fresh].any()
    assert not after.second[fresh].any()


def test_two_copies_of_one_are_smaller_and_drawn_from_it():
    before = parameters(np.array([0.9, 0.0]))
    after = densified(before, 2, np.random.default_rng(0))
    # Both rows are now copies of the first: 1.6 times smaller each, all else the same.
    np.testing.assert_allclose(after.splat.scales_m, np.tile(before.splat.scales_m[0] / 1.6, (2, 1)), rtol=1e-5)
    np.testing.assert_array_equal(after.rows[:, QUAT:SCALE], np.tile(before.rows[0, QUAT:SCALE], (2, 1)))
    np.testing.assert_array_equal(after.rows[:, OPACITY:], np.tile(before.rows[0, OPACITY:], (2, 1)))


def test_eight_copies_are_half_as_large_again():
    # 1.6 · √(8 / 2) = 3.2.
    before = parameters(np.array([0.9]))
    after = densified(before, 8, np.random.default_rng(0))
    np.testing.assert_allclose(after.splat.scales_m, np.tile(before.splat.scales_m / 3.2, (8, 1)), rtol=1e-5)


def test_copies_are_spread_as_the_gaussian_is():
    before = parameters(np.array([0.9]), seed=4)
    n = 5000
    after = densified(before, n, np.random.default_rng(0))
    offsets = after.rows[:, MEAN:QUAT] - before.rows[0, MEAN:QUAT]
    from hardware.spatial import rotation_from_quat_wxyz

    axes = rotation_from_quat_wxyz(before.rows[0, QUAT:SCALE].astype(np.float64))
    along = offsets @ axes / before.splat.scales_m[0]
    np.testing.assert_allclose(np.cov(along.T), np.eye(3), atol=5 * np.sqrt(2 / n))


def test_where_the_copies_go_follows_opacity():
    opacities = np.concatenate([np.full(50, 0.8), np.full(50, 0.2)])
    before = parameters(opacities)
    after = densified(before, 2100, np.random.default_rng(0))
    of_opaque = (after.splat.opacities[100:] > 0.5).mean()
    assert of_opaque == pytest.approx(0.8, abs=5 * np.sqrt(0.16 / 2000))


def test_the_same_draw_gives_the_same_splat():
    before = parameters(np.linspace(0, 0.9, 30))
    one, other = (densified(before, 50, np.random.default_rng(3)).rows for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_nothing_to_do_changes_nothing():
    before = parameters(np.full(5, 0.5))
    assert densified(before, 3, np.random.default_rng(0)) is before
    assert before.rows.shape[1] == SH + 12
