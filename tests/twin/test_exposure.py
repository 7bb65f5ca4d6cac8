"""Exposures: Adam as PyTorch has it, and a mean that stays no exposure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.exposure import NONE, Exposures


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(1e-5, 1e-1), st.floats(0, 0.1))
def test_a_photos_steps_are_pytorchs_adam(seed, rate, weight):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(8, 3, 4)).astype(np.float32)
    ours = Exposures(2)
    theirs = torch.tensor(NONE.astype(np.float64), requires_grad=True)
    adam = torch.optim.Adam([theirs], lr=rate, eps=1e-12)
    for gradient in gradients:
        ours.step(1, gradient, rate, weight)
        adam.zero_grad()
        theirs.grad = torch.tensor(gradient, dtype=torch.float64) + weight * (theirs.detach() - torch.tensor(NONE))
        adam.step()
    np.testing.assert_allclose(ours.matrices[1], theirs.detach().numpy(), atol=1e-5)
    np.testing.assert_array_equal(ours.matrices[0], NONE)


def test_a_rate_of_zero_changes_nothing():
    exposures = Exposures(1)
    exposures.step(0, np.ones((3, 4), np.float32), 0.0, 0.1)
    np.testing.assert_array_equal(exposures.matrices[0], NONE)


def test_the_first_step_is_the_rate_against_the_gradient():
    exposures = Exposures(1)
    exposures.step(0, np.full((3, 4), -5.0, np.float32), 0.01, 0.0)
    np.testing.assert_allclose(exposures.matrices[0] - NONE, 0.01, rtol=1e-5)


@given(st.integers(1, 6), st.integers(0, 99))
def test_the_mean_is_no_exposure(photos, seed):
    exposures = Exposures(photos)
    exposures.matrices += np.random.default_rng(seed).normal(0, 0.2, (photos, 3, 4)).astype(np.float32)
    spread = exposures.matrices - exposures.matrices[0]
    exposures.centre()
    np.testing.assert_allclose(exposures.matrices.mean(0), NONE, atol=1e-6)
    np.testing.assert_allclose(exposures.matrices - exposures.matrices[0], spread, atol=1e-6)


def test_a_restored_run_goes_on_the_same():
    one, rng = Exposures(3), np.random.default_rng(0)
    for number in range(5):
        one.step(number % 3, rng.normal(size=(3, 4)).astype(np.float32), 1e-2, 1e-3)
    other = Exposures(3)
    other.restore({name: array.copy() for name, array in one.arrays().items()})
    gradient = rng.normal(size=(3, 4)).astype(np.float32)
    for exposures in (one, other):
        exposures.step(2, gradient, 1e-2, 1e-3)
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])
    assert one.counts.tolist() == pytest.approx([2, 2, 2])
