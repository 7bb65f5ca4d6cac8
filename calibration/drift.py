"""`tandem calibrate check`: a stored result and new pictures in; whether it still holds, out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field
from rich.console import Console

from calibration import calibrate_hand_eye, hand_eye, intrinsics, result, views
from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate, check

FLOOR_PX, FLOOR_MM = 0.3, 1.0
"""Below, a change is the noise of a few pictures."""


class CheckCalibration(Config):
    """New pictures against a stored calibration: was the camera knocked or refocused, or is it the wrong file?"""

    result_file: tyro.conf.Positional[Path]
    pictures: Path | None = None
    """For intrinsics: folder with a few new pictures of the board."""
    views: Path | None = None
    """For hand-eye: a new views.json (five stops or more, the board lying where it likes)."""
    times: Annotated[float, Field(ge=1)] = 2.0
    """How many times worse than the stored held-out error is an alarm."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class Measured(Config):
    gates: tuple[Gate, ...]
    made: str
    views: int


def measure(config: CheckCalibration) -> int:
    """Raises `GateFailed` on drift."""
    stored = result.read(config.result_file)
    if isinstance(stored, result.IntrinsicsResult):
        measured = of_camera(config, stored)
    elif isinstance(stored, result.HandEyeResult):
        measured = of_hand_eye(config, stored)
    else:
        raise BadInput(f"a result of kind '{stored.kind}' has no check", "make it again with `tandem calibrate`")
    if config.json_file is not None:
        artefact.write_model(config.json_file, measured)
    for gate in measured.gates:
        Console().print(str(gate), highlight=False)
    check(measured.gates)
    return 0


def of_camera(config: CheckCalibration, stored: result.IntrinsicsResult) -> Measured:
    if config.pictures is None or stored.board is None:
        raise BadInput("a check of intrinsics needs pictures of the board", "--pictures FOLDER")
    seen, _ = views.look(stored.board, views.pictures(config.pictures))
    if not seen:
        raise BadInput(f"no picture in {config.pictures} shows the board")
    size = seen[0].width_px, seen[0].height_px
    if size != (stored.camera.width_px, stored.camera.height_px):
        raise BadInput(
            f"the pictures are {size[0]} × {size[1]}, the result is for "
            f"{stored.camera.width_px} × {stored.camera.height_px}"
        )
    errors = [intrinsics.view_rms_px(stored.board, stored.camera, view) for view in seen]
    gate = Gate(
        name="corners by the stored intrinsics", value=float(np.median(errors)), relation="<=",
        limit=max(config.times * stored.held_out_rms_px, FLOOR_PX), unit="px",
        advice="focus or zoom changed: run `tandem calibrate camera` again.",
    )  # fmt: skip
    return Measured(gates=(gate,), made=result.now(), views=len(seen))


def of_hand_eye(config: CheckCalibration, stored: result.HandEyeResult) -> Measured:
    """The stored camera place is kept; only the board's is found anew, so the board may have moved."""
    if config.views is None or stored.board is None:
        raise BadInput("a check of hand-eye needs new stops", "--views views.json")
    sights = calibrate_hand_eye.read(calibrate_hand_eye.Sights, config.views)
    stops = [
        stop
        for number, sight in enumerate(sights.views)
        if (stop := calibrate_hand_eye.one(config.views.parent, number, sight, stored.camera, stored.board))
        is not None
    ]
    if len(stops) < hand_eye.FEWEST_VIEWS:
        raise BadInput(f"{len(stops)} stops show the board, {hand_eye.FEWEST_VIEWS} or more are needed")
    A, B = hand_eye.stacks(stops, stored.mounting)
    if stored.half_turned:
        turned = hand_eye.half_turned(A, B)
        B = np.where(turned[:, None, None], B @ hand_eye.HALF_TURN, B)
    X = stored.answer.pose().matrix
    away_mm, turned_deg = hand_eye.errors(A, B, X, hand_eye.mean_pose(A @ X @ B))
    advice = (
        "the camera moved on its mount, or this is another camera's file: run `tandem calibrate hand-eye` again."
    )
    gates = (
        Gate(name="board's spread by the stored place of the camera", value=float(np.median(away_mm)), relation="<=",
             limit=max(config.times * stored.held_out_mm, FLOOR_MM), unit="mm", advice=advice),
        Gate(name="board's turn by it", value=float(np.median(turned_deg)), relation="<=",
             limit=max(config.times * stored.held_out_deg, 0.3), unit="°", advice=advice),
    )  # fmt: skip
    return Measured(gates=gates, made=result.now(), views=len(stops))
