"""What a person in charge has commanded lately: commands in, their velocity and their age out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.execution.command import ExecutorConfig, Refusal
from hardware.messages import NANOSECONDS_PER_SECOND

_WINDOW_NS = 60_000_000  # velocity is taken over this time, so that one late stamp does not make it leap
_REMEMBERED = 32


@dataclass(frozen=True, eq=False)
class HandCommand:
    """Where the columns are to be; NaN for a gripper that was not commanded."""

    stamp_ns: int
    values: Float[ndarray, " D"]
    speeds: Float[ndarray, " D"] | None = None
    """Where the sender knows how fast the values move."""


class Hand:
    """One thread. Columns marked `gripper` are given no velocity."""

    def __init__(self, config: ExecutorConfig, gripper: Bool[ndarray, " D"]) -> None:
        self._config = config
        self._gripper = gripper
        self._history: deque[HandCommand] = deque(maxlen=_REMEMBERED)

    def clear(self) -> None:
        self._history.clear()

    def untimely(self, command: HandCommand, now_ns: int) -> Refusal | None:
        if command.stamp_ns > now_ns + self._config.ahead_s * NANOSECONDS_PER_SECOND:
            return "clock"
        if now_ns - command.stamp_ns >= self._config.stale_human_s * NANOSECONDS_PER_SECOND:
            return "stale"
        if self._history and command.stamp_ns <= self._history[-1].stamp_ns:
            return "older"
        return None

    def moved(self, command: HandCommand) -> None:
        self._history.append(command)

    def speed(self, away: Float[ndarray, " D"]) -> Float[ndarray, " D"]:
        """Of the newest command, or of the recent ones where it tells none; no higher than the config allows.

        Zero also where the arm is still so far `away` that it cannot be there soon: a hand that leapt is no motion.
        """
        newest = self._history[-1]
        oldest = next(c for c in self._history if newest.stamp_ns - c.stamp_ns <= _WINDOW_NS)
        highest = self._config.human_speed_rad_s
        if oldest is newest or np.abs(away[~self._gripper]).max(initial=0.0) > highest * self._config.reach_s:
            return np.zeros_like(newest.values)
        passed_s = (newest.stamp_ns - oldest.stamp_ns) / NANOSECONDS_PER_SECOND
        known = newest.speeds
        speed = (newest.values - oldest.values) / passed_s if known is None else known
        speed = np.where(self._gripper, 0.0, speed)
        return np.clip(speed, -highest, highest)
