"""Where a task's object may start: boxes and drawn polygons of configurations, and the grid of cells over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from numpy.random import Generator
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from hardware.bench.tasks.start import StartRegion, TaskStart
from hardware.config import Config
from hardware.errors import BadInput

PartName = Literal["id", "ood"]
"""Covered by the demonstrations, or not."""
MOST_TRIES = 10_000
_OVERLAP_SAMPLES = 16
"""Per axis: a cell of which no such point lies in the region is left out."""


class Box(StartRegion):
    """Every centre and yaw between the ends, all alike."""

    kind: Literal["box"] = "box"


class Polygon(Config):
    """Every centre inside the outline (corners in order, either way round), every yaw between the ends."""

    kind: Literal["polygon"] = "polygon"
    name: str
    outline_m: tuple[tuple[float, float], ...] = Field(min_length=3)
    yaw_rad: tuple[float, float]

    @model_validator(mode="after")
    def _has_an_inside(self) -> Polygon:
        if self.yaw_rad[0] > self.yaw_rad[1]:
            raise ValueError(f"region '{self.name}': the lower yaw must be below the upper one, got {self.yaw_rad}")
        if self.area_m2 < 1e-8:
            raise ValueError(f"region '{self.name}': the outline encloses nothing")
        return self

    @property
    def area_m2(self) -> float:
        """The shoelace formula."""
        x, y = np.array(self.outline_m).T
        return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)

    @property
    def lower_m(self) -> tuple[float, float]:
        return min(x for x, _ in self.outline_m), min(y for _, y in self.outline_m)

    @property
    def upper_m(self) -> tuple[float, float]:
        return max(x for x, _ in self.outline_m), max(y for _, y in self.outline_m)

    def draw(self, rng: Generator) -> TaskStart:
        for _ in range(MOST_TRIES):
            x_m, y_m = rng.uniform(self.lower_m, self.upper_m).tolist()
            if inside(np.array([[x_m, y_m]]), self.outline_m)[0]:
                return TaskStart(x_m=x_m, y_m=y_m, yaw_rad=float(rng.uniform(*self.yaw_rad)))
        raise BadInput(f"region '{self.name}' is too thin to draw from")

    def contains(self, start: TaskStart) -> bool:
        turned_right = self.yaw_rad[0] <= start.yaw_rad <= self.yaw_rad[1]
        return turned_right and bool(inside(np.array([[start.x_m, start.y_m]]), self.outline_m)[0])


def drawn(corners_m: Sequence[tuple[float, float]], yaw_rad: tuple[float, float]) -> Polygon:
    """What somebody drew. Raises `BadInput` where it encloses nothing."""
    if len(corners_m) < 3:
        raise BadInput(f"a polygon of {len(corners_m)} corners", "--polygon x y x y x y")
    try:
        return Polygon(name="drawn", outline_m=tuple(corners_m), yaw_rad=yaw_rad)
    except ValidationError as error:
        raise BadInput(f"--polygon: {error.errors()[0]['msg']}", "corners in order, in metres") from error


Region = Annotated[Box | Polygon, Field(discriminator="kind")]


class Cell(Config):
    """A small box of starts, cut off at the outline of its region."""

    part: PartName
    region: str
    lower_m: tuple[float, float]
    upper_m: tuple[float, float]
    yaw_rad: tuple[float, float]
    outline_m: tuple[tuple[float, float], ...] = ()
    """Of a drawn region; empty: the whole box belongs to it."""

    @property
    def centre_m(self) -> tuple[float, float]:
        (x0, y0), (x1, y1) = self.lower_m, self.upper_m
        return (x0 + x1) / 2, (y0 + y1) / 2

    def contains(self, start: TaskStart) -> bool:
        box = StartRegion(name=self.region, lower_m=self.lower_m, upper_m=self.upper_m, yaw_rad=self.yaw_rad)
        point = np.array([[start.x_m, start.y_m]])
        return box.contains(start) and (not self.outline_m or bool(inside(point, self.outline_m)[0]))

    def draw(self, rng: Generator) -> TaskStart:
        """Uniform over the cell."""
        for _ in range(MOST_TRIES):
            x_m, y_m = rng.uniform(self.lower_m, self.upper_m).tolist()
            if not self.outline_m or inside(np.array([[x_m, y_m]]), self.outline_m)[0]:
                return TaskStart(x_m=x_m, y_m=y_m, yaw_rad=float(rng.uniform(*self.yaw_rad)))
        raise BadInput(f"a cell of region '{self.region}' is too thin to draw from")


class Fineness(Config):
    """How fine the grid is: no cell is larger."""

    cell_m: PositiveFloat = 0.04
    yaw_cells: PositiveInt = 1
    """How many slices the yaw range is cut into."""


def inside(points: Float[ndarray, "N 2"], outline: Sequence[tuple[float, float]]) -> Bool[ndarray, " N"]:
    """Whether a ray to +x crosses the outline an odd number of times (Jordan)."""
    corners = np.array(outline, float)
    odd = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        spans = (y0 > points[:, 1]) != (y1 > points[:, 1])
        if not spans.any():
            continue
        crossing = x0 + (points[:, 1] - y0) / (y1 - y0) * (x1 - x0)
        odd ^= spans & (points[:, 0] < crossing)
    return odd


def cells(part: PartName, region: Region, fineness: Fineness) -> list[Cell]:
    """The region cut into equal boxes along x, y and yaw; for a polygon, the boxes that overlap it."""
    xs = _cut(region.lower_m[0], region.upper_m[0], fineness.cell_m)
    ys = _cut(region.lower_m[1], region.upper_m[1], fineness.cell_m)
    yaws = np.linspace(*region.yaw_rad, fineness.yaw_cells + 1).tolist()
    outline = region.outline_m if isinstance(region, Polygon) else ()
    made = [
        Cell(part=part, region=region.name, lower_m=(x0, y0), upper_m=(x1, y1), yaw_rad=(a0, a1), outline_m=outline)
        for x0, x1 in pairwise(xs)
        for y0, y1 in pairwise(ys)
        for a0, a1 in pairwise(yaws)
    ]
    return [cell for cell in made if _overlaps(cell)]


def grid(parts: Sequence[tuple[PartName, Region]], fineness: Fineness) -> tuple[Cell, ...]:
    """All regions' cells. Raises `BadInput` where there are none."""
    made = [cell for part, region in parts for cell in cells(part, region, fineness)]
    if not made:
        raise BadInput("the regions have no cell", "give a region with an area, or a smaller cell_m")
    return tuple(made)


def cell_of(start: TaskStart, among: Sequence[Cell]) -> int | None:
    """The first cell that holds a start; None: it lies outside all of them."""
    return next((number for number, cell in enumerate(among) if cell.contains(start)), None)


def _cut(low: float, high: float, largest: float) -> list[float]:
    count = max(1, math.ceil((high - low) / largest - 1e-9))
    return np.linspace(low, high, count + 1).tolist()


def _overlaps(cell: Cell) -> bool:
    if not cell.outline_m:
        return True
    steps = (np.arange(_OVERLAP_SAMPLES) + 0.5) / _OVERLAP_SAMPLES
    (x0, y0), (x1, y1) = cell.lower_m, cell.upper_m
    x, y = np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
    return bool(inside(np.stack([x.ravel(), y.ravel()], axis=1), cell.outline_m).any())
