"""`tandem calibrate hand-eye`: robot poses with pictures of a board in; where the camera is, or a refusal, out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from calibration import board_doubt, board_scale, hand_eye, next_view, result, views
from calibration.board_scale import BoardScale
from calibration.boards import Detection, detect
from calibration.hand_eye import Corners, HandEye, HandEyeView
from hardware import artefact
from hardware.board import Board, CharucoBoard, Chessboard
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate, check
from hardware.spatial import Pose, rotation_from_rotvec

log = logging.getLogger(__name__)


class Sight(Config):
    """One stop of the robot."""

    image: Path | None = None
    """Relative to the views file."""
    T_base_tool: result.Rows
    """As the robot reported it there, metres."""
    T_cam_board: result.Rows | None = None
    """Where the board's pose was solved elsewhere; then no image is needed."""


class Sights(Config):
    """`views.json`: what the robot and the camera said at each stop."""

    mounting: Literal["eye_in_hand", "eye_to_hand"]
    """Camera on the tool, or camera standing and board on the tool."""
    views: tuple[Sight, ...]


class CalibrateHandEye(Config):
    """Robot poses and pictures of a board → T_tool_cam (eye in hand) or T_base_cam (eye to hand)."""

    views: tyro.conf.Positional[Path]
    """views.json: mounting, and for each stop T_base_tool with an image (or T_cam_board)."""
    intrinsics: Path | None = None
    """Result of `tandem calibrate camera`; needed where there are images."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("hand_eye.json")
    board: Annotated[Board, Field(discriminator="kind")] = CharucoBoard()
    held_out_limit_mm: Annotated[float, Field(gt=0)] = 3.0
    """Median place of the board by views that took no part."""
    held_out_limit_deg: Annotated[float, Field(gt=0)] = 1.0
    deviation_limit_mm: Annotated[float, Field(gt=0)] = 3.0
    """One standard deviation of the camera's place."""
    board_scale_limit_percent: Annotated[float, Field(gt=0)] = 1.0
    """How far the board's size by the robot's own travel may be from the size that was said; and, halved, one standard
    deviation of it."""
    outlier_share_limit: Annotated[float, Field(ge=0, le=1)] = 0.25
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here, whatever the gates say."""


def calibrate(config: CalibrateHandEye) -> int:
    """Raises `TooLittleMotion`, `BadInput`, or `GateFailed` with the pose to take next."""
    mounting, stops = load(config.views, config.intrinsics, config.board)
    ambiguous = isinstance(config.board, Chessboard) and config.board.looks_the_same_turned
    solved = hand_eye.solve(stops, mounting, ambiguous)
    scale = board_scale.measure(solved, stops)
    answer = as_result(config, stops, solved, scale)
    show(Console(), answer, solved, stops, scale)
    if config.json_file is not None:
        artefact.write_model(config.json_file, answer)
    check(answer.gates)
    result.write(config.output, answer)
    log.info("%s written", config.output)
    return 0


def load(file: Path, intrinsics: Path | None, board: Board) -> tuple[hand_eye.Mounting, list[HandEyeView]]:
    """Stops without the board in view are left out, and named in the log."""
    sights = read(Sights, file)
    camera = None if intrinsics is None else camera_of(intrinsics)
    stops, without = [], []
    for number, sight in enumerate(sights.views):
        stop = one(file.parent, number, sight, camera, board)
        if stop is None:
            without.append(str(sight.image))
        else:
            stops.append(stop)
    if without:
        pictures = (views.read_picture(file.parent / name) for name in without)
        why = board_doubt.reason(board, pictures)
        views.refuse(why, not stops)
        log.warning("no board in %s%s", ", ".join(without), "" if why is None else f" ({why})")
    return sights.mounting, stops


def camera_of(file: Path) -> CameraModel:
    stored = result.read(file)
    if not isinstance(stored, result.IntrinsicsResult):
        raise BadInput(f"{file} is a result of kind '{stored.kind}'", "give the one of `tandem calibrate camera`")
    return stored.camera


def one(folder: Path, number: int, sight: Sight, camera: CameraModel | None, board: Board) -> HandEyeView | None:
    T_base_tool = pose_of(number, "base", "tool", sight.T_base_tool)
    if sight.T_cam_board is not None:
        name = f"view {number}" if sight.image is None else str(sight.image)
        return HandEyeView(name, T_base_tool, pose_of(number, "cam", "board", sight.T_cam_board))
    if sight.image is None:
        raise BadInput(f"view {number} has neither an image nor T_cam_board")
    if camera is None:
        raise BadInput("the views have images, but no intrinsics were given", "--intrinsics intrinsics.json")
    found = detect(board, views.read_picture(folder / sight.image))
    if found is None:
        return None
    T_cam_board, corners = board_pose(camera, board, found)
    return HandEyeView(str(sight.image), T_base_tool, T_cam_board, corners)


def pose_of(number: int, parent: str, child: str, rows: result.Rows) -> Pose:
    """Raises `BadInput` that names the view, for rows that are no rotation and translation."""
    fix = "give the four rows of the matrix, metres; the last is 0 0 0 1"
    if len(rows) != 4:
        raise BadInput(f"view {number}: T_{parent}_{child} has {len(rows)} rows, not 4", fix)
    try:
        return Pose(parent, child, np.array(rows))
    except ValueError as error:
        raise BadInput(f"view {number}: {error}", fix) from error


def board_pose(camera: CameraModel, board: Board, found: Detection) -> tuple[Pose, Corners]:
    """By least squares from the corners of one picture."""
    points = board.object_points(found.ids)
    ideal = np.ascontiguousarray(camera.rays(found.corners_px)[:, :2])
    _, rotvec, t = cv2.solvePnP(points, ideal, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    rotvec, t = cv2.solvePnPRefineLM(points, ideal, np.eye(3), np.zeros(5), rotvec, t)
    pose = Pose.from_parts("cam", "board", rotation_from_rotvec(rotvec.ravel()), t.ravel())
    return pose, Corners(points, ideal, (camera.fx_px + camera.fy_px) / 2)


def as_result(
    config: CalibrateHandEye, stops: list[HandEyeView], solved: HandEye, scale: BoardScale
) -> result.HandEyeResult:
    images = {stop.name: config.views.parent / stop.name for stop in stops}
    used = tuple(
        result.Used(
            name=stop.name,
            error=float(error),
            outlier=stop.name in solved.outliers,
            sha256=views.sha256(images[stop.name]) if images[stop.name].is_file() else "",
        )
        for stop, error in zip(stops, solved.errors_mm, strict=True)
    )
    return result.HandEyeResult(
        made=result.now(),
        board=config.board,
        used=used,
        gates=gates(config, solved, stops, scale),
        mounting=solved.mounting,
        answer=result.StoredPose.of(solved.X),
        board_pose=result.StoredPose.of(solved.Z),
        held_out_mm=solved.held_out_mm,
        held_out_deg=solved.held_out_deg,
        spread_mm=solved.spread_mm,
        rms_px=solved.rms_px,
        deviation_mm=solved.deviation_mm,
        deviation_deg=solved.deviation_deg,
        board_scale=scale.value,
        board_scale_deviation=scale.deviation,
        half_turned=solved.turned,
        camera=None if config.intrinsics is None else camera_of(config.intrinsics),
    )


def gates(
    config: CalibrateHandEye, solved: HandEye, stops: list[HandEyeView], scale: BoardScale
) -> tuple[Gate, ...]:
    _, wanted = next_view.of_hand_eye(solved, stops)
    share = len(solved.outliers) / len(stops)
    few = solved.outliers and share <= config.outlier_share_limit
    bad = (
        f"look at {', '.join(solved.outliers[:4])}."
        if few
        else "are the board's size (measure a square), the intrinsics and the robot's poses right?"
    )
    return (
        Gate(name="held-out place of the board", value=solved.held_out_mm, relation="<=",
             limit=config.held_out_limit_mm, unit="mm", advice=bad),
        Gate(name="held-out turn of the board", value=solved.held_out_deg, relation="<=",
             limit=config.held_out_limit_deg, unit="°", advice=bad),
        Gate(name="deviation of the answer", value=solved.deviation_mm, relation="<=",
             limit=config.deviation_limit_mm, unit="mm", advice=f"take more views; next: {wanted}."),
        Gate(name="share of outliers", value=share, relation="<=",
             limit=config.outlier_share_limit, advice=bad),
        Gate(name="board's size by the robot's travel, off by", value=scale.off_percent, relation="<=",
             limit=config.board_scale_limit_percent, unit="%",
             advice=f"by it the board is {scale.value:.3f} times as large as said: measure a square of the print."),
        Gate(name="deviation of that size", value=100 * scale.deviation, relation="<=",
             limit=config.board_scale_limit_percent / 2, unit="%",
             advice="a wrongly printed board would not show: take views from 10 cm nearer, and from farther away."),
    )  # fmt: skip


def show(
    console: Console, answer: result.HandEyeResult, solved: HandEye, stops: list[HandEyeView], scale: BoardScale
) -> None:
    where = answer.answer
    table = Table(title=f"T_{where.parent}_{where.child}, {len(answer.used)} views")
    table.add_column("what")
    table.add_column("value", justify="right")
    T, why = next_view.of_hand_eye(solved, stops)
    rows = {
        "translation": " ".join(f"{1000 * row[3]:.2f}" for row in where.rows[:3])
        + f" ± {answer.deviation_mm:.2f} mm",
        "rotation": f"± {answer.deviation_deg:.3f}°",
        "board's spread": f"{answer.spread_mm:.2f} mm",
        "held out": f"{answer.held_out_mm:.2f} mm, {answer.held_out_deg:.2f}°",
        "corners": "–" if answer.rms_px is None else f"{answer.rms_px:.2f} px RMS",
        "board by the robot's travel": f"{scale.value:.4f} ± {scale.deviation:.4f} times as large as said",
        "outliers": ", ".join(solved.outliers) or "none",
        "board taken upside down in": ", ".join(solved.turned) or "none",
        "next pose": f"{np.round(T[:3, 3], 3).tolist()} m: {why}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for gate in answer.gates:
        table.add_row("gate", str(gate))
    console.print(table)
