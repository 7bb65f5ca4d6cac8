"""Motion as polynomials of time: rows, a standstill or a person's hand go in, a path with two derivatives comes out.

Everything here is made so that a motion can be left at any moment and another one joined there with the same position,
velocity and acceleration, knowing nothing of the old path beyond that one state. `joined` adds to the new path what is
left of the difference: while that is small, the quintic to zero, which of all curves has the least integral of squared
jerk (Flash and Hogan 1985); else a ramp of limited speed with smooth ends. Columns are independent; their units are the
caller's (rad, or opening 0 … 1).
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
class Join:
    """The path that is joined, plus what is left of the difference to the motion before it."""

    onto: Path
    left: Path

    def at(self, stamp_ns: int) -> Moment:
        onto, left = self.onto.at(stamp_ns), self.left.at(stamp_ns)
        return Moment(onto.q + left.q, onto.dq + left.dq, onto.ddq + left.ddq)

    @property
    def duration_s(self) -> float:
        return self.left.begins_s[-1]


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


def shortest_stop_s(moment: Moment, acceleration: float, jerk: float) -> float:
    """How long a `stop` must take that begins with no more than `jerk` and accelerates no column beyond that."""
    _, dq, ddq = (np.abs(one) for one in moment)
    onward = np.where(moment.dq * moment.ddq > 0, ddq, 0.0)
    by_jerk = 2 * onward / jerk + np.sqrt((2 * onward / jerk) ** 2 + 6 * dq / jerk)
    return float(np.maximum(1.5 * dq / acceleration, by_jerk).max(initial=0.0))


def joined(
    moment: Moment, onto: Path, begins_ns: int, duration_s: float, speed: float, watched: int | None = None
) -> Join:
    """Leaves from `moment` at `begins_ns` and ends up on `onto`; C² throughout.

    That takes `duration_s` where the distance can be closed in that time without exceeding `speed` (by the first
    `watched` columns), and longer where not. A difference of velocity is always gone within `duration_s`, so however
    far away the new path is, the old motion does not swing on.
    """
    there = onto.at(begins_ns)
    gap = Moment(*(here - other for here, other in zip(moment, there, strict=True)))
    if PEAK_SPEED * np.abs(gap.q[:watched]).max(initial=0.0) <= speed * duration_s:
        return Join(onto, _quintic(gap, begins_ns, duration_s))
    left = gap.q + duration_s * (gap.dq / 2 + gap.ddq * duration_s / 12)  # where a stop would leave it
    farthest = float(np.abs(left[:watched]).max(initial=0.0))
    return Join(onto, _ramp(gap, left, begins_ns, duration_s, max(0.0, farthest / speed - duration_s)))


def _quintic(gap: Moment, begins_ns: int, t: float) -> Path:
    """From `gap` to zero within t, then zero."""
    q, dq, ddq = gap
    coefficients = np.zeros((2, _ORDER, len(q)))
    coefficients[0, 0], coefficients[0, 1], coefficients[0, 2] = q, dq, ddq / 2
    coefficients[0, 3] = -(10 * q / t**3 + 6 * dq / t**2 + 3 * ddq / (2 * t))
    coefficients[0, 4] = 15 * q / t**4 + 8 * dq / t**3 + 3 * ddq / (2 * t**2)
    coefficients[0, 5] = -(6 * q / t**5 + 3 * dq / t**4 + ddq / (2 * t**3))
    return Path(begins_ns, (0.0, t), coefficients)


def _ramp(gap: Moment, left: Float[ndarray, " D"], begins_ns: int, t: float, even_s: float) -> Path:
    """From `gap` to zero: t to reach an even speed, `even_s` at it, t to slow down; then zero."""
    speed = -left / (even_s + t)
    start = stop(Moment(gap.q, gap.dq - speed, gap.ddq), begins_ns, t).coefficients[0]
    start[1] += speed
    end = stop(Moment(-speed * t / 2, speed, np.zeros_like(speed)), begins_ns, t).coefficients[0]
    coefficients = np.zeros((4, _ORDER, len(left)))
    coefficients[0] = start
    coefficients[1, 0], coefficients[1, 1] = end[0] - speed * even_s, speed
    coefficients[2] = end
    return Path(begins_ns, (0.0, t, t + even_s, 2 * t + even_s), coefficients)
