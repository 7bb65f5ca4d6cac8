"""Photos with known cameras and poses: what SfM (or a posed capture) hands to alignment and training."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.errors import BadInput
from hardware.spatial import Pose


class View(Config):
    """One registered photo."""

    image: str
    """File name inside the frames folder."""
    camera: str
    """Key into `PosedImages.cameras`."""
    T_world_cam: tuple[tuple[float, float, float, float], ...]
    """4×4, optical frame → world."""
    reprojection_px: float | None = None
    """Mean reprojection error of this photo's points, where SfM measured it."""
    held_out: bool = False
    """Never trained on."""

    @property
    def pose(self) -> Pose:
        return Pose("world", "cam", np.array(self.T_world_cam))


class PosedImages(Config):
    """`world` says which frame the poses are in; only `board` and `base` are metric."""

    world: Literal["sfm", "board", "base"]
    metric: bool
    cameras: dict[str, CameraModel]
    views: tuple[View, ...]

    @property
    def training(self) -> tuple[View, ...]:
        return tuple(view for view in self.views if not view.held_out)

    @property
    def held_out(self) -> tuple[View, ...]:
        return tuple(view for view in self.views if view.held_out)


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """The triangulated points, in the same world as the `PosedImages` beside them."""

    xyz: Float[ndarray, "N 3"]
    rgb: UInt8[ndarray, "N 3"]
    reprojection_px: Float[ndarray, " N"]
    track_length: UInt8[ndarray, " N"]

    def save(self, file: Path) -> None:
        np.savez(
            file,
            xyz=self.xyz,
            rgb=self.rgb,
            reprojection_px=self.reprojection_px,
            track_length=self.track_length,
        )

    @classmethod
    def load(cls, file: Path) -> SparsePoints:
        """Raises `BadInput` that names the file."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in arrays.files})
        except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise BadInput(f"{file} is not a file of points: {error}", "remove it and build again") from error
