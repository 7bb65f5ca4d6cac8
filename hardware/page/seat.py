"""Who of all that look at the page may drive the robot: one at a time, and everybody sees who. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seated:
    """`asking`: who wants the seat; the one in it is asked to hand over."""

    holder: int | None = None
    asking: tuple[int, ...] = ()


class Seat:
    """Numbers are connections. One thread."""

    def __init__(self) -> None:
        self.now = Seated()

    def ask(self, who: int, is_holder_silent: bool = False) -> bool:
        """True when the seat is now theirs: it was free, or the one in it says nothing any more."""
        if self.now.holder is None or self.now.holder == who or is_holder_silent:
            self._give(who)
            return True
        if who not in self.now.asking:
            self.now = Seated(self.now.holder, (*self.now.asking, who))
        return False

    def hand_over(self, who: int, to: int) -> bool:
        """By the holder, to one that asked."""
        if self.now.holder != who or to not in self.now.asking:
            return False
        self._give(to)
        return True

    def keep(self, who: int) -> None:
        """The holder turns down all that asked."""
        if self.now.holder == who:
            self.now = Seated(who)

    def leave(self, who: int) -> bool:
        """Also by one whose connection ended; True when they held it. It stays free: nobody drives by surprise."""
        asking = tuple(other for other in self.now.asking if other != who)
        was_holder = self.now.holder == who
        self.now = Seated(None if was_holder else self.now.holder, asking)
        return was_holder

    def _give(self, who: int) -> None:
        self.now = Seated(who, tuple(other for other in self.now.asking if other != who))
