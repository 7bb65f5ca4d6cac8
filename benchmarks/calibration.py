"""How exactly the calibration commands find a camera, on rendered photos whose truth is known (simulated bench).

`python benchmarks/calibration.py [--quick] [--json FILE]`; real data sets that lie beside the checkout are measured,
too (benchmarks/calibration_real.py). For each seed: a virtual phone is held by a simulated tool
that repeats to 0.2 mm and 0.01°; it photographs the board from 24 stops, through a lens with distortion, blur and
sensor noise. Intrinsics come from `calibration.intrinsics`, the camera's place from `calibration.hand_eye`: on the
tool (T_tool_cam), and standing while the tool carries the board past it through the same views (T_base_cam). The quick
way to a standing camera is measured too: one view of a board whose five corners a tip touched. All are compared with
the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import calibration_real, machine
from calibration import hand_eye, intrinsics
from calibration.boards import detect
from calibration.calibrate_base import Touch
from calibration.calibrate_base import solve as solve_base
from calibration.calibrate_hand_eye import board_pose
from calibration.hand_eye import HandEyeView
from calibration.views import BoardView
from hardware.artefact import write_text
from hardware.bench import hand, phone, scene
from hardware.spatial import Pose

STOPS = 24
SIZE = (1024, 768)
ROBOT_M, ROBOT_RAD = 2e-4, np.radians(0.01)
TOUCH_M = 3e-4
T_TOOL_CAM = Pose.exp("tool", "cam", np.array([0.03, -0.02, 0.05, 0.2, -0.1, 1.4]))
T_TOOL_BOARD = Pose.exp("tool", "board", np.array([0.06, -0.04, 0.02, 0.3, 0.2, -0.5]))
T_BASE_CAM = Pose.exp("base", "cam", np.array([0.5, -0.3, 0.4, -1.9, 0.4, 0.3]))
"""Where the standing camera is."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one seed instead of five")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    given = arguments.parse_args()
    rows = [measure(seed) for seed in track(range(1 if given.quick else 5), "photographing")]
    show(rows)
    found = None
    if calibration_real.real_sets.DATA.is_dir():
        found = calibration_real.rows()
        show_real(found)
    if given.json:
        report = {"machine": machine.describe(), "real": found, "rows": rows}
        write_text(given.json, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def measure(seed: int) -> dict[str, float]:
    cell, rng = scene.build(seed), np.random.default_rng([seed, 7])
    lens = phone.phone_camera(*SIZE)
    stops, seen = photograph(cell, lens, rng, seed)
    solved = intrinsics.solve(cell.board, [view for view, _ in seen])
    views = []
    carried = []
    for (view, T_base_tool), name in zip(seen, stops, strict=True):
        T_cam_board, corners = board_pose(solved.camera, cell.board, view.detection)
        views.append(HandEyeView(name, T_base_tool, T_cam_board, corners))
        carried.append(HandEyeView(name, carrying(cell, T_base_tool), T_cam_board, corners))
    answer = hand_eye.solve(views, "eye_in_hand")
    away_m, turned_rad = answer.X.distance_to(T_TOOL_CAM)
    standing_m, standing_rad = hand_eye.solve(carried, "eye_to_hand").X.distance_to(T_BASE_CAM)
    T_base_board = touched(cell, rng)
    touch = [
        standing_error(view, T_base_board, T_base_tool) for view, (_, T_base_tool) in zip(views, seen, strict=True)
    ]
    return {
        "seed": seed,
        "focal_percent": abs(solved.camera.fx_px / lens.fx_px - 1) * 100,
        "rms_px": solved.rms_px,
        "T_tool_cam_mm": 1000 * away_m,
        "T_tool_cam_deg": float(np.degrees(turned_rad)),
        "held_out_mm": answer.held_out_mm,
        "T_base_cam_mm": 1000 * standing_m,
        "T_base_cam_deg": float(np.degrees(standing_rad)),
        "touched_mm": float(np.median([mm for mm, _ in touch])),
        "touched_deg": float(np.median([deg for _, deg in touch])),
    }


def photograph(
    cell: scene.Scene, lens, rng: np.random.Generator, seed: int
) -> tuple[list[str], list[tuple[BoardView, Pose]]]:
    """The board as each photo shows it, with where the robot says its tool was."""
    names, seen = [], []
    board_m = cell.T_base_board.translation_m
    with phone.Phone(cell.model, lens) as taker:
        data = cell.at_rest()
        for number, shot in enumerate(hand.walk(rng, STOPS, board_m)):
            near = closer(shot, board_m, rng)
            picture = taker.photo(data, near, np.random.default_rng([seed, 3, number]))
            found = detect(cell.board, picture)
            if found is None:
                continue
            wobble = Pose.exp("tool", "tool", rng.normal(0, 1, 6) * np.repeat([ROBOT_M, ROBOT_RAD], 3))
            T_base_tool = near.T_base_cam @ T_TOOL_CAM.inverse() @ wobble
            names.append(f"stop {number}")
            seen.append((BoardView(names[-1], *SIZE, found), T_base_tool))
    return names, seen


def carrying(cell: scene.Scene, T_base_tool: Pose) -> Pose:
    """Where the tool is when it carries the board past the standing camera, which sees what the moving one saw."""
    T_cam_board = (T_base_tool @ T_TOOL_CAM).inverse() @ cell.T_base_board
    return T_BASE_CAM @ T_cam_board @ T_TOOL_BOARD.inverse()


def closer(shot: hand.Shot, board_m: np.ndarray, rng: np.random.Generator) -> hand.Shot:
    """Nearer to the board, rolled at random, standing still: a robot stops for each photo."""
    R, t = shot.T_base_cam.rotation, shot.T_base_cam.translation_m
    roll = Pose.exp("cam", "cam", np.array([0, 0, 0, *rng.uniform(-0.22, 0.22, 2), rng.uniform(-1.2, 1.2)]))
    T = Pose.from_parts("base", "cam", R, board_m + 0.5 * (t - board_m)) @ roll
    return hand.Shot(T, np.zeros(6), shot.exposure_s, shot.gain, shot.stamp_s)


def touched(cell: scene.Scene, rng: np.random.Generator) -> Pose:
    """T_base_board from five corners that a tip touched to 0.3 mm."""
    corners = [0, 5, 18, 23, 12]
    tips = cell.T_base_board.apply(cell.board.object_points(corners)) + rng.normal(0, TOUCH_M, (5, 3))
    touches = tuple(Touch(corner=c, tip_base_m=tuple(tip)) for c, tip in zip(corners, tips.tolist(), strict=True))
    return solve_base(cell.board, touches, 2.0).answer.pose()


def standing_error(view: HandEyeView, T_base_board: Pose, T_base_tool: Pose) -> tuple[float, float]:
    """(mm, degrees) of one standing camera's T_base_cam = T_base_board · T_board_cam."""
    truth = T_base_tool @ T_TOOL_CAM
    away_m, turned_rad = (T_base_board @ view.T_cam_board.inverse()).distance_to(truth)
    return 1000 * away_m, float(np.degrees(turned_rad))


def show(rows: list[dict[str, float]]) -> None:
    table = Table(title=f"simulated bench, {STOPS} stops a seed; {machine.line()}")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    table.add_row("worst", *(f"{max(row[key] for row in rows):.3g}" for key in list(rows[0])[1:]))
    Console(width=150).print(table)


def show_real(rows: list[calibration_real.Row]) -> None:
    table = Table("measure", "value", "asked", "kept", title="real data")
    for row in rows:
        table.add_row(str(row["measure"]), f"{row['value']:.3g}", str(row["asked"]), "yes" if row["kept"] else "NO")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
