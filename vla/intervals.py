"""Counts of successes in, intervals out: of one success rate (Wilson), and of the difference of two (Newcombe)."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike

CONFIDENCE = 0.95

Bounds = tuple[Float[ndarray, "*N"], Float[ndarray, "*N"]]
"""(lower, upper), elementwise."""


def wilson(successes: ArrayLike, trials: ArrayLike, confidence: float = CONFIDENCE) -> Bounds:
    """Of a success rate (Wilson 1927, the score interval). No trial: 0 … 1, nothing is known."""
    won, tried = _counts(successes, trials)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    some = np.maximum(tried, 1)
    rate = won / some
    centre = (rate + z**2 / (2 * some)) / (1 + z**2 / some)
    half = z / (1 + z**2 / some) * np.sqrt(rate * (1 - rate) / some + z**2 / (4 * some**2))
    low = np.where(won == 0, 0.0, centre - half)  # exact there; rounding would leave 1e-17
    high = np.where(won == tried, 1.0, centre + half)
    return np.where(tried > 0, low, 0.0), np.where(tried > 0, high, 1.0)


def newcombe(
    new_successes: ArrayLike,
    new_trials: ArrayLike,
    old_successes: ArrayLike,
    old_trials: ArrayLike,
    confidence: float = CONFIDENCE,
) -> Bounds:
    """Of rate(new) − rate(old), independent trials (Newcombe 1998, method 10: from the two Wilson intervals).

    Where one has no trial: −1 … 1.
    """
    new, new_n = _counts(new_successes, new_trials)
    old, old_n = _counts(old_successes, old_trials)
    new_low, new_high = wilson(new, new_n, confidence)
    old_low, old_high = wilson(old, old_n, confidence)
    new_rate, old_rate = new / np.maximum(new_n, 1), old / np.maximum(old_n, 1)
    difference = new_rate - old_rate
    low = difference - np.hypot(new_rate - new_low, old_high - old_rate)
    high = difference + np.hypot(new_high - new_rate, old_rate - old_low)
    known = (new_n > 0) & (old_n > 0)
    return np.where(known, low, -1.0), np.where(known, high, 1.0)


def _counts(successes: ArrayLike, trials: ArrayLike) -> tuple[ndarray, ndarray]:
    won, tried = np.asarray(successes, float), np.asarray(trials, float)
    if not (np.all(won >= 0) and np.all(won <= tried)):
        raise ValueError(f"{successes} successes of {trials} trials")
    return won, tried
