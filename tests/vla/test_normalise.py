"""Quantile normalisation undoes itself, dataset by dataset."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware.errors import BadInput
from vla.normalise import Normaliser, Quantiles, quantiles

columns = hnp.arrays(np.float64, (50, 2), elements=st.floats(-100, 100))


@given(columns, hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-100, 100, width=32)))
@settings(deadline=None)
def test_denormalise_undoes_normalise(data: np.ndarray, values: np.ndarray) -> None:
    normaliser = Normaliser({"arm": quantiles(data)})
    again = normaliser.denormalise(normaliser.normalise(values))
    widest = max(np.abs(values).max(), np.abs(data).max(), 1.0)
    np.testing.assert_allclose(again, values, atol=4e-7 * widest, rtol=1e-6)


def test_the_quantiles_become_minus_one_and_one() -> None:
    """0 … 100 evenly: the 1 % quantile is 1, the 99 % quantile is 99, the middle 50."""
    normaliser = Normaliser({"arm": quantiles(np.arange(101.0)[:, None])})
    np.testing.assert_allclose(normaliser.normalise(np.array([[1.0], [99.0], [50.0]])), [[-1], [1], [0]], atol=1e-6)


def test_each_row_goes_by_its_own_dataset() -> None:
    normaliser = Normaliser({"a": Quantiles(low=(0.0,), high=(2.0,)), "b": Quantiles(low=(0.0,), high=(20.0,))})
    values = np.array([[2.0], [2.0]])
    np.testing.assert_allclose(normaliser.normalise(values, ["a", "b"]), [[1.0], [-0.8]], atol=1e-6)
    np.testing.assert_allclose(normaliser.normalise(values), [[1.0], [1.0]], atol=1e-6)


def test_a_gripper_that_opens_once_keeps_its_range() -> None:
    """Open in 5 of 1000 rows: both quantiles are 0, so the whole range 0 … 1 is taken."""
    opening = np.zeros((1000, 1))
    opening[:5] = 1.0
    assert quantiles(opening) == Quantiles(low=(0.0,), high=(1.0,))


def test_a_column_that_never_moves_is_finite() -> None:
    still = quantiles(np.full((10, 1), 3.0))
    assert Normaliser({"a": still}).normalise(np.array([[3.0], [3.5]])).tolist() == [[0.0], [0.5]]


def test_what_has_no_quantiles_is_refused() -> None:
    with pytest.raises(BadInput, match="row 1 of 'elbow'"):
        quantiles(np.array([[0.0, 0.0], [0.0, np.nan]]), ["shoulder", "elbow"])
    with pytest.raises(BadInput, match="different numbers of columns"):
        Normaliser({"a": Quantiles(low=(0.0,), high=(1.0,)), "b": Quantiles(low=(0.0, 0.0), high=(1.0, 1.0))})
    with pytest.raises(BadInput, match="no dataset 'c'"):
        Normaliser({"a": Quantiles(low=(0.0,), high=(1.0,))}).normalise(np.zeros((1, 1)), ["c"])
