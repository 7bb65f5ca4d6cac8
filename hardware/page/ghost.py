"""Where the object of the next episode belongs, on the live picture of a camera that stands still; and what is left.

A guide file says which starts come, what is placed, and how the camera stands. `Guide.ghost` gives one start's outline,
`Guide.remaining` how far the object that was found must still be moved.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.page.finder import Finder, symmetry_rad
from hardware.page.silhouette import outline, standing
from hardware.spatial import Pose

Matrix = tuple[tuple[float, float, float, float], ...]
Share = tuple[float, float]
"""Of the picture's width and height."""
Level = Annotated[int, Field(ge=0, le=255)]


class Ghost(Config):
    """For the page: the outline in shares of the picture's width and height, and the place in words."""

    camera: str
    outline: tuple[Share, ...]
    words: str
    number: int
    total: int
    has_picture: bool
    """The twin has drawn the object there: `/ghost/NUMBER.png`, to be laid over the whole picture."""


class Remaining(Config):
    """From where the object was found to where it belongs."""

    away_m: float
    turn_rad: float
    """Anticlockwise from above, up to the box's symmetry."""
    is_there: bool
    arrow: tuple[Share, Share]
    words: str


class Guide(Config):
    """Starts in the order of the episodes. The object stands on a plane, its frame in the middle of its box."""

    object_name: str
    size_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    centre_z_m: float
    """Of the object as it stands, in the arm's base frame."""
    camera: str
    intrinsics: CameraModel
    T_base_cam: Matrix
    starts: tuple[TaskStart, ...] = Field(min_length=1)
    colours: tuple[tuple[Level, Level, Level], ...] = ()
    """Samples of the object's RGB, by which it is found in the picture; none: it is not looked for."""
    pictures: tuple[str, ...] = ()
    """Files beside the guide, one per start: the object as the twin draws it there, transparent around."""
    near_m: PositiveFloat = 0.01
    near_rad: PositiveFloat = math.radians(12)
    """So near it counts as placed. The finder's own error is 1.3 mm and 3° (median; the bench, 320×240)."""

    @model_validator(mode="after")
    def _has_a_picture_for_each(self) -> Guide:
        if self.pictures and len(self.pictures) != len(self.starts):
            raise ValueError(f"{len(self.pictures)} pictures for {len(self.starts)} starts")
        if any(Path(name).name != name for name in self.pictures):
            raise ValueError("pictures lie beside the guide: names without folders")
        return self

    @property
    def T_base_eye(self) -> Pose:
        """`T_base_cam`."""
        return Pose("base", "cam", np.array(self.T_base_cam))

    def ghost(self, episode: int) -> Ghost | None:
        """None: all starts of the plan have been used, or this one is not in the picture."""
        if episode >= len(self.starts):
            return None
        start = self.starts[episode]
        T_base_obj = standing(start, self.centre_z_m)
        outline_px = outline(self.intrinsics, self.T_base_eye, T_base_obj, np.array(self.size_m))
        if outline_px is None:
            return None
        shares = outline_px / [self.intrinsics.width_px, self.intrinsics.height_px]
        return Ghost(
            camera=self.camera,
            outline=tuple((round(float(x), 5), round(float(y), 5)) for x, y in shares),
            words=f"{self.object_name}: x {1e3 * start.x_m:.0f} mm, y {1e3 * start.y_m:.0f} mm, "
            f"turned {math.degrees(start.yaw_rad):.0f}°",
            number=episode,
            total=len(self.starts),
            has_picture=bool(self.pictures),
        )

    def remaining(self, episode: int, found: TaskStart) -> Remaining:
        """What is left to do with an object that stands at `found`. The episode must have a start."""
        wanted = self.starts[episode]
        away_m = math.hypot(wanted.x_m - found.x_m, wanted.y_m - found.y_m)
        period = symmetry_rad(np.array(self.size_m))
        turn = wanted.yaw_rad - found.yaw_rad
        turn -= period * round(turn / period)
        is_there = away_m <= self.near_m and abs(turn) <= self.near_rad
        moves = f"{1e3 * away_m:.0f} mm along the arrow" if away_m > self.near_m else ""
        way = "anticlockwise" if turn > 0 else "clockwise"
        turns = f"turn it {abs(math.degrees(turn)):.0f}° {way}" if abs(turn) > self.near_rad else ""
        return Remaining(
            away_m=away_m,
            turn_rad=turn,
            is_there=is_there,
            arrow=(self._seen_at(found), self._seen_at(wanted)),
            words="in place" if is_there else ", ".join(part for part in (moves, turns) if part),
        )

    def finder(self) -> Finder | None:
        """None: the guide does not say what the object looks like."""
        if not self.colours:
            return None
        return Finder(self.intrinsics, self.T_base_eye, np.array(self.size_m), self.centre_z_m, self.colours)

    def _seen_at(self, start: TaskStart) -> Share:
        """The middle of the object's underside, so that the arrow lies on the table."""
        at = np.array([[start.x_m, start.y_m, self.centre_z_m - self.size_m[2] / 2]])
        pixels, _ = self.intrinsics.project(self.T_base_eye.inverse().apply(at))
        u, v = pixels[0] / [self.intrinsics.width_px, self.intrinsics.height_px]
        return round(float(u), 5), round(float(v), 5)
