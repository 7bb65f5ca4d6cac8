"""What the bench knows and the twin must find out: cameras, board and objects of one scan, as `truth.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from hardware.board import CharucoBoard
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.spatial import Pose

Matrix = tuple[tuple[float, float, float, float], ...]
"""4×4, row by row."""


class PhotoTruth(Config):
    """One photo, by its file name in the scan folder."""

    name: str
    T_board_cam: Matrix
    """Optical frame of the camera in the middle of the exposure → board, metres."""
    exposure_gain: PositiveFloat
    """Light that reached the sensor, relative to the scan's usual exposure (linear)."""
    blur_px: NonNegativeFloat
    """How far the picture's content moved during the exposure, the mean over the picture."""

    @property
    def pose(self) -> Pose:
        return Pose("board", "cam", np.array(self.T_board_cam))


class ObjectTruth(Config):
    """One thing on the table; its frame is at the centre of its bounding box, z up as it stands."""

    name: str
    T_base_obj: Matrix
    size_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    mass_kg: PositiveFloat
    friction: PositiveFloat
    """Sliding friction."""

    @property
    def pose(self) -> Pose:
        return Pose("base", self.name, np.array(self.T_base_obj))


class Truth(Config):
    """Of a whole scan. Photos are as an EXIF-aware reader shows them, upright; `camera` describes them so."""

    seed: int
    camera: CameraModel
    photos: tuple[PhotoTruth, ...]
    board: CharucoBoard
    T_base_board: Matrix
    objects: tuple[ObjectTruth, ...]
    landmarks: dict[str, Matrix] = Field(default_factory=dict)
    """T_base_x of what a filmed task has fixed to the table."""
    q_rad: dict[str, float] = Field(default_factory=dict)
    """By joint: how the arm lay while it was filmed."""

    @property
    def base_board(self) -> Pose:
        """`T_base_board`."""
        return Pose("base", "board", np.array(self.T_base_board))

    def photo(self, name: str) -> PhotoTruth:
        """Raises `KeyError` when the scan has no such photo."""
        for photo in self.photos:
            if photo.name == name:
                return photo
        raise KeyError(f"no photo '{name}'; have: {self.photos[0].name} … {self.photos[-1].name}")


def read_truth(file: Path) -> Truth:
    """Raises `BadInput` that names the file and what is wrong in it."""
    return read(Truth, file)


def as_matrix(pose: Pose) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in pose.matrix)  # type: ignore[return-value]
