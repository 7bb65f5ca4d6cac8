"""What the executor moves the arm along, and how a change from one to the next is measured."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from hardware.execution.command import CommandSource, CommandState
from hardware.execution.path import Join, Path
from hardware.execution.seam import SeamKind

ENDED: dict[SeamKind, CommandState] = {"dry": "dry", "stale_chunk": "dry", "stale_human": "quiet"}
"""The state after a plan that ended so."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A motion from `begins_ns`; from `expires_ns` on, a stop takes its place, called `ending`."""

    path: Path | Join
    begins_ns: int
    source: CommandSource
    state: CommandState
    expires_ns: int | None = None
    ending: SeamKind = "dry"
    chunk_stamp_ns: int | None = None


@dataclass(frozen=True, eq=False)
class Handover:
    """What the meter is told when a plan begins."""

    kind: SeamKind
    duration_s: float
    gap: Float[ndarray, " D"]
    delay_steps: int | None = None
    dropped_rows: int | None = None
