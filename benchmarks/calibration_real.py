"""What the calibration commands find on real data sets, each figure beside what is asked of it.

`rows()` in, for benchmarks/calibration.py: OpenCV's chessboard photos, a Doosan arm with the camera in its hand, a UR3
before a standing camera, a recorded arm and camera by two clocks. tests/calibration/real_sets.py reads them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "calibration"))

import real_sets

from calibration import board_scale, calibrate_camera, drift, hand_eye, result, time_offset
from calibration.hand_eye import HandEye, HandEyeView
from hardware.board import CharucoBoard, Chessboard
from hardware.config import read
from hardware.errors import GateFailed
from hardware.spatial import Pose

LATE_S = 0.04
PRINTED_WRONG = 1.04

Row = dict[str, str | float | bool]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        return [*chessboards(Path(scratch)), *doosan(Path(scratch)), *ur3(), *streams()]


def row(name: str, value: float, asked: str, kept: bool) -> Row:
    return {"measure": name, "value": float(value), "asked": asked, "kept": bool(kept)}


def at_most(name: str, value: float, limit: float) -> Row:
    return row(name, value, f"≤ {limit:g}", value <= limit)


def chessboards(scratch: Path) -> list[Row]:
    """By the command itself, its gates included."""
    out = scratch / "left.json"
    photos = real_sets.chessboard_photos(scratch / "left")
    calibrate_camera.calibrate(calibrate_camera.CalibrateCamera(pictures=photos, output=out, board=Chessboard()))
    stored = result.read(out)
    assert isinstance(stored, result.IntrinsicsResult)
    off = 100 * abs(stored.camera.fx_px / real_sets.CHESSBOARD_FOCAL_PX - 1)
    return [
        at_most("chessboards: f off the published, %", off, 0.5),
        at_most("chessboards: rms, px", stored.rms_px, 0.45),
        at_most("chessboards: rms of held-out photos, px", stored.held_out_rms_px, 0.45),
    ]


def doosan(scratch: Path) -> list[Row]:
    stops = real_sets.doosan_stops()
    solved = hand_eye.solve(stops, "eye_in_hand")
    off_mm = float(np.linalg.norm(1000 * solved.X.translation_m - real_sets.DOOSAN_MM))
    ruler_mm, ruler_limit_mm = checked(scratch, stops, solved, real_sets.doosan_ruler())
    own_mm, own_limit_mm = checked(scratch, stops, solved, solved.X)
    larger = [
        HandEyeView(stop.name, stop.T_base_tool, smaller(stop.T_cam_board, PRINTED_WRONG), None) for stop in stops
    ]
    told = board_scale.measure(hand_eye.solve(larger, "eye_in_hand"), larger)
    return [
        at_most("eye in hand: board's spread, median, mm", solved.spread_mm, 1.5),
        at_most("eye in hand: T_tool_cam off (−17.5, 32.1, −12), mm", off_mm, 1.5),
        row("eye in hand: spread by the ruler's transform, mm", ruler_mm, f"rejected (> {ruler_limit_mm:.1f})",
            ruler_mm > ruler_limit_mm),
        row("eye in hand: spread by its own, mm", own_mm, f"accepted (≤ {own_limit_mm:.1f})", own_mm <= own_limit_mm),
        row("eye in hand: board told 4 % too small, its size by the robot's travel", told.value,
            "1.04 ± 4 deviations", abs(told.value - PRINTED_WRONG) <= 4 * told.deviation),
    ]  # fmt: skip


def smaller(T_cam_board: Pose, scale: float) -> Pose:
    """What a camera believes of a board that is `scale` times as large as it was told."""
    return Pose.from_parts("cam", "board", T_cam_board.rotation, T_cam_board.translation_m / scale)


def checked(scratch: Path, stops: list[HandEyeView], solved: HandEye, X: Pose) -> tuple[float, float]:
    """(spread, limit) that `tandem calibrate check` measures for a stored transform, mm."""
    file, sights, said = (scratch / name for name in ("stored.json", "views.json", "said.json"))
    result.write(file, real_sets.stored(solved, X, CharucoBoard()))
    sights.write_text(real_sets.as_sights(stops).model_dump_json())
    with contextlib.suppress(GateFailed):
        drift.measure(drift.CheckCalibration(result_file=file, views=sights, json_file=said))
    spread = read(drift.Measured, said).gates[0]
    return spread.value, spread.limit


def ur3() -> list[Row]:
    stops = real_sets.ur3_stops()
    solved = hand_eye.solve(stops, "eye_to_hand", ambiguous_board=True)
    away_mm = float(1000 * np.linalg.norm(solved.X.translation_m - real_sets.ur3_published_m()))
    return [
        row(f"eye to hand: upside-down views found, of {len(stops)}", len(solved.turned), "found and resolved",
            len(solved.turned) > 0),
        at_most("eye to hand: board's spread, median, mm", solved.spread_mm, 15.0),
        at_most("eye to hand: camera off the published place (good to 10 to 30 mm), mm", away_mm, 30.0),
    ]  # fmt: skip


def streams() -> list[Row]:
    """The whole recording, and its halves: 40 ms put into the second, the first as it was recorded."""
    found_s = {
        (late_s, part): time_offset.solve(*real_sets.eth_streams(late_s, part), "eye_in_hand").offset_s
        for late_s, part in ((0.0, (0, 1)), (LATE_S, (0, 1)), (0.0, (0, 0.5)), (LATE_S, (0.5, 1)))
    }
    whole_ms = 1000 * abs(found_s[LATE_S, (0, 1)] - found_s[0.0, (0, 1)] - LATE_S)
    halves_ms = 1000 * abs(found_s[LATE_S, (0.5, 1)] - found_s[0.0, (0, 0.5)] - LATE_S)
    return [
        at_most("pose streams: error of a 40 ms offset put in, ms", whole_ms, 3.0),
        at_most("pose streams: the same, from halves of the recording that share nothing, ms", halves_ms, 3.0),
    ]
