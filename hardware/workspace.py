"""Where the tool may be, and how close the links may come: a joint configuration in, depths beyond the limits out."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import model_validator

from hardware.config import Config
from hardware.errors import BadInput

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


NO_DEPTH = Depths(-inf, -inf, -inf)


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
        return Depths(workspace, table, collision)
