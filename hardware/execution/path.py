"""Motion as polynomials of time: rows, a standstill or a person's hand go in, a path with two derivatives comes out.

Everything here is made so that a motion can be left at any moment and another one joined there with the same position,
velocity and acceleration: `joined` adds to the new path the quintic that carries the difference to zero. Of all curves
that do, it has the least integral of squared jerk (Flash and Hogan 1985), and it needs nothing of the old path beyond
the one state in which it is left. Columns are independent; their units are the caller's (rad, or opening 0 … 1).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.messages import NANOSECONDS_PER_SECOND

PEAK_SPEED = 1.875
"""Of a minimum-jerk move from rest to rest, in distance / duration: 30 s² − 60 s³ + 30 s⁴ at s = 1/2."""

_ORDER = 6  # coefficients of a quintic


class Moment(NamedTuple):
    """Position, velocity and acceleration of all columns."""

    q: Float[ndarray, " D"]
    dq: Float[ndarray, " D"]
    ddq: Float[ndarray, " D"]


@dataclass(frozen=True, eq=False)
class Path:
    """Pieces of polynomials. The first also holds before it begins and the last for ever after."""

    origin_ns: int
    begins_s: tuple[float, ...]
    """When each piece begins, after `origin_ns`; increasing."""
    coefficients: Float[ndarray, "K 6 D"]
    """Of the powers 0 … 5 of the time since the piece began."""

    def at(self, stamp_ns: int) -> Moment:
        time_s = (stamp_ns - self.origin_ns) / NANOSECONDS_PER_SECOND
        piece = max(bisect_right(self.begins_s, time_s) - 1, 0)
        q, dq, ddq = _powers(time_s - self.begins_s[piece]) @ self.coefficients[piece]
        return Moment(q, dq, ddq)


@dataclass(frozen=True, eq=False)
class Sum:
    """Two paths added up: a chunk, say, and what is left of the difference to the motion before it."""

    one: Path
    other: Path

    def at(self, stamp_ns: int) -> Moment:
        one, other = self.one.at(stamp_ns), self.other.at(stamp_ns)
        return Moment(one.q + other.q, one.dq + other.dq, one.ddq + other.ddq)


def _powers(x: float) -> Float[ndarray, "3 6"]:
    x2, x3 = x * x, x * x * x
    return np.array(
        (
            (1.0, x, x2, x3, x2 * x2, x2 * x3),
            (0.0, 1.0, 2 * x, 3 * x2, 4 * x3, 5 * x2 * x2),
            (0.0, 0.0, 2.0, 6 * x, 12 * x2, 20 * x3),
        )
    )


def through(
    rows: Float[ndarray, "T D"], first_due_ns: int, rate_hz: float, straight: Bool[ndarray, " D"] | None = None
) -> Path:
    """The C² cubic spline that passes each row when it is due; columns marked `straight` go in straight lines.

    Its acceleration is constant up to the second row, also before the first one, and zero at the last row, after
    which it goes on in a straight line (its user is expected to stop it there).
    """
    count, columns = rows.shape
    step_s = 1.0 / rate_hz
    bends = _second_derivatives(rows, step_s)
    if straight is not None:
        bends[:, straight] = 0.0
    coefficients = np.zeros((count, _ORDER, columns))
    coefficients[:, 0] = rows
    if count > 1:
        slopes = np.diff(rows, axis=0) / step_s
        coefficients[:-1, 1] = slopes - step_s * (2 * bends[:-1] + bends[1:]) / 6
        coefficients[:-1, 2] = bends[:-1] / 2
        coefficients[:-1, 3] = np.diff(bends, axis=0) / (6 * step_s)
        coefficients[-1, 1] = slopes[-1] + step_s * (bends[-2] + 2 * bends[-1]) / 6
    return Path(first_due_ns, tuple(row * step_s for row in range(count)), coefficients)


def _second_derivatives(rows: Float[ndarray, "T D"], step_s: float) -> Float[ndarray, "T D"]:
    """Of the spline at the rows: the usual tridiagonal system, with the ends that `through` promises."""
    count = len(rows)
    if count < 3:
        return np.zeros_like(rows)
    system = np.zeros((count, count))
    inner = np.arange(1, count - 1)
    system[inner, inner - 1] = system[inner, inner + 1] = 1.0
    system[inner, inner] = 4.0
    system[0, 0], system[0, 1] = 1.0, -1.0
    system[-1, -1] = 1.0
    asked = np.zeros_like(rows)
    asked[1:-1] = 6 / step_s**2 * np.diff(rows, n=2, axis=0)
    return np.linalg.solve(system, asked)


def line(q: Float[ndarray, " D"], dq: Float[ndarray, " D"], stamp_ns: int) -> Path:
    """Passes q at `stamp_ns`, at constant velocity before and after."""
    coefficients = np.zeros((1, _ORDER, len(q)))
    coefficients[0, 0], coefficients[0, 1] = q, dq
    return Path(stamp_ns, (0.0,), coefficients)


def stop(moment: Moment, begins_ns: int, duration_s: float) -> Path:
    """Comes to rest within `duration_s`, on a velocity that falls as a cubic, and stays there exactly."""
    q, dq, ddq = moment
    coefficients = np.zeros((2, _ORDER, len(q)))
    coefficients[0, 0], coefficients[0, 1], coefficients[0, 2] = q, dq, ddq / 2
    coefficients[0, 3] = -(dq / duration_s + 2 * ddq / 3) / duration_s
    coefficients[0, 4] = (dq / duration_s + ddq / 2) / (2 * duration_s**2)
    coefficients[1, 0] = q + duration_s * (dq / 2 + ddq * duration_s / 12)
    return Path(begins_ns, (0.0, duration_s), coefficients)


def joined(moment: Moment, onto: Path, begins_ns: int, duration_s: float) -> Sum:
    """Leaves from `moment` at `begins_ns` and is on `onto` after `duration_s`: C² throughout, of the least jerk."""
    there = onto.at(begins_ns)
    q, dq, ddq = (here - other for here, other in zip(moment, there, strict=True))
    t = duration_s
    coefficients = np.zeros((2, _ORDER, len(q)))
    coefficients[0, 0], coefficients[0, 1], coefficients[0, 2] = q, dq, ddq / 2
    coefficients[0, 3] = -(10 * q / t**3 + 6 * dq / t**2 + 3 * ddq / (2 * t))
    coefficients[0, 4] = 15 * q / t**4 + 8 * dq / t**3 + 3 * ddq / (2 * t**2)
    coefficients[0, 5] = -(6 * q / t**5 + 3 * dq / t**4 + ddq / (2 * t**3))
    return Sum(onto, Path(begins_ns, (0.0, duration_s), coefficients))
