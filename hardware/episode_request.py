"""What a person asks of the conductor: begin an episode, leave its start out, or end it with a verdict."""

from __future__ import annotations

import threading
from typing import Literal

from hardware.config import Config

What = Literal["start", "skip", "stop", "success", "failure", "discard"]
VERDICTS: dict[What, bool | None] = {"success": True, "failure": False, "stop": None, "discard": None}


class EpisodeRequest(Config):
    """`skip` leaves the next start out; `stop` keeps the episode without a label; `discard` throws it away."""

    what: What


class Requests:
    """The newest request, handed from the thread that hears it to the one that conducts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: What | None = None

    def put(self, request: EpisodeRequest) -> None:
        with self._changed:
            self._newest = request.what
            self._changed.notify_all()

    def take(self) -> What | None:
        """The newest not yet taken."""
        with self._changed:
            newest, self._newest = self._newest, None
            return newest

    def wait(self, timeout_s: float) -> What | None:
        """The next one, within the time."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None, timeout_s)
        return self.take()
