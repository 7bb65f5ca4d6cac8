"""What a calibration leaves behind: the answer, its errors, and what it was made from. Written by code only."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from hardware import artefact
from hardware.board import Board
from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.spatial import Pose

Rows = tuple[tuple[float, float, float, float], ...]


class StoredPose(Config):
    """`T_parent_child`, rows of the 4×4 matrix, metres."""

    parent: str
    child: str
    rows: Rows

    @classmethod
    def of(cls, pose: Pose) -> StoredPose:
        rows = [(row[0], row[1], row[2], row[3]) for row in pose.to_list()]
        return cls(parent=pose.parent, child=pose.child, rows=tuple(rows))

    def pose(self) -> Pose:
        return Pose(self.parent, self.child, np.array(self.rows))


class Used(Config):
    """A picture or pose that went in."""

    name: str
    error: float
    """px (intrinsics) or mm (hand-eye), of this view alone."""
    held_out: bool = False
    outlier: bool = False
    sha256: str = ""
    """Empty where the view was no file."""


class Result(Config):
    """What all results hold."""

    made: str
    """ISO 8601, UTC."""
    board: Annotated[Board, Field(discriminator="kind")] | None = None
    used: tuple[Used, ...] = ()
    gates: tuple[Gate, ...] = ()


class IntrinsicsResult(Result):
    kind: Literal["intrinsics"] = "intrinsics"
    camera: CameraModel
    rms_px: float
    held_out_rms_px: float
    """On views that took no part, after their own six pose numbers are fitted."""
    focal_deviation_px: float
    """One standard deviation."""
    coverage: float
    """Share of the picture's cells (8 × 6) that some corner fell into."""


class HandEyeResult(Result):
    kind: Literal["hand_eye"] = "hand_eye"
    mounting: Literal["eye_in_hand", "eye_to_hand"]
    answer: StoredPose
    """T_tool_cam, or T_base_cam where the camera stands."""
    board_pose: StoredPose
    """T_base_board, or T_tool_board."""
    held_out_mm: float
    held_out_deg: float
    spread_mm: float
    """Median distance of the board, as each view puts it, from where all put it."""
    rms_px: float | None
    deviation_mm: float
    """One standard deviation of the answer's translation (length of the three)."""
    deviation_deg: float
    board_scale: float | None = None
    """The board's size by the robot's own travel over the size that was said; None: not measured."""
    board_scale_deviation: float | None = None
    half_turned: tuple[str, ...] = ()
    """Views in which the board had been taken upside down."""
    camera: CameraModel | None = None


class BaseResult(Result):
    kind: Literal["base"] = "base"
    answer: StoredPose
    """T_base_board."""
    rms_mm: float
    worst_mm: float


class TimeResult(Result):
    kind: Literal["time"] = "time"
    offset_s: float
    """Add to the camera's stamps to get the robot's clock."""
    deviation_s: float
    spread_mm: float


AnyResult = Annotated[IntrinsicsResult | HandEyeResult | BaseResult | TimeResult, Field(discriminator="kind")]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(file: Path, result: Result) -> None:
    artefact.write_model(file, result)


def read(file: Path) -> IntrinsicsResult | HandEyeResult | BaseResult | TimeResult:
    """Raises `BadInput` for what no calibration wrote."""
    try:
        return TypeAdapter(AnyResult).validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"{file} is not a calibration result: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            "results are written by `tandem calibrate …`, never by hand",
        ) from error
