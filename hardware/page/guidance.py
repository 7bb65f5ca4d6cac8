"""The guided reset as it goes: the plan, where vision finds the object, and what became of each start."""

from __future__ import annotations

from typing import Literal

from hardware.bench.tasks.start import TaskStart
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.page.ghost import Guide, Remaining
from hardware.page.resets import How, Reset, ResetLog

FOUND_S = 3.0
"""What vision said longer ago is not shown any more."""
STAGES = ("free", "resetting")
"""Those in which a person puts things in place."""


class Guidance:
    """`guide` None: nothing is asked of the person."""

    def __init__(self, guide: Guide | None = None, resets: ResetLog | None = None) -> None:
        self.found: tuple[int, TaskStart] | None = None
        """When and where vision last found the object; replaced from any thread."""
        self._guide, self._resets = guide, resets or ResetLog()
        self._ghost: tuple[int, dict[str, object] | None] = -1, None

    def pulse(self, stage: str, episode: int, now_ns: int) -> dict[str, object]:
        """Its part of what everybody sees."""
        if self._guide is None:
            return {}
        plan: dict[str, object] = {"plan": {"total": len(self._guide.starts), **self._resets.counts()}}
        if stage in STAGES:
            left = self.remaining(episode, now_ns)
            plan |= {"ghost": self._ghost_of(episode, self._guide), "left": left and left.model_dump()}
        return plan

    def wanted(self, episode: int) -> TaskStart | None:
        """Where the object belongs; None: nowhere in particular."""
        return self._guide.starts[episode] if self._guide and episode < len(self._guide.starts) else None

    def seen(self, now_ns: int) -> TaskStart | None:
        """Where the object is; None: it is not seen."""
        if self.found is None or now_ns - self.found[0] > FOUND_S * NANOSECONDS_PER_SECOND:
            return None
        return self.found[1]

    def remaining(self, episode: int, now_ns: int) -> Remaining | None:
        """None: the object is not seen, or nothing is asked for."""
        seen = self.seen(now_ns)
        if self._guide is None or seen is None or self.wanted(episode) is None:
            return None
        return self._guide.remaining(episode, seen)

    def note(self, what: Literal["start", "skip", "unreachable"], episode: int, now_ns: int) -> None:
        """What the person did with this start."""
        wanted = self.wanted(episode)
        if wanted is None:
            return
        left = self.remaining(episode, now_ns)
        began: How = "unseen" if left is None else "placed" if left.is_there else "off"
        hows: dict[str, How] = {"start": began, "skip": "skipped", "unreachable": "unreachable"}
        self._resets.add(
            Reset(
                episode=episode,
                start=wanted,
                how=hows[what],
                found=None if left is None else self.seen(now_ns),
                away_m=None if left is None else left.away_m,
                turn_rad=None if left is None else left.turn_rad,
            )
        )

    def _ghost_of(self, episode: int, guide: Guide) -> dict[str, object] | None:
        if self._ghost[0] != episode:
            ghost = guide.ghost(episode)
            self._ghost = episode, None if ghost is None else ghost.model_dump()
        return self._ghost[1]
