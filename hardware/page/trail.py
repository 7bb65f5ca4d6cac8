"""What was sent to the arm lately, in; the same way back, step by step, out: undo of the last seconds of motion.

Only motion counts: while the arm rests nothing is added. What has been gone back is forgotten, so that letting go and
holding again goes on from there: the arm rolls out a little further, which joins the way. The way ends where the
commands have a gap or a leap: beyond, nobody has gone it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.joy_jog import Wish
from hardware.messages import NANOSECONDS_PER_SECOND

REMEMBERED_S = 30.0
STILL_RAD, STILL_OPEN = 5e-4, 5e-3
"""Smaller changes are rest."""
LEAP_RAD, GAP_S = 0.15, 1.0
"""Commands that came later, or further on, than this do not join on. A busy computer leaves gaps of some tenths."""
EASE_S = 0.25
"""From rest to the speed of the way there."""
LONGEST_STEP_S = 0.1


@dataclass(frozen=True, eq=False)
class Step:
    """One command of the way, and how long the arm was under way to it."""

    stamp_ns: int
    lasted_s: float
    q_rad: Float[ndarray, " J"]
    gripper_open: float | None


class Trail:
    """Any thread adds; one thread goes back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[Step] = deque()
        self._seconds = 0.0
        self._goes_back = False
        self._moved_ns: int | None = None
        self._pace = 0.0
        self._at: Wish | None = None

    @property
    def seconds(self) -> float:
        """Of motion that can be undone."""
        return self._seconds

    def add(self, stamp_ns: int, q_rad: Float[ndarray, " J"], gripper_open: float | None) -> None:
        """Commands in their order; while going back they are left out."""
        with self._lock:
            if self._goes_back:
                return
            step = Step(stamp_ns, 0.0, q_rad.copy(), gripper_open)
            if self._steps:
                last = self._steps[-1]
                passed_s = (stamp_ns - last.stamp_ns) / NANOSECONDS_PER_SECOND
                if passed_s <= 0:
                    return  # sent before the person let go, and heard after
                if _is_still(last, step):
                    self._steps[-1] = replace(last, stamp_ns=stamp_ns)
                    return
                if np.abs(q_rad - last.q_rad).max() > LEAP_RAD or passed_s > GAP_S:
                    self._forget()
                else:
                    step = Step(stamp_ns, passed_s, step.q_rad, gripper_open)
            self._steps.append(step)
            self._seconds += step.lasted_s
            while self._seconds > REMEMBERED_S:
                self._steps.popleft()
                self._seconds -= self._steps[0].lasted_s
                self._steps[0] = replace(self._steps[0], lasted_s=0.0)

    def back(self, now_ns: int, speed: float) -> Wish | None:
        """Where the way back is at `now_ns`, at `speed` 0 … 1 of the way there. None: nothing is left to undo."""
        with self._lock:
            if not self._goes_back:
                self._goes_back, self._moved_ns, self._pace, self._at = True, None, 0.0, None
            passed_s = 0.02 if self._moved_ns is None else (now_ns - self._moved_ns) / NANOSECONDS_PER_SECOND
            dt_s = min(max(passed_s, 0.0), LONGEST_STEP_S)
            self._moved_ns = now_ns
            if not self._steps:
                return None
            self._pace += min(max(speed - self._pace, -dt_s / EASE_S), dt_s / EASE_S)
            before = self._at or Wish(self._steps[-1].q_rad, self._steps[-1].gripper_open)
            at = self._gone_back(dt_s * self._pace)
            velocity = (at.q_rad - before.q_rad) / dt_s if dt_s > 0 else np.zeros_like(at.q_rad)
            self._at = Wish(at.q_rad, at.gripper_open, velocity)
            return self._at if len(self._steps) > 1 else None

    def rest(self) -> None:
        """The person has let go: from here on commands are added again."""
        with self._lock:
            if self._goes_back and self._steps and self._moved_ns is not None:
                self._steps[-1] = replace(self._steps[-1], stamp_ns=self._moved_ns)
            self._goes_back, self._at = False, None

    def forget(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._steps.clear()
        self._seconds, self._at = 0.0, None

    def _gone_back(self, way_s: float) -> Wish:
        """Shortens the way by `way_s` and gives its new end."""
        while len(self._steps) > 1 and self._steps[-1].lasted_s <= way_s:
            gone = self._steps.pop()
            way_s -= gone.lasted_s
            self._seconds -= gone.lasted_s
        last = self._steps[-1]
        if len(self._steps) > 1:
            before, share = self._steps[-2], way_s / last.lasted_s
            q_rad = last.q_rad + share * (before.q_rad - last.q_rad)
            opening = last.gripper_open
            if opening is not None and before.gripper_open is not None:
                opening = opening + share * (before.gripper_open - opening)
            last = Step(last.stamp_ns, last.lasted_s - way_s, q_rad, opening)
            self._steps[-1] = last
            self._seconds -= way_s
        return Wish(last.q_rad, last.gripper_open)


def _is_still(last: Step, new: Step) -> bool:
    opens = (
        last.gripper_open is not None
        and new.gripper_open is not None
        and abs(new.gripper_open - last.gripper_open) > STILL_OPEN
    )
    return not opens and bool(np.abs(new.q_rad - last.q_rad).max() < STILL_RAD)
