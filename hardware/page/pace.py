"""How often a browser may speak: a flood is cut off, not queued."""

from __future__ import annotations

import time


class Pace:
    """Counts a connection's messages, second by second."""

    def __init__(self, most_per_second: int) -> None:
        self._most = most_per_second
        self._since_s, self._heard = time.monotonic(), 0

    def exceeded(self) -> bool:
        """One more message has come: whether that is too many for its second."""
        now_s = time.monotonic()
        if now_s - self._since_s > 1:
            self._since_s, self._heard = now_s, 0
        self._heard += 1
        return self._heard > self._most
