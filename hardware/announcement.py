"""What the conductor tells every process of a cell: which episode it is, and whether it runs.

It is one latched message, so a process that starts late or comes back after a crash knows at once where things stand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from hardware.config import Config

RESULTS = "episodes.jsonl"
Stage = Literal["waiting", "free", "resetting", "running", "judged", "finished"]
"""free: no episode, nothing is recorded and no policy acts, but a person may move the arm."""


class Announcement(Config):
    """`since_ns` is when the stage began, on this machine's monotonic clock."""

    stage: Stage = "waiting"
    episode: int = Field(default=0, ge=0)
    task: str = ""
    since_ns: int = 0
    success: bool | None = None
    """Set with `judged`; None: nobody can say, so the episode is kept without a label."""
    is_discarded: bool = False
    """Set with `judged`: a person wants the episode thrown away."""
    backward_by: Literal["policy", "scripted"] | None = None
    """Set while the task is undone, so that it can be tried again: who makes the chunks."""

    @property
    def is_running(self) -> bool:
        return self.stage == "running"

    @property
    def moves(self) -> bool:
        """Whether the arm may be moved."""
        return self.stage in ("free", "running")


class EpisodeResult(Config):
    """One line of the conductor's result file."""

    episode: int
    success: bool | None
    duration_s: float
    began_ns: int


def results(run: Path) -> list[EpisodeResult]:
    """Of the episodes of a run that are over so far."""
    file = run / RESULTS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [EpisodeResult.model_validate_json(line) for line in lines]


def add_result(run: Path, result: EpisodeResult) -> None:
    with (run / RESULTS).open("a", encoding="utf-8") as stream:
        stream.write(result.model_dump_json() + "\n")
