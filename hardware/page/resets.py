"""How the session's resets went: one line each in `resets.jsonl` of the run folder; counts of them for the page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config

RESETS = "resets.jsonl"
How = Literal["placed", "unseen", "off", "skipped", "unreachable"]
"""The episode began with the object in place, not seen, or seen elsewhere; or the start was left out, and why."""


class Reset(Config):
    """One start of the plan, done with."""

    episode: int
    start: TaskStart
    how: How
    found: TaskStart | None = None
    """Where the object stood by vision when the episode began."""
    away_m: float | None = None
    turn_rad: float | None = None


class ResetLog:
    """One thread. Goes on behind what an earlier process wrote; `run` None keeps nothing."""

    def __init__(self, run: Path | None = None) -> None:
        self._file = None if run is None else run / RESETS
        self._latest: dict[int, Reset] = {}
        for line in self._lines():
            one = Reset.model_validate_json(line)
            self._latest[one.episode] = one

    def add(self, reset: Reset) -> None:
        self._latest[reset.episode] = reset
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(reset.model_dump_json() + "\n")

    def counts(self) -> dict[str, int]:
        """By how; the newest line of an episode counts."""
        return dict(Counter(one.how for one in self._latest.values()))

    def _lines(self) -> list[str]:
        if self._file is None or not self._file.is_file():
            return []
        text = self._file.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()  # a kill may have cut the last one off
