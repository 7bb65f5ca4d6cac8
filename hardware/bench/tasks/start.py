"""Where a task may start: poses of its object on the table, and the regions they are drawn from."""

from __future__ import annotations

from typing import Literal

from numpy.random import Generator
from pydantic import model_validator

from hardware.config import Config

Distribution = Literal["id", "ood"]
"""Inside the starts that the demonstrations cover, or outside them."""


class TaskStart(Config):
    """How the task's object stands on the table at the start, in the arm's base frame."""

    x_m: float
    y_m: float
    yaw_rad: float


class StartRegion(Config):
    """A box of starts: every centre and yaw in it may occur, all alike."""

    name: str
    lower_m: tuple[float, float]
    upper_m: tuple[float, float]
    yaw_rad: tuple[float, float]

    @model_validator(mode="after")
    def _is_a_box(self) -> StartRegion:
        pairs = (*zip(self.lower_m, self.upper_m, strict=True), self.yaw_rad)
        if not all(low <= high for low, high in pairs):
            raise ValueError(f"region '{self.name}': each lower end must be below its upper end, got {pairs}")
        return self

    @property
    def area_m2(self) -> float:
        return (self.upper_m[0] - self.lower_m[0]) * (self.upper_m[1] - self.lower_m[1])

    def draw(self, rng: Generator) -> TaskStart:
        x_m, y_m = rng.uniform(self.lower_m, self.upper_m).tolist()
        return TaskStart(x_m=x_m, y_m=y_m, yaw_rad=float(rng.uniform(*self.yaw_rad)))

    def contains(self, start: TaskStart) -> bool:
        return (
            self.lower_m[0] <= start.x_m <= self.upper_m[0]
            and self.lower_m[1] <= start.y_m <= self.upper_m[1]
            and self.yaw_rad[0] <= start.yaw_rad <= self.yaw_rad[1]
        )
