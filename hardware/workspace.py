"""Where the tool may be, and how close the links may come: joint angles or a stop in; depths beyond limits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isnan
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import model_validator

from hardware import joint_motion
from hardware.config import Config
from hardware.errors import BadInput
from hardware.joint_motion import Bounds, State

Metres = tuple[float, float, float]


class WorkspaceBox(Config):
    """An upright box in the arm's base frame that the tool's points stay in."""

    lower_m: Metres
    upper_m: Metres

    @model_validator(mode="after")
    def _is_a_box(self) -> WorkspaceBox:
        if not all(low < high for low, high in zip(self.lower_m, self.upper_m, strict=True)):
            raise ValueError(f"lower_m {self.lower_m} must be below upper_m {self.upper_m} on every axis")
        return self


class Depths(NamedTuple):
    """How far beyond each limit, in metres; negative: how far inside it. −inf: there is no such limit."""

    workspace: float
    table: float
    collision: float

    def excess(self, allowed: Depths) -> float:
        """The furthest beyond `allowed` (or beyond the limit itself, where the allowed depth is inside it)."""
        return max(depth - max(0.0, most) for depth, most in zip(self, allowed, strict=True))


NO_DEPTH = Depths(-inf, -inf, -inf)
FINEST_S = 0.01
"""Between two looks at a stop, 10 ms apart, a joint's 10 rad/s² bulge the way by 10 · 0.01² / 8 rad: 0.12 mm at 1 m."""


def deepest(*depths: Depths) -> Depths:
    return Depths(*(max(column) for column in zip(*depths, strict=True)))


def brake(states: Sequence[State], dt_s: float, bounds: Sequence[Bounds]) -> list[State]:
    """Every joint after `dt_s` of its quickest stop."""
    return [joint_motion.brake(state, dt_s, limits) for state, limits in zip(states, bounds, strict=True)]


def positions(states: Sequence[State]) -> Float[ndarray, " J"]:
    return np.array([state[0] for state in states])


class Workspace:
    """Box, table and self-collision of one arm.

    `tool_points_m(q_rad)` gives points [N, 3] of tool and gripper in the base frame, whatever must not hit the table.
    `clearance_m(q_rad)` gives the least distance between links that must not touch, negative inside each other.
    `lever_m` bounds how far any such point moves per radian of any joint (the arm's reach); it only saves work.
    """

    def __init__(
        self,
        box: WorkspaceBox | None = None,
        table_height_m: float | None = None,
        least_clearance_m: float | None = None,
        tool_points_m: Callable[[ndarray], ndarray] | None = None,
        clearance_m: Callable[[ndarray], float] | None = None,
        lever_m: float = inf,
    ) -> None:
        if (box or table_height_m is not None) and tool_points_m is None:
            raise BadInput(
                "the limits name a workspace or a table, but where the tool is cannot be computed",
                "give the arm's model, or take workspace and table_height_m out of the limits",
            )
        if least_clearance_m is not None and clearance_m is None:
            raise BadInput(
                "the limits name a clearance between links, but it cannot be computed",
                "give the arm's collision model, or take least_clearance_m out of the limits",
            )
        self._box = None if box is None else (np.array(box.lower_m), np.array(box.upper_m))
        self._table_height_m = table_height_m
        self._least_clearance_m = least_clearance_m
        self._tool_points_m = tool_points_m
        self._clearance_m = clearance_m
        self.lever_m = lever_m

    @property
    def is_limited(self) -> bool:
        limits = (self._box, self._table_height_m, self._least_clearance_m)
        return any(limit is not None for limit in limits)

    def depths(self, q_rad: Float[ndarray, " J"]) -> Depths:
        """A model that gives no number gives no permission either: inf."""
        workspace = table = collision = -inf
        if self._tool_points_m is not None and (self._box is not None or self._table_height_m is not None):
            points_m = self._tool_points_m(q_rad)
            if self._box is not None:
                lower_m, upper_m = self._box
                workspace = float(np.maximum(lower_m - points_m, points_m - upper_m).max())
            if self._table_height_m is not None:
                table = float(self._table_height_m - points_m[:, 2].min())
        if self._clearance_m is not None and self._least_clearance_m is not None:
            collision = self._least_clearance_m - float(self._clearance_m(q_rad))
        return Depths(*(inf if isnan(depth) else depth for depth in (workspace, table, collision)))

    def stop_depths(self, states: Sequence[State], bounds: Sequence[Bounds], allowed: Depths) -> Depths:
        """The deepest on the quickest stop from these states, to a tenth of a millimetre or so beyond `allowed`."""
        here = self.depths(positions(states))
        stop_s = max(
            joint_motion.stop_time(dq, ddq, limits) for (_, dq, ddq), limits in zip(states, bounds, strict=True)
        )
        if stop_s == 0.0:
            return here
        rest = brake(states, stop_s, bounds)
        end = self.depths(positions(rest))

        def between(
            early: Sequence[State], first: Depths, late: Sequence[State], last: Depths, dt_s: float
        ) -> Depths:
            """Halves the way, but only where the arm is fast and near enough to be beyond a limit in between."""
            turned = sum(
                dt_s * (max(abs(a[1]), abs(b[1])) + dt_s * limits.acceleration / 2)
                for a, b, limits in zip(early, late, bounds, strict=True)
            )
            nearest = (first.excess(allowed) + last.excess(allowed)) / 2 + self.lever_m * turned
            if dt_s <= FINEST_S or nearest < 0:
                return NO_DEPTH
            middle = brake(early, dt_s / 2, bounds)
            depths = self.depths(positions(middle))
            before = between(early, first, middle, depths, dt_s / 2)
            return deepest(depths, before, between(middle, depths, late, last, dt_s / 2))

        return deepest(here, end, between(states, here, rest, end, stop_s))
