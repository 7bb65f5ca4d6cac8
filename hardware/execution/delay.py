"""How late chunks are, counted in control steps that were really executed, not in time: stamps in, steps out.

A step is what a policy can plan with: a loop that paused, or slipped a deadline, has executed fewer steps than the
clock says. The first chunks after a start are left out of the estimate, since they wait for compilers and caches.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from math import ceil

_REMEMBERED_STEPS = 1000  # 10 s at 100 Hz; a chunk that is later than that is refused long before


class ExecutedDelay:
    """A running quantile of the delay, robust against a single slow chunk. One thread."""

    def __init__(self, quantile: float, window: int, cold_chunks: int) -> None:
        self._quantile = quantile
        self._cold_chunks = cold_chunks
        self._steps_ns: deque[int] = deque(maxlen=_REMEMBERED_STEPS)
        self._delays: deque[int] = deque(maxlen=window)
        self._cold = cold_chunks

    def restart(self) -> None:
        """Forgets the steps (their stamps may be of another clock), and counts the next chunks as cold."""
        self._steps_ns.clear()
        self._cold = self._cold_chunks

    def executed(self, stamp_ns: int) -> None:
        """A control step was executed; stamps increase."""
        self._steps_ns.append(stamp_ns)

    def since(self, observation_ns: int) -> int:
        """Steps executed after the observation was made."""
        return sum(1 for _ in takewhile(lambda stamp_ns: stamp_ns > observation_ns, reversed(self._steps_ns)))

    def arrived(self, observation_ns: int) -> int:
        """Notes the delay of a chunk that arrives now, and returns it in steps."""
        steps = self.since(observation_ns)
        if self._cold:
            self._cold -= 1
        else:
            self._delays.append(steps)
        return steps

    @property
    def steps(self) -> int | None:
        """The delay to plan with: the smallest that `quantile` of the recent chunks did not exceed; None at first."""
        delays = sorted(self._delays)
        return delays[ceil(self._quantile * len(delays)) - 1] if delays else None
