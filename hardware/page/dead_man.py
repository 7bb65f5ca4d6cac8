"""A person's heartbeats → whether the arm may move for them now. Pure: the caller tells the time.

A browser that shows this page sends a heartbeat while a key is held. Each names the newest pulse of the server that had
arrived, and how long before: the time that is left is the round trip, waiting in any queue included. So a heartbeat
that comes late, from a link that lags, or from a page that does not see the robot any more, is told without comparing
clocks. What was late is dropped and never made up for, and after it, as after silence, keys must be let go first.

The arm comes to rest because fresh commands cease (`ExecutorConfig.stale_human_s`), not because anything is sent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import Field

from hardware.config import Config
from hardware.messages import NANOSECONDS_PER_SECOND

Verdict = Literal["moves", "rests", "late", "older", "let_go_first"]
"""moves: a key is held, and all is well. late: the link lags, or the page saw an old picture of the robot."""


class DeadManConfig(Config):
    """The executor begins to stop 0.09 s after the newest command; these may be longer, as they guard what follows."""

    longest_trip_s: float = Field(default=0.12, gt=0)
    """Round trip of a heartbeat. A person who sees the arm later than this cannot guide it."""
    longest_since_s: float = Field(default=0.25, gt=0)
    """Since the newest pulse reached the page; they come every 0.04 s."""
    silent_s: float = Field(default=0.2, gt=0)
    """After a longer pause of the heartbeats keys must be let go first."""


class Pulses:
    """When the newest pulses were sent, by number."""

    def __init__(self, remembered: int = 256) -> None:
        self._sent_ns: OrderedDict[int, int] = OrderedDict()
        self._remembered = remembered
        self.newest = 0

    def send(self, now_ns: int) -> int:
        """The number of the pulse that leaves now."""
        self.newest += 1
        self._sent_ns[self.newest] = now_ns
        if len(self._sent_ns) > self._remembered:
            self._sent_ns.popitem(last=False)
        return self.newest

    def sent_ns(self, number: int) -> int | None:
        """None: never sent, or too long ago."""
        return self._sent_ns.get(number)


class DeadMan:
    """Of one connection. One thread."""

    def __init__(self, pulses: Pulses, config: DeadManConfig | None = None) -> None:
        self.config = config or DeadManConfig()
        self.trip_s: float | None = None
        """Of the newest heartbeat; None: it named no pulse that is known."""
        self.dropped = 0
        """Heartbeats with a held key that moved nothing."""
        self._pulses = pulses
        self._sequence = -1
        self._heard_ns: int | None = None
        self._must_let_go = True

    def hear(self, now_ns: int, sequence: int, echo: int, since_s: float, is_held: bool) -> Verdict:
        """`echo`: number of the newest pulse that had arrived `since_s` before the heartbeat was sent."""
        verdict = self._judged(now_ns, sequence, echo, since_s, is_held)
        if is_held and verdict != "moves":
            self.dropped += 1
        return verdict

    def distrust(self) -> None:
        """Keys must be let go before anything moves again: another person is in control, or the arm was stopped."""
        self._must_let_go = True

    def silent_for_s(self, now_ns: int) -> float:
        """Since the newest heartbeat; infinite before the first."""
        if self._heard_ns is None:
            return float("inf")
        return (now_ns - self._heard_ns) / NANOSECONDS_PER_SECOND

    def _judged(self, now_ns: int, sequence: int, echo: int, since_s: float, is_held: bool) -> Verdict:
        if sequence <= self._sequence:
            return "older"
        was_silent = self.silent_for_s(now_ns) > self.config.silent_s
        self._sequence, self._heard_ns = sequence, now_ns
        sent_ns = self._pulses.sent_ns(echo)
        self.trip_s = None if sent_ns is None else (now_ns - sent_ns) / NANOSECONDS_PER_SECOND - since_s
        is_late = (
            self.trip_s is None
            or self.trip_s > self.config.longest_trip_s
            or not 0 <= since_s <= self.config.longest_since_s
        )
        if not is_held:
            self._must_let_go = self._must_let_go and is_late
            return "late" if is_late else "rests"
        if is_late:
            self._must_let_go = True
            return "late"
        if self._must_let_go or was_silent:
            self._must_let_go = True
            return "let_go_first"
        return "moves"
