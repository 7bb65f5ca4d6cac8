"""When an episode in a twin counts as a success: measured from poses and contact, for a twin knows no task.

The limits are those of the bench's tasks, so that twin and bench mean the same by a success.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import PositiveFloat

from hardware.bench.plant_config import TaskName
from hardware.bench.tasks import peg_insertion, pick_place
from hardware.config import Config
from hardware.errors import BadInput

FAR_M = 0.3
"""From the goal: there progress begins."""


class Outcome(Config):
    """When the object counts as delivered, measured in the goal's frame (z up, origin on the table)."""

    half_m: PositiveFloat
    """Its centre is at most so far off in x and in y."""
    height_m: PositiveFloat
    """And at most so high."""
    upright_rad: PositiveFloat = math.pi
    """And its z leans so far from the vertical at most."""
    still_m_s: PositiveFloat | None = None
    """And it moves no faster along any axis. None: however fast."""
    let_go: bool = False
    """And the robot touches nothing."""


OUTCOMES: dict[TaskName, Outcome] = {
    "pick_place": Outcome(
        half_m=pick_place.TRAY_HALF_M - pick_place.WALL_M - pick_place.BLOCK_M / 2 + 0.004,
        height_m=pick_place.FLOOR_M + 0.75 * pick_place.BLOCK_M,
        still_m_s=0.02,
        let_go=True,
    ),
    "peg_insertion": Outcome(
        half_m=2 * peg_insertion.ROOM_M,
        height_m=peg_insertion.PEG_M[2] / 2 + peg_insertion.LEFT_OUT_M,
        upright_rad=peg_insertion.UPRIGHT_RAD,
    ),
}


def outcome_of(task: TaskName) -> Outcome:
    """Raises `BadInput` for a task whose outcome poses do not show."""
    if task not in OUTCOMES:
        raise BadInput(f"a twin cannot tell when '{task}' is done; it can for: {', '.join(OUTCOMES)}")
    return OUTCOMES[task]


def nearness(away_m: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    """Progress before success: 0 from `FAR_M` of the goal on, 0.99 at it."""
    return np.clip(1 - away_m / FAR_M, 0.0, 0.99)


def delivered(
    Ts_goal_object: Float[ndarray, "N 4 4"],
    speed_m_s: Float[ndarray, "N 3"],
    touching: Bool[ndarray, " N"],
    outcome: Outcome,
) -> Bool[ndarray, " N"]:
    """In the goal's box, as upright, as still and as free as is asked."""
    at = Ts_goal_object[:, :3, 3]
    inside = (np.abs(at[:, :2]).max(axis=1) <= outcome.half_m) & (at[:, 2] <= outcome.height_m)
    upright = Ts_goal_object[:, 2, 2] >= math.cos(outcome.upright_rad)
    still = np.abs(speed_m_s).max(axis=1) < (math.inf if outcome.still_m_s is None else outcome.still_m_s)
    return inside & upright & still & ~(touching & outcome.let_go)
