"""`tandem calibrate time`: two recorded pose streams in; how far the camera's clock is from the robot's, out."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from pydantic import Field
from rich.console import Console
from scipy.spatial.transform import Rotation

from calibration import result, time_offset
from calibration.time_offset import PoseStream
from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate, check

log = logging.getLogger(__name__)

COLUMNS = 8
FORMAT = "CSV without a header: stamp_s, x_m, y_m, z_m, qx, qy, qz, qw"


class CalibrateTime(Config):
    """Streams of T_base_tool and T_cam_board, each by its own clock → the offset between the clocks.

    Both are CSV without a header: stamp_s, x_m, y_m, z_m, qx, qy, qz, qw. Wave the wrist about two axes for
    20 s or more.
    """

    robot: tyro.conf.Positional[Path]
    camera: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("time.json")
    mounting: Literal["eye_in_hand", "eye_to_hand"] = "eye_in_hand"
    camera_in_board: bool = False
    """The camera's stream holds T_board_cam instead of T_cam_board."""
    widest_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How far apart the clocks may be."""
    deviation_limit_s: Annotated[float, Field(gt=0)] = 0.01
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here, whatever the gate says."""


def calibrate(config: CalibrateTime) -> int:
    robot, camera = read_stream(config.robot), read_stream(config.camera)
    if config.camera_in_board:
        camera = PoseStream(camera.stamps_s, np.linalg.inv(camera.Ts))
    origin_s = robot.stamps_s[0]
    found = time_offset.solve(
        PoseStream(robot.stamps_s - origin_s, robot.Ts),
        PoseStream(camera.stamps_s - origin_s, camera.Ts),
        config.mounting,
        config.widest_s,
    )
    gate = Gate(
        name="deviation of the offset", value=found.deviation_s, relation="<=", limit=config.deviation_limit_s,
        unit="s", advice="move faster, and turn about two axes.",
    )  # fmt: skip
    answer = result.TimeResult(
        made=result.now(),
        gates=(gate,),
        offset_s=found.offset_s,
        deviation_s=found.deviation_s,
        spread_mm=found.answer.spread_mm,
    )
    Console().print(
        f"camera stamps + {1000 * found.offset_s:.1f} ± {1000 * found.deviation_s:.1f} ms = robot stamps; "
        f"the board then spreads by {found.answer.spread_mm:.2f} mm"
    )
    if config.json_file is not None:
        artefact.write_model(config.json_file, answer)
    check(answer.gates)
    result.write(config.output, answer)
    log.info("%s written", config.output)
    return 0


def read_stream(file: Path) -> PoseStream:
    """Repeated stamps are dropped. Raises `BadInput` that names what is wrong with the file."""
    try:
        text = file.read_text(encoding="utf-8")
        if not text.strip():
            raise BadInput(f"{file} is empty", FORMAT)
        table = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}", FORMAT) from error
    if table.shape[1] != COLUMNS:
        raise BadInput(f"{file} must hold {COLUMNS} columns, has {table.shape[1]}", FORMAT)
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1) | ~table[:, 4:8].any(axis=1))
    if len(wrong):
        raise BadInput(f"{file}: row {wrong[0] + 1} is no pose (not finite, or a quaternion of zeros)", FORMAT)
    table = table[np.concatenate([[True], np.diff(table[:, 0]) > 0])]
    Ts = np.tile(np.eye(4), (len(table), 1, 1))
    Ts[:, :3, :3], Ts[:, :3, 3] = Rotation.from_quat(table[:, 4:8]).as_matrix(), table[:, 1:4]
    return PoseStream(table[:, 0], Ts)
