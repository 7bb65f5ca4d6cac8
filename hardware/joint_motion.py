"""One joint between its limits: a state (q, dq, ddq) and a target go in, the next state comes out.

Everything rests on one fact: from any state the joint can stop by three phases of constant jerk, and while that stop
keeps within the limits the joint is safe for ever, whatever is asked later and however late. So a step is taken only
when a stop from its end keeps within the limits too; else the joint goes on along the stop that is already known to.
A sampled motion whose derivatives keep within limits has divided differences within them (mean value theorem),
at even and uneven time steps alike.

Plain floats, since one joint at a time is quicker this way than arrays of seven. Units: rad, s. Lengths work the same.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import NamedTuple

State = tuple[float, float, float]
"""(q_rad, dq_rad_s, ddq_rad_s2)"""

_SLACK = 1e-10  # rad, rad/s: rounding of a few hundred floating point operations on numbers of order 10
_SETTLED = 1e-9  # rad/s², below which a leftover acceleration is rounding
_ROOT_STEPS = 40
_ON_TARGET = 1e-7  # rad, how well a stop is aimed
_HALVINGS = 8


class Bounds(NamedTuple):
    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float


class Stop(NamedTuple):
    """Where a stop passes, relative to where it starts, and how fast it gets."""

    low: float
    high: float
    fastest: float


def advance(state: State, jerk: float, dt_s: float) -> State:
    q, dq, ddq = state
    return (
        q + dt_s * (dq + dt_s * (ddq / 2 + jerk * dt_s / 6)),
        dq + dt_s * (ddq + jerk * dt_s / 2),
        ddq + jerk * dt_s,
    )


def stop_phases(dq: float, ddq: float, bounds: Bounds) -> tuple[tuple[float, float], ...]:
    """The quickest way to rest as (jerk, duration_s): into braking, steady braking, out of braking."""
    limit, jerk = bounds.acceleration, bounds.jerk
    if dq + ddq * abs(ddq) / (2 * jerk) < 0:
        return tuple((-j, t) for j, t in stop_phases(-dq, -ddq, bounds))
    peak = sqrt(max(jerk * dq + ddq * ddq / 2, 0.0))
    steady_s = 0.0
    if peak > limit:
        peak = limit
        steady_s = (dq + ddq * ddq / (2 * jerk) - limit * limit / jerk) / limit
    return (-jerk, max(0.0, (ddq + peak) / jerk)), (0.0, max(0.0, steady_s)), (jerk, peak / jerk)


def stop_time(dq: float, ddq: float, bounds: Bounds) -> float:
    return sum(duration_s for _, duration_s in stop_phases(dq, ddq, bounds))


def brake(state: State, dt_s: float, bounds: Bounds) -> State:
    """The state after `dt_s` of the quickest stop; exactly at rest once that is over."""
    left_s = dt_s
    for jerk, duration_s in stop_phases(state[1], state[2], bounds):
        if left_s < duration_s:
            return advance(state, jerk, left_s)
        state = advance(state, jerk, duration_s)
        left_s -= duration_s
    return state[0], 0.0, 0.0


def stop_end(dq: float, ddq: float, bounds: Bounds) -> float:
    """How far the quickest stop ends from where it starts, in closed form (the same phases as `stop_phases`)."""
    _, _, _, limit, jerk = bounds
    if dq + ddq * abs(ddq) / (2 * jerk) < 0:
        return -_forward_end(-dq, -ddq, limit, jerk)
    return _forward_end(dq, ddq, limit, jerk)


def _forward_end(dq: float, ddq: float, limit: float, jerk: float) -> float:
    squared = jerk * dq + ddq * ddq / 2
    peak = sqrt(squared) if squared > 0 else 0.0
    steady = 0.0
    if peak > limit:
        peak = limit
        into_s = (ddq + peak) / jerk
        enter = dq + into_s * (ddq - jerk * into_s / 2)
        steady_s = (enter - peak * peak / (2 * jerk)) / peak
        steady = steady_s * (enter - peak * steady_s / 2)
    else:
        into_s = (ddq + peak) / jerk
    return into_s * (dq + into_s * (ddq / 2 - jerk * into_s / 6)) + steady + peak**3 / (6 * jerk * jerk)


def stop(dq: float, ddq: float, bounds: Bounds) -> Stop:
    """The range of the quickest stop, and its highest velocity, in closed form."""
    _, _, _, limit, jerk = bounds
    ramped = dq + ddq * abs(ddq) / (2 * jerk)
    forward = ramped >= 0
    if not forward:
        dq, ddq, ramped = -dq, -ddq, -ramped
    end = _forward_end(dq, ddq, limit, jerk)
    low = 0.0
    if dq < 0:  # it still moves the other way, and turns
        squared = ddq * ddq + 2 * jerk * dq
        turn_s = (ddq - (sqrt(squared) if squared > 0 else 0.0)) / jerk
        low = turn_s * (dq + turn_s * (ddq / 2 - jerk * turn_s / 6))
    high = end if end > 0 else 0.0
    fastest = ramped if ddq > 0 and ramped > -dq else abs(dq)
    return Stop(low, high, fastest) if forward else Stop(-high, -low, fastest)


def widened(state: State, bounds: Bounds) -> Bounds:
    """The limits, or what a stop from here must use of them if it lies beyond: from there it may only come back."""
    q, dq, ddq = state
    way = stop(dq, ddq, bounds)
    return Bounds(
        min(bounds.lower, q + way.low),
        max(bounds.upper, q + way.high),
        max(bounds.velocity, way.fastest),
        bounds.acceleration,
        bounds.jerk,
    )


def is_safe(state: State, bounds: Bounds) -> bool:
    """Whether the joint, stopped from here as quickly as it can, keeps within the limits throughout."""
    q, dq, ddq = state
    lower, upper, velocity, limit, jerk = bounds
    if abs(ddq) > limit + _SLACK:
        return False
    speed = abs(dq) + ddq * ddq / (2 * jerk)
    room = speed * (1.5 * limit / jerk + speed / (2 * limit))  # more than any stop from here takes
    if speed <= velocity and lower + room <= q <= upper - room:
        return True
    way = stop(dq, ddq, bounds)
    return (
        q + way.high <= bounds.upper + _SLACK
        and q + way.low >= bounds.lower - _SLACK
        and way.fastest <= bounds.velocity + _SLACK
    )


def follow(state: State, q: float, arrive: float, chase: float, dt_s: float, bounds: Bounds) -> State:
    """One step of `dt_s` towards q, which is where the target is at the end of the step. Any finite q will do.

    Lands there exactly, with velocity `arrive`, if the limits let it; else comes as near as they let it, on a path that
    meets the target's position and the velocity `chase` together; else goes on along the stop. `bounds` must hold the
    state (`widened` sees to that).
    """
    after = landing(state, q, arrive, dt_s, bounds)
    if after is not None:
        return after
    near = min(max(q, bounds.lower), bounds.upper)
    back, ahead = stopping_speed(near - bounds.lower, bounds), stopping_speed(bounds.upper - near, bounds)
    chase = min(max(chase, -back), ahead)
    if near != q or chase != arrive:
        after = landing(state, near, chase, dt_s, bounds)
    if after is None:
        after = glide(state, near, chase, dt_s, bounds)
    if after is None:
        after = approach(state, near, chase, dt_s, bounds)
    return brake(state, dt_s, bounds) if after is None else after


def landing(state: State, q: float, dq: float, dt_s: float, bounds: Bounds) -> State | None:
    """Reaches (q, dq) in one step by three equal phases of the least jerk (sum of squares), or None.

    The acceleration at the end is free. Repeated on a smooth target, an error of acceleration shrinks to a third with
    each step, as for the quintic of least ∫jerk² (its continuous kin), so this does not ring.
    """
    third_s = dt_s / 3
    q0, dq0, ddq0 = state
    gain = (dq - dq0 - ddq0 * dt_s) / (third_s * third_s)
    way = (q - q0 - dt_s * (dq0 + ddq0 * dt_s / 2)) / third_s**3
    # Least-norm solution of  19/6 a + 7/6 b + 1/6 c = way,  5/2 a + 3/2 b + 1/2 c = gain
    along, turn = _LEAST[0] * way + _LEAST[1] * gain, _LEAST[1] * way + _LEAST[2] * gain
    limit = bounds.jerk
    jerks = (
        19 / 6 * along + 5 / 2 * turn,
        7 / 6 * along + 3 / 2 * turn,
        1 / 6 * along + 1 / 2 * turn,
    )
    if not (-limit <= jerks[0] <= limit and -limit <= jerks[1] <= limit and -limit <= jerks[2] <= limit):
        return None
    ddq1 = ddq0
    dq1 = dq0
    for jerk in jerks:
        ddq2 = ddq1 + jerk * third_s
        if abs(ddq2) > bounds.acceleration:
            return None
        if ddq1 * ddq2 < 0 and abs(dq1 - ddq1 * ddq1 / (2 * jerk)) > bounds.velocity:
            return None
        dq1 += third_s * (ddq1 + ddq2) / 2
        if abs(dq1) > bounds.velocity + _SLACK:
            return None
        ddq1 = ddq2
    if abs(ddq1) < _SETTLED:
        ddq1 = 0.0
    after = (q, dq, ddq1)
    return after if is_safe(after, bounds) else None


def _least_norm() -> tuple[float, float, float]:
    """(M Mᵀ)⁻¹ of the two rows in `landing`, as (xx, xy, yy)."""
    xx = (19 * 19 + 7 * 7 + 1) / 36
    xy = (19 * 5 + 7 * 3 + 1) / 12
    yy = (25 + 9 + 1) / 4
    det = xx * yy - xy * xy
    return yy / det, -xy / det, xx / det


_LEAST = _least_norm()


def glide(state: State, q: float, dq: float, dt_s: float, bounds: Bounds) -> State | None:
    """A step of the quickest stop, relative to the target's motion, when that ends on the target; else None.

    Its phases change within a step, which one constant jerk cannot follow: `approach` alone would swing about the
    target for ever, a few µrad to each side.
    """
    relative = (state[0] - (q - dq * dt_s), state[1] - dq, state[2])
    if abs(relative[0] + stop_end(relative[1], relative[2], bounds)) > _ON_TARGET:
        return None
    way = stop(relative[1], relative[2], bounds)
    if abs(dq) + way.fastest > bounds.velocity:
        return None
    left, dq1, ddq1 = brake(relative, dt_s, bounds)
    after = (q + left, dq + dq1, ddq1)
    return after if is_safe(after, bounds) else None


def approach(state: State, q: float, dq: float, dt_s: float, bounds: Bounds) -> State | None:
    """A step of constant jerk after which the quickest stop, relative to the target's motion, ends on the target.

    When no jerk does, the nearest one within the limits. None when no constant jerk is safe.
    """
    low, high = jerk_range(state, dt_s, bounds)
    if low > high:
        return None
    q = min(max(q, bounds.lower + _ON_TARGET), bounds.upper - _ON_TARGET)

    def miss(jerk: float) -> float:
        q1, dq1, ddq1 = advance(state, jerk, dt_s)
        return q1 - q + stop_end(dq1 - dq, ddq1, bounds)

    jerk = rising_root(miss, low, high)
    after = advance(state, jerk, dt_s)
    if is_safe(after, bounds):
        return after
    too_far = after[0] + stop_end(after[1], after[2], bounds) > (bounds.lower + bounds.upper) / 2
    safe, unsafe = (low, jerk) if too_far else (high, jerk)
    best = advance(state, safe, dt_s)
    if not is_safe(best, bounds):
        return None
    for _ in range(_HALVINGS):
        middle = (safe + unsafe) / 2
        after = advance(state, middle, dt_s)
        if is_safe(after, bounds):
            safe, best = middle, after
        else:
            unsafe = middle
    return best


def jerk_range(state: State, dt_s: float, bounds: Bounds) -> tuple[float, float]:
    """The constant jerks over `dt_s` that keep jerk, acceleration and velocity within limits (empty: low > high)."""
    _, dq, ddq = state
    high = min(bounds.jerk, (bounds.acceleration - ddq) / dt_s, _fastest_jerk(dq, ddq, dt_s, bounds))
    low = max(-bounds.jerk, (-bounds.acceleration - ddq) / dt_s, -_fastest_jerk(-dq, -ddq, dt_s, bounds))
    return low, high


def _fastest_jerk(dq: float, ddq: float, dt_s: float, bounds: Bounds) -> float:
    """The highest jerk after which the velocity, with acceleration then ramped to zero, peaks at the limit."""
    levelling = -ddq / dt_s  # with this jerk the acceleration is zero at the end
    if dq + ddq * dt_s / 2 > bounds.velocity:  # so with the one that is sought it passes zero inside the step
        room = bounds.velocity - dq
        return min(levelling, -ddq * ddq / (2 * room)) if ddq > 0 and room > 0 else -inf
    # It ends at zero or above, and the peak is at the end of the ramp: square / 2 · jerk² + slope · jerk + rest = 0.
    square = dt_s * dt_s / bounds.jerk
    slope = dt_s * dt_s / 2 + ddq * dt_s / bounds.jerk
    rest = dq + ddq * dt_s + ddq * ddq / (2 * bounds.jerk) - bounds.velocity
    root = sqrt(max(0.0, slope * slope - 2 * square * rest))
    jerk = -2 * rest / (root + slope) if slope > 0 else (root - slope) / square
    return max(levelling, jerk)


def rising_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes zero, or the end that is nearer to it.

    Regula falsi (Illinois variant); a step that does not halve the interval is followed by one that does.
    """
    at_low, at_high = function(low), function(high)
    if at_low >= 0:
        return low
    if at_high <= 0:
        return high
    halve = False
    for _ in range(_ROOT_STEPS):
        width = high - low
        middle = (low + high) / 2 if halve else high - at_high * width / (at_high - at_low)
        value = function(middle)
        if abs(value) < _ON_TARGET:
            return middle
        if value > 0:
            high, at_high, at_low = middle, value, at_low / 2
        else:
            low, at_low, at_high = middle, value, at_high / 2
        halve = high - low > width / 2
    return (low + high) / 2


def stopping_speed(room: float, bounds: Bounds) -> float:
    """The highest velocity (with no acceleration) from which the joint stops within `room`."""
    if room <= 0:
        return 0.0
    limit, jerk = bounds.acceleration, bounds.jerk
    gentle = (room * room * jerk) ** (1 / 3)  # no steady phase: room = dq·sqrt(dq / jerk)
    if gentle <= limit * limit / jerk:
        return min(gentle, bounds.velocity)
    half = limit * limit / (2 * jerk)  # room = dq²/(2 limit) + dq·limit/(2 jerk)
    return min(sqrt(half * half + 2 * limit * room) - half, bounds.velocity)
