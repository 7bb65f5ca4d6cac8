"""What the executor is set to, what it is told, and what it says each control step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, model_validator

from hardware.config import Config
from hardware.execution.seam import Seam

CommandSource = Literal["policy", "human", "scripted", "hold", "brake"]
"""Who moves the arm; `hold` when nobody does, also while it comes to rest.

brake: the arm is to come to rest as quickly as its limits allow, and stay there, wherever that is. A path for it to
follow would be run past and sought again: what that takes is missing when every tenth of a second counts.
"""
CommandState = Literal["waiting", "running", "dry", "quiet", "emergency_stop"]
"""
waiting         no chunk yet since the start, a give-back, a reset or a clock fault
running         a chunk, or a person, moves the arm
dry             the chunk ended, or aged too much, before the next one came
quiet           a person is in charge and sends nothing
emergency_stop  latched until a person resets it
"""
Intervener = Literal["human", "scripted"]
Refusal = Literal[
    "space",
    "names",
    "order",
    "shape",
    "rate",
    "not_finite",
    "range",
    "clock",
    "stale",
    "past",
    "older",
    "obsolete",
    "not_in_charge",
    "emergency_stop",
    "held",
]
"""
clock     stamped later than now           stale     the observation, or the person's command, is too old
past      no row is due any more           older     something as new or newer has been executed
obsolete  observed before the start, the last give-back or reset: it knows an arm that has been moved since
"""


class ExecutorConfig(Config):
    """How chunks become commands. A stop here is smooth and modest; the limits of the arm stop harder if they must."""

    rate_hz: float = Field(default=100.0, gt=0)
    """Of the control steps."""
    freeze_steps: int = Field(default=2, ge=0)
    """Control steps after a chunk's arrival that are already committed: the running motion goes on unchanged."""
    blend_s: float = Field(default=0.3, gt=0)
    """Over which a new chunk's difference to the running motion fades. Jerk falls with its cube."""
    blend_speed_rad_s: float = Field(default=0.75, gt=0)
    """A greater difference takes longer, so that closing it moves no joint faster than this."""
    stale_chunk_s: float = Field(default=1.5, gt=0)
    """Age of a chunk's observation at which its rows are not executed any more; not above the arm's own limit."""
    stop_s: float = Field(default=0.3, gt=0)
    """From a chunk's end, or age, to rest."""
    reach_s: float = Field(default=0.1, gt=0)
    """Within which the arm follows a person's command."""
    human_speed_rad_s: float = Field(default=1.5, gt=0)
    """The arm goes to a person's command that is further away at up to this speed."""
    stale_human_s: float = Field(default=0.09, gt=0)
    """Age of a person's newest command at which the arm begins to stop."""
    quick_stop_s: float = Field(default=0.09, gt=0)
    """To rest, when a person falls silent and on an emergency stop."""
    stop_acceleration_rad_s2: float = Field(default=math.inf, gt=0)
    stop_jerk_rad_s3: float = Field(default=math.inf, gt=0)
    """A quick stop takes longer than it is told where these would be exceeded, to end near where the arm's does."""
    max_gap_s: float = Field(default=0.1, gt=0)
    """A longer pause between two control steps brings the arm to rest."""
    ahead_s: float = Field(default=0.02, ge=0)
    """How far a stamp may lie in the future before its clock counts as wrong."""
    delay_quantile: float = Field(default=0.9, gt=0, le=1)
    delay_window: int = Field(default=50, ge=1)
    """Chunks that the delay is estimated from."""
    cold_chunks: int = Field(default=1, ge=0)
    """First chunks after a start that are left out of it."""

    @model_validator(mode="after")
    def _stops_a_silent_person_in_time(self) -> ExecutorConfig:
        if self.stale_human_s + self.quick_stop_s + 1 / self.rate_hz > 0.2 + 1e-9:
            raise ValueError("stale_human_s + quick_stop_s + one step must be at most 0.2 s")
        return self

    @property
    def period_ns(self) -> int:
        return round(1e9 / self.rate_hz)


@dataclass(frozen=True, eq=False)
class Command:
    """What the arm is to do at one control step, before the limits."""

    stamp_ns: int
    q_rad: Float[ndarray, " J"]
    dq_rad_s: Float[ndarray, " J"]
    """Of the same motion at the same moment: pass it on, so that the limits need not guess it."""
    ddq_rad_s2: Float[ndarray, " J"]
    gripper_open: float | None
    """0 closed … 1 open; None: the arm has no gripper."""
    source: CommandSource
    state: CommandState
    chunk_stamp_ns: int | None
    """When the observation was made that this step answers; None when it answers none."""
    seam: Seam | None
    """A seam that was completed by this step."""


@dataclass(frozen=True)
class ExecutorStatus:
    """For diagnostics."""

    state: CommandState
    source: CommandSource
    in_charge: Intervener | Literal["policy"]
    emergency_reason: str | None
    delay_steps: int | None
    """Executed steps from an observation to the arrival of its chunk, at `delay_quantile`; None until known."""
    buffered_s: float
    """How long the motion goes on if nothing more arrives."""
    steps: int
    counts: dict[str, int]
    """Refusals, by kind, and faults of the clock (`clock_backwards`, `gap`)."""
