"""Where things really went in a recorded episode: an optional file beside an episode store, in and out.

A store records what the cell measures; where its things are is known only to a tracker, or on the bench. Whoever
knows writes `STORE/objects/NNNNNN.json`, one file an episode, with the stamps of the episode's own clock.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, model_validator

from hardware import artefact
from hardware.config import Config, read
from hardware.spatial import Pose, quat_wxyz_from_rotation, rotation_from_quat_wxyz

FOLDER = "objects"

PoseRow = tuple[float, float, float, float, float, float, float]
"""x, y, z in m, then the quaternion, wxyz."""


class ObjectTracks(Config):
    """Of one episode."""

    source: str
    """Who knew: "bench truth", or the tracker's name."""
    stamp_ns: tuple[int, ...] = Field(min_length=2)
    poses: dict[str, tuple[PoseRow, ...]]
    """Thing → T_base_thing at each stamp."""

    @model_validator(mode="after")
    def _is_even(self) -> ObjectTracks:
        if any(after <= before for before, after in zip(self.stamp_ns, self.stamp_ns[1:], strict=False)):
            raise ValueError("stamps must increase")
        for name, rows in self.poses.items():
            if len(rows) != len(self.stamp_ns):
                raise ValueError(f"'{name}' has {len(rows)} poses at {len(self.stamp_ns)} stamps")
        return self

    def start(self) -> dict[str, Pose]:
        return {
            name: Pose.from_quat_wxyz("base", name, rows[0][3:], rows[0][:3]) for name, rows in self.poses.items()
        }

    def at(self, name: str, stamps_ns: Float[ndarray, " T"]) -> Float[ndarray, "T 4 4"]:
        """T_base_thing: places on the line between two stamps, rotations of the nearest."""
        known, rows = np.array(self.stamp_ns, np.float64), np.array(self.poses[name])
        T = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
        T[:, :3, 3] = np.stack([np.interp(stamps_ns, known, rows[:, axis]) for axis in range(3)], axis=1)
        nearest = np.abs(stamps_ns[:, None] - known[None]).argmin(1)
        T[:, :3, :3] = rotation_from_quat_wxyz(rows[nearest, 3:])
        return T


def file_of(store: Path, episode: int) -> Path:
    return store / FOLDER / f"{episode:06d}.json"


def find(store: Path, episode: int) -> ObjectTracks | None:
    """None where nobody wrote them."""
    file = file_of(store, episode)
    return read(ObjectTracks, file) if file.is_file() else None


def write(store: Path, episode: int, tracks: ObjectTracks) -> None:
    artefact.write_model(file_of(store, episode), tracks)


def as_row(pose: Pose) -> PoseRow:
    x, y, z = (float(value) for value in pose.translation_m)
    qw, qx, qy, qz = (float(value) for value in quat_wxyz_from_rotation(pose.rotation))
    return x, y, z, qw, qx, qy, qz
