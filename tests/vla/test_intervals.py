"""Intervals of success rates against published worked examples, and by counting how often they hold."""

import subprocess
import sys
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.intervals import newcombe, wilson


def test_wilson_by_hand() -> None:
    """8 of 10, z = 1.96, z² = 3.8415: centre (0.8 + 0.19207) / 1.38415 = 0.71674,
    half 1.96 / 1.38415 · √(0.016 + 0.0096036) = 0.22658."""
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.49016, abs=2e-5)
    assert high == pytest.approx(0.94332, abs=2e-5)


def test_the_ends_are_exact() -> None:
    low, high = wilson([0, 10, 0], [10, 10, 0])
    assert low.tolist() == [0.0, pytest.approx(10 / (10 + 3.8415), abs=1e-5), 0.0]
    assert high.tolist() == [pytest.approx(3.8415 / (10 + 3.8415), abs=1e-5), 1.0, 1.0]


def test_newcombe_as_published() -> None:
    """Newcombe 1998, table II, method 10: 56/70 − 48/80 → 0.0524 … 0.3339; 9/10 − 3/10 → 0.1705 … 0.8090."""
    np.testing.assert_allclose(newcombe(56, 70, 48, 80), (0.0524, 0.3339), atol=5e-5)
    np.testing.assert_allclose(newcombe(9, 10, 3, 10), (0.1705, 0.8090), atol=5e-5)
    np.testing.assert_allclose(newcombe(10, 10, 0, 10), (0.6075, 1.0), atol=5e-5)


def test_without_trials_every_difference_is_possible() -> None:
    assert newcombe(5, 10, 0, 0) == (-1, 1)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_rate_lies_inside_and_failures_mirror_successes(counts: tuple[int, int]) -> None:
    won, tried = counts
    low, high = wilson(won, tried)
    assert 0 <= low <= won / tried <= high <= 1
    np.testing.assert_allclose(wilson(tried - won, tried), (1 - high, 1 - low), atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_interval_holds_the_true_rate_about_as_often_as_it_says(rate: float) -> None:
    """Exact, over all outcomes of 50 trials: Wilson's coverage at these rates lies within 93 … 98 %."""
    outcomes = np.arange(51)
    chance = np.array([comb(50, k) * rate**k * (1 - rate) ** (50 - k) for k in outcomes])
    low, high = wilson(outcomes, np.full(51, 50))
    assert 0.93 < chance[(low <= rate) & (rate <= high)].sum() < 0.98


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="11 successes of 10"):
        wilson(11, 10)


def test_it_loads_without_torch() -> None:
    check = "import sys, vla.intervals; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], check=True)
