import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardware.errors import BadInput
from twin.fidelity import PolicyOutcomes, measure, mmrv, pearson

RATES = arrays(np.float64, 6, elements=st.integers(0, 20).map(lambda won: won / 20))


def policy(name: str, real: int, twin: int, trials: int = 10) -> PolicyOutcomes:
    return PolicyOutcomes(
        name=name,
        real=tuple(number < real for number in range(trials)),
        twin=tuple(number < twin for number in range(trials)),
    )


def test_mmrv_by_hand() -> None:
    """R = (0.2, 0.5, 0.9), S = (0.3, 0.8, 0.6): the twin swaps the last two, 0.4 apart in the cell.

    Policy 0 is ordered rightly against both: 0. Policies 1 and 2 each have 0.4. The mean is 0.8 / 3.
    """
    assert mmrv(np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.8, 0.6])) == pytest.approx(0.8 / 3)


def test_mmrv_of_a_tie_in_the_twin_by_hand() -> None:
    """R = (0.2, 0.6), S = (0.5, 0.5). i=0: S says not less, R says less: 0.4. i=1: neither says less: 0. Mean 0.2."""
    assert mmrv(np.array([0.2, 0.6]), np.array([0.5, 0.5])) == pytest.approx(0.2)


def test_pearson_by_hand() -> None:
    """R − mean = (−0.3, 0, 0.3), S − mean = (−0.2, 0.2, 0): 0.06 / (0.3·√2 · 0.2·√2) = 0.5."""
    assert pearson(np.array([0.1, 0.4, 0.7]), np.array([0.2, 0.6, 0.4])) == pytest.approx(0.5)


def test_pearson_does_not_exist_where_one_side_does_not_vary() -> None:
    assert pearson(np.array([0.1, 0.4, 0.7]), np.array([1.0, 1.0, 1.0])) is None


@given(RATES)
def test_a_twin_that_keeps_every_rate_is_perfect(real: np.ndarray) -> None:
    assert mmrv(real, real) == 0.0
    assert pearson(real, real) in (None, pytest.approx(1.0))


@given(RATES, RATES)
def test_mmrv_lies_between_nothing_and_the_range(real: np.ndarray, twin: np.ndarray) -> None:
    assert 0.0 <= mmrv(real, twin) <= np.ptp(real)


@given(RATES, RATES)
def test_pearson_agrees_with_numpy(real: np.ndarray, twin: np.ndarray) -> None:
    r = pearson(real, twin)
    if r is not None:
        assert r == pytest.approx(np.corrcoef(real, twin)[0, 1], abs=1e-9)


def test_intervals_hold_the_value_and_shrink_with_trials() -> None:
    def fidelity(trials: int):
        strengths = (0.1, 0.3, 0.5, 0.7, 0.9)
        outcomes = [policy(f"p{s}", round(s * trials), round(s * trials), trials) for s in strengths]
        return measure(outcomes, draws=400)

    few, many = fidelity(10), fidelity(1000)
    for found in (few, many):
        assert found.r.value == pytest.approx(1.0)
        assert found.mmrv.value == 0.0
        assert found.r.low is not None
        assert found.mmrv.high is not None
    assert few.r.low is not None
    assert many.r.low is not None
    assert few.r.low < many.r.low
    assert many.r.low > 0.95


def test_a_twin_that_ranks_backwards_is_told_from_a_good_one() -> None:
    backwards = measure([policy(f"p{won}", won, 100 - won, 100) for won in (5, 25, 50, 75, 95)], draws=400)
    assert backwards.r.value == pytest.approx(-1.0)
    assert backwards.r.high is not None
    assert backwards.r.high < 0
    assert backwards.mmrv.low is not None
    assert backwards.mmrv.low > 0.2


def test_alike_policies_give_no_r() -> None:
    found = measure([policy(name, 10, 10) for name in "abc"], draws=50)
    assert found.r.value is None
    assert found.r.low is None
    assert found.draws_without_r == 50


@pytest.mark.parametrize("names", ["ab", "aab"])
def test_too_few_policies_and_names_that_repeat_are_refused(names: str) -> None:
    with pytest.raises(BadInput):
        measure([policy(name, 5, 5) for name in names], draws=10)


def test_a_policy_without_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a trial on both sides"):
        PolicyOutcomes(name="empty", real=(), twin=(True,))
