"""ROS time (the system's clock) ↔ the machine's monotonic clock, at the edge of a node and nowhere else."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time

_SURE_NS = 20_000
_TRIES = 5
_CLOCK_WAS_SET_NS = 1_000_000
_known_ns: list[int] = []


def offset_ns() -> int:
    """System time minus monotonic time: the same until the system's clock is set, so that order is kept."""
    offset = measured_offset_ns()
    if not _known_ns or abs(offset - _known_ns[0]) > _CLOCK_WAS_SET_NS:
        _known_ns[:] = [offset]
    return _known_ns[0]


def measured_offset_ns() -> int:
    best_ns, offset = 2**62, 0
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        system = time.time_ns()
        took = time.monotonic_ns() - before
        if took < best_ns:
            best_ns, offset = took, system - before - took // 2
        if took < _SURE_NS:
            break
    return offset


def to_ros(monotonic_ns: int) -> Time:
    seconds, nanoseconds = divmod(monotonic_ns + offset_ns(), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def from_ros(stamp: Time) -> int:
    """Monotonic nanoseconds of this machine. A stamp of another machine is as good as the two clocks agree."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec - offset_ns()
