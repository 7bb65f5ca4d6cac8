"""FWT, NBT and AUC against numbers worked by hand."""

import numpy as np
import pytest

from vla.continual.scores import intervals, scores

NONE = np.nan
RATES = np.array(
    [
        [0.9, 0.8, NONE, NONE],
        [0.7, 0.8, 0.6, NONE],
        [0.5, 0.9, 0.4, 0.3],
    ]
)
"""Two base tasks at stage 0, then one more at each stage."""


def test_scores_by_hand() -> None:
    """FWT = (0.9 + 0.8 + 0.6 + 0.3)/4 = 0.65.
    NBT: ((0.2 + 0.4)/2, (0 − 0.1)/2, 0.2) = (0.3, −0.05, 0.2): mean 0.15; the last task has no later stage.
    AUC: ((0.9 + 0.7 + 0.5)/3, (0.8 + 0.8 + 0.9)/3, (0.6 + 0.4)/2, 0.3) = (0.7, 0.8333, 0.5, 0.3): mean 0.58333."""
    found = scores(RATES, (0, 0, 1, 2))
    assert found.fwt == pytest.approx(0.65)
    assert found.nbt == pytest.approx(0.15)
    assert found.auc == pytest.approx(0.583333, abs=1e-6)


def test_nothing_forgotten_means_auc_is_fwt() -> None:
    found = scores(np.array([[0.4, NONE], [0.4, 0.8]]), (0, 1))
    assert (found.fwt, found.nbt, found.auc) == pytest.approx((0.6, 0.0, 0.6))
    assert scores(np.array([[0.5]]), (0,)).nbt == 0.0


def test_the_interval_shrinks_with_the_root_of_the_trials() -> None:
    """One stage, one task at 50 %: ± 1.96 √(0.25/n) = ± 0.098 for 100 trials, ± 0.0098 for 10 000."""
    for trials in (100, 10_000):
        low, high = intervals(np.array([[trials // 2]]), np.array([[trials]]), (0,))["auc"]
        assert (high - low) / 2 == pytest.approx(1.96 * (0.25 / trials) ** 0.5, rel=0.08)


def test_an_interval_holds_its_score_also_where_all_is_lost() -> None:
    """5 of 10, then 0 of 10 and 0 of 10. Wilson: 0.237 … 0.763 and 0 … 0.278.
    AUC = 0.5/3 = 0.167: down (0.5 − 0.237)/3 = 0.088, up √(0.263² + 2 · 0.278²)/3 = 0.158.
    NBT = 0.5: down √(0.263² + 2 · (0.278/2)²) = 0.328, up √(0.263² + 0) = 0.263."""
    found = intervals(np.array([[5], [0], [0]]), np.full((3, 1), 10), (0,))
    assert found["auc"] == pytest.approx((0.167 - 0.088, 0.167 + 0.158), abs=2e-3)
    assert found["nbt"] == pytest.approx((0.5 - 0.328, 0.5 + 0.263), abs=2e-3)
