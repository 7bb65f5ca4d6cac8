"""Where one motion is handed over to another: the commands around it go in, how far it jumped and jerked comes out.

Measured on the commands as they were issued, not on the paths that were meant. A jump is the distance of a command
from where the one before it was heading at constant acceleration; that of a continuous motion is its jerk · dt³ / 6.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.execution.path import Moment
from hardware.messages import NANOSECONDS_PER_SECOND

SeamKind = Literal[
    "chunk", "dry", "stale_chunk", "take_over", "stale_human", "give_back", "emergency_stop", "clock", "hold"
]
"""What was joined: a new chunk; the stop after a chunk's end or age; a person taking over, silent, giving back; …"""


@dataclass(frozen=True)
class Seam:
    """One hand-over, per joint. Complete when the blend is over, or the next seam begins."""

    kind: SeamKind
    stamp_ns: int
    duration_s: float
    """Of the blend as planned; a later seam may have cut it short."""
    gap_rad: tuple[float, ...]
    """From the running motion to the new one as it came: what a switch without blending would have jumped."""
    position_jump_rad: tuple[float, ...]
    velocity_jump_rad_s: tuple[float, ...]
    jerk_rad_s3: tuple[float, ...]
    """The highest between two commands."""
    delay_steps: int | None = None
    """Executed steps from the observation to the arrival of the chunk."""
    dropped_rows: int | None = None
    """Rows of the chunk that were past when it could begin."""

    def as_record(self) -> dict[str, object]:
        """For a log in JSON, with the largest joint of each beside the joints."""
        record: dict[str, object] = asdict(self)
        for name in ("gap_rad", "position_jump_rad", "velocity_jump_rad_s", "jerk_rad_s3"):
            record[f"max_{name}"] = max(getattr(self, name), default=0.0)
        return record


class SeamMeter:
    """Watches the commands while a seam is open. `joints` is how many leading columns are joints."""

    def __init__(self, joints: int) -> None:
        self._joints = joints
        self._open: Seam | None = None
        self._ends_ns = 0
        self._peaks = np.zeros((3, joints))
        self._before: tuple[int, Moment] | None = None
        self._complete: deque[Seam] = deque(maxlen=100)

    def restart(self, stamp_ns: int, moment: Moment) -> None:
        self._close()
        self._before = (stamp_ns, moment)

    def begin(
        self,
        kind: SeamKind,
        stamp_ns: int,
        duration_s: float,
        gap: Float[ndarray, " D"],
        delay_steps: int | None = None,
        dropped_rows: int | None = None,
    ) -> None:
        """Opens a seam, and completes the one that it cuts short, if any."""
        self._close()
        nothing = (0.0,) * self._joints
        gap_rad = tuple(np.abs(gap[: self._joints]).tolist())
        self._open = Seam(kind, stamp_ns, duration_s, gap_rad, nothing, nothing, nothing, delay_steps, dropped_rows)
        self._ends_ns = stamp_ns + round(duration_s * NANOSECONDS_PER_SECOND)
        self._peaks = np.zeros((3, self._joints))

    def add(self, stamp_ns: int, moment: Moment) -> None:
        """One issued command."""
        before, self._before = self._before, (stamp_ns, moment)
        if self._open is None or before is None or stamp_ns <= before[0]:
            return
        self._peaks = np.maximum(self._peaks, self._differences(*before, stamp_ns, moment))
        if before[0] >= self._ends_ns:
            self._close()

    def complete(self) -> Seam | None:
        """The oldest completed seam not yet taken."""
        return self._complete.popleft() if self._complete else None

    def _differences(self, before_ns: int, before: Moment, stamp_ns: int, moment: Moment) -> Float[ndarray, "3 J"]:
        dt_s = (stamp_ns - before_ns) / NANOSECONDS_PER_SECOND
        q, dq, ddq = (values[: self._joints] for values in before)
        position = moment.q[: self._joints] - (q + dt_s * (dq + dt_s * ddq / 2))
        velocity = moment.dq[: self._joints] - (dq + dt_s * ddq)
        jerk = (moment.ddq[: self._joints] - ddq) / dt_s
        return np.abs(np.stack([position, velocity, jerk]))

    def _close(self) -> None:
        seam, self._open = self._open, None
        if seam is not None:
            position, velocity, jerk = (tuple(values) for values in self._peaks.tolist())
            self._complete.append(
                replace(seam, position_jump_rad=position, velocity_jump_rad_s=velocity, jerk_rad_s3=jerk)
            )
