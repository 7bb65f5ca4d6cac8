"""`tandem calibrate base`: corners of a board that the tool's tip touched in; where the board lies, out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, FiniteFloat
from rich.console import Console
from rich.table import Table

from calibration import result
from hardware import artefact
from hardware.board import Board, CharucoBoard
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate, check
from hardware.spatial import Pose

log = logging.getLogger(__name__)

FEWEST_TOUCHES = 4
FLATTEST = 0.05
"""Second spread of the touched corners, relative to the first: below, they lie on a line."""


class Touch(Config):
    corner: int
    """Id of the board's corner."""
    tip_base_m: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    """Where the tool's tip was, in the base frame."""


class Touches(Config):
    """`touches.json`."""

    touches: tuple[Touch, ...]


class CalibrateBase(Config):
    """Corners of the printed board, touched with the tool's tip → T_base_board: the scan's frame in the robot's."""

    touches: tyro.conf.Positional[Path]
    """touches.json: {"touches": [{"corner": 0, "tip_base_m": [x, y, z]}, …]}, four corners or more, far apart."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("base.json")
    board: Annotated[Board, Field(discriminator="kind")] = CharucoBoard()
    limit_mm: Annotated[float, Field(gt=0)] = 2.0
    """Largest distance of a touched corner from the print."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here, whatever the gates say."""


def calibrate(config: CalibrateBase) -> int:
    touches = read(Touches, config.touches).touches
    answer = solve(config.board, touches, config.limit_mm)
    table = Table(title=f"T_base_board from {len(touches)} touched corners")
    table.add_column("corner", justify="right")
    table.add_column("off by", justify="right")
    for used in answer.used:
        table.add_row(used.name, f"{used.error:.2f} mm")
    Console().print(table)
    if config.json_file is not None:
        artefact.write_model(config.json_file, answer)
    check(answer.gates)
    result.write(config.output, answer)
    log.info("%s written", config.output)
    return 0


def solve(board: Board, touches: tuple[Touch, ...], limit_mm: float) -> result.BaseResult:
    """Each touch is also measured by the others (leave one out): that error is the one that is gated."""
    if len(touches) < FEWEST_TOUCHES:
        raise BadInput(f"{len(touches)} touched corners, {FEWEST_TOUCHES} or more are needed")
    unknown = sorted({touch.corner for touch in touches} - set(board.corner_ids.tolist()))
    if unknown:
        raise BadInput(
            f"no corner {unknown[0]} on this board; have: 0 … {len(board.corner_ids) - 1}",
            "check the corner's number and --board",
        )
    points = board.object_points([touch.corner for touch in touches])
    tips = np.array([touch.tip_base_m for touch in touches])
    spread = np.linalg.svd(points[:, :2] - points[:, :2].mean(0))[1]
    if spread[1] <= FLATTEST * spread[0]:
        raise BadInput(
            "the touched corners lie on a line, or are one",
            "touch corners of two rows: the four outermost are best",
        )
    T = rigid(points, tips)
    left_out_mm = np.array([left_out(points, tips, k) for k in range(len(points))]) * 1000
    used = tuple(
        result.Used(name=str(touch.corner), error=float(error), held_out=True)
        for touch, error in zip(touches, left_out_mm, strict=True)
    )
    residual_mm = 1000 * np.linalg.norm(points @ T[:3, :3].T + T[:3, 3] - tips, axis=1)
    gate = Gate(
        name="worst touched corner, by the others", value=float(left_out_mm.max()), relation="<=", limit=limit_mm,
        unit="mm", advice="touch it again, check its number and the board's printed size.",
    )  # fmt: skip
    return result.BaseResult(
        made=result.now(),
        board=board,
        used=used,
        gates=(gate,),
        answer=result.StoredPose.of(Pose("base", "board", T)),
        rms_mm=float(np.sqrt((residual_mm**2).mean())),
        worst_mm=float(residual_mm.max()),
    )


def left_out(points: ndarray, tips: ndarray, number: int) -> float:
    """Metres between a touch and where the other touches put its corner. With three left, and they on a line: worse."""
    others = np.arange(len(points)) != number
    T = rigid(points[others], tips[others])
    return float(np.linalg.norm(T[:3, :3] @ points[number] + T[:3, 3] - tips[number]))


def rigid(source: Float[ndarray, "N 3"], target: Float[ndarray, "N 3"]) -> Float[ndarray, "4 4"]:
    """Least squares, without scale (Kabsch): the print's size is known."""
    from_mean, to_mean = source.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((target - to_mean).T @ (source - from_mean))
    T = np.eye(4)
    T[:3, :3] = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    T[:3, 3] = to_mean - T[:3, :3] @ from_mean
    return T
