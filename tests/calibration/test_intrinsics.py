"""Intrinsics: the known camera comes back, views that are too alike are refused, OpenCV's own photos agree."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic
from real_sets import CHESSBOARD_FOCAL_PX, chessboard_photos, needs_data

from calibration import calibrate_camera, drift, intrinsics, next_view, result, views
from hardware.board import CharucoBoard, Chessboard
from hardware.errors import BadInput, GateFailed

BOARD = CharucoBoard()


def seen(count, seed, tilt_rad=0.6, noise_px=0.2):
    rng = np.random.default_rng(seed)
    return [
        synthetic.detection(BOARD, synthetic.board_in_camera(rng, 0.3, tilt_rad), rng, noise_px, f"{number}.png")
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_camera_comes_back_within_its_stated_deviation(seed):
    solved = intrinsics.solve(BOARD, seen(20, seed))
    assert abs(solved.camera.fx_px - 900) < 4 * solved.focal_deviation_px
    assert solved.focal_deviation_px < 2.0
    assert abs(solved.camera.cx_px - 645) < 3
    assert solved.rms_px == pytest.approx(0.2 * np.sqrt(2), rel=0.15)
    assert solved.rms_px < solved.held_out_rms_px < 1.4 * solved.rms_px


def test_a_blurred_view_is_named_and_left_out():
    pictures = seen(15, 0)
    rng = np.random.default_rng(9)
    pictures[6] = synthetic.detection(BOARD, synthetic.board_in_camera(rng, 0.3), rng, 4.0, "6.png")
    assert intrinsics.solve(BOARD, pictures).outliers == ("6.png",)


def test_views_that_are_too_alike_fail_a_gate_that_says_what_to_do():
    solved = intrinsics.solve(BOARD, seen(12, 1, tilt_rad=0.03))
    failed = [
        gate
        for gate in calibrate_camera.gates(calibrate_camera.CalibrateCamera(pictures=Path()), solved)
        if not gate.passed
    ]
    assert "tilt between views" in {gate.name for gate in failed}
    assert any("tilt the board" in gate.advice for gate in failed)


def test_what_to_photograph_next_is_the_emptiest_part():
    solved = intrinsics.solve(BOARD, seen(12, 2))
    solved.coverage[:] = 5
    solved.coverage[:, ::3] = 0
    solved.coverage[4:, 5:] = 0
    assert "lower right" in next_view.of_camera(solved)


def test_too_few_pictures_and_pictures_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(BadInput, match="at least 6"):
        intrinsics.solve(BOARD, seen(4, 0))
    for name, size in (("a.png", (640, 480)), ("b.png", (320, 240))):
        picture = cv2.resize(BOARD.draw(2000.0, 0.03), size)
        cv2.imwrite(str(tmp_path / name), picture)
    with pytest.raises(BadInput, match=r"different sizes: a\.png is 640 × 480"):
        views.look(BOARD, views.pictures(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no picture"):
        views.pictures(tmp_path / "empty")


@needs_data
@pytest.mark.slow
def test_opencvs_chessboard_photos_give_the_published_focal_length(tmp_path):
    folder, out = chessboard_photos(tmp_path / "left"), tmp_path / "left.json"
    config = calibrate_camera.CalibrateCamera(pictures=folder, output=out, board=Chessboard())
    assert calibrate_camera.calibrate(config) == 0
    stored = result.read(out)
    assert abs(stored.camera.fx_px / CHESSBOARD_FOCAL_PX - 1) < 0.005
    assert stored.rms_px <= 0.45
    assert stored.held_out_rms_px <= 0.45
    assert drift.measure(drift.CheckCalibration(result_file=out, pictures=folder)) == 0
    zoomed = stored.camera.but(fx_px=stored.camera.fx_px * 1.05, fy_px=stored.camera.fy_px * 1.05, k1=0.0)
    result.write(out, stored.but(camera=zoomed.model_dump()))
    with pytest.raises(GateFailed, match="stored intrinsics"):
        drift.measure(drift.CheckCalibration(result_file=out, pictures=folder))
