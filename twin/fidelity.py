"""Outcomes of the same policies in a cell and in its twin, in; how well the twin ranks them, with intervals, out.

Two numbers, because each misses something: Pearson's r sees whether success rates rise together, MMRV (SIMPLER,
arXiv 2405.05941) how far apart in the cell two policies can be that the twin puts the wrong way round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import NonNegativeInt, PositiveInt, model_validator

from hardware.config import Config
from hardware.errors import BadInput

FEWEST_POLICIES = 3
"""Two policies always lie on a line: r is 1 or −1 whatever the twin is worth."""
FEWEST_DRAWS = 0.5
"""Share of the bootstrap's draws in which r must exist, for its interval to be given."""


class PolicyOutcomes(Config):
    """What one policy did, trial by trial."""

    name: str
    real: tuple[bool, ...]
    """Successes in the cell, or in the bench's plant in its place."""
    twin: tuple[bool, ...]
    """Successes in the twin. Trials need not be paired, nor as many."""

    @model_validator(mode="after")
    def _has_trials(self) -> PolicyOutcomes:
        if not self.real or not self.twin:
            raise ValueError(f"policy '{self.name}' needs a trial on both sides")
        return self

    @property
    def real_rate(self) -> float:
        return float(np.mean(self.real))

    @property
    def twin_rate(self) -> float:
        return float(np.mean(self.twin))


class Interval(Config):
    """A value and the central part of its bootstrap distribution. None: it does not exist."""

    value: float | None
    low: float | None
    high: float | None


class Fidelity(Config):
    """How well a twin foretells which policy is better."""

    policies: tuple[PolicyOutcomes, ...]
    r: Interval
    """Pearson, of success rates. None where all policies do alike on one side: r is then undefined."""
    mmrv: Interval
    """0: no pair that the twin orders wrongly."""
    level: float
    draws: PositiveInt
    draws_without_r: NonNegativeInt
    """Draws of the bootstrap in which r was undefined; they are left out of its interval."""


def pearson(real: Float[ndarray, " P"], twin: Float[ndarray, " P"]) -> float | None:
    """Of success rates, one pair per policy. None where one side does not vary."""
    a, b = real - real.mean(), twin - twin.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if length < 1e-12:
        return None
    return float(np.clip(a @ b / length, -1.0, 1.0))


def mmrv(real: Float[ndarray, " P"], twin: Float[ndarray, " P"]) -> float:
    """Mean over policies of the largest gap in the cell to another that the twin orders the other way.

    mean_i max_j |R_i − R_j| · 1[(S_i < S_j) ≠ (R_i < R_j)]. A tie on one side only counts as a violation for one of
    the two policies, as the formula has it.
    """
    gap = np.abs(real[:, None] - real[None])
    wrong = (twin[:, None] < twin[None]) != (real[:, None] < real[None])
    return float((gap * wrong).max(axis=1).mean())


def measure(policies: Sequence[PolicyOutcomes], draws: int = 2000, level: float = 0.95, seed: int = 0) -> Fidelity:
    """r and MMRV; the bootstrap draws policies, then trials within each, on both sides apart.

    Raises `BadInput` for fewer than three policies or a name that repeats.
    """
    names = [policy.name for policy in policies]
    if len(names) < FEWEST_POLICIES:
        raise BadInput(f"{len(names)} policies say nothing about r", f"roll out {FEWEST_POLICIES} or more")
    if len(set(names)) < len(names):
        raise BadInput(f"policy names repeat: {', '.join(names)}")
    real, twin = (np.array(rates) for rates in zip(*((p.real_rate, p.twin_rate) for p in policies), strict=True))
    rng = np.random.default_rng(seed)
    resampled = [_drawn(policies, rng) for _ in range(draws)]
    correlations = [r for sample in resampled if (r := pearson(*sample)) is not None]
    violations = [mmrv(*sample) for sample in resampled]
    r_known = len(correlations) >= FEWEST_DRAWS * draws
    return Fidelity(
        policies=tuple(policies),
        r=_interval(pearson(real, twin), correlations if r_known else [], level),
        mmrv=_interval(mmrv(real, twin), violations, level),
        level=level,
        draws=draws,
        draws_without_r=draws - len(correlations),
    )


def _drawn(policies: Sequence[PolicyOutcomes], rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Success rates of policies drawn with replacement, each of trials drawn with replacement."""
    chosen = rng.integers(len(policies), size=len(policies))
    rates = [
        (rng.binomial(len(p.real), p.real_rate) / len(p.real), rng.binomial(len(p.twin), p.twin_rate) / len(p.twin))
        for p in (policies[number] for number in chosen)
    ]
    real, twin = np.array(rates, dtype=np.float64).T
    return real, twin


def _interval(value: float | None, draws: Sequence[float], level: float) -> Interval:
    if value is None or not draws:
        return Interval(value=value, low=None, high=None)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high))
