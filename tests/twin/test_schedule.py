"""The course of a training run: hand-worked points, and quantities that never fall back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import schedule

shares = st.floats(0, 1)


def test_the_course_by_hand():
    assert [schedule.level(share) for share in (0.0, 0.249, 0.25, 0.649, 0.65, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert [schedule.sh_degree(share, 3) for share in (0.0, 0.3, 0.5, 0.7, 1.0)] == [0, 1, 2, 3, 3]
    assert schedule.sh_degree(1.0, 0) == 0
    # Half way from 0.04 to 0.5 the count has grown by the square root of the whole growth: 100 · √(10000 / 100).
    assert schedule.gaussians(0.27, 100, 10_000) == 1000
    assert schedule.gaussians(0.02, 100, 10_000) == 100
    assert schedule.gaussians(0.5, 100, 10_000) == schedule.gaussians(1.0, 100, 10_000) == 10_000
    assert schedule.falling(0.5, 1e-2, 1e-4) == pytest.approx(1e-3)
    assert [step for step in range(301) if schedule.densifies(step, 0.5)] == [0, 100, 200, 300]
    assert not schedule.densifies(100, 0.039)
    assert not schedule.densifies(100, 0.851)


@given(shares, shares, st.integers(1, 100_000), st.integers(1, 100_000))
def test_nothing_falls_back(one, other, first, most):
    early, late = min(one, other), max(one, other)
    assert schedule.level(early) <= schedule.level(late)
    assert schedule.sh_degree(early, 2) <= schedule.sh_degree(late, 2) <= 2
    low, high = min(first, most), max(first, most)
    assert low <= schedule.gaussians(early, low, high) <= schedule.gaussians(late, low, high) <= high
    assert 1e-2 >= schedule.falling(early, 1e-2, 1e-4) >= schedule.falling(late, 1e-2, 1e-4) >= 0.99e-4
