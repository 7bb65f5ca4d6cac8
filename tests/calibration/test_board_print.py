"""The printed board: a PDF that a detector finds, to scale."""

import cv2
import numpy as np
import pytest

from calibration import calibrate_base
from calibration.board_print import PrintBoard, black_parts, pdf, print_board
from calibration.boards import detect
from hardware.board import CharucoBoard, Chessboard, MarkerBoard
from hardware.errors import BadInput
from hardware.spatial import Pose


@pytest.mark.parametrize("board", [CharucoBoard(), MarkerBoard(), Chessboard()])
def test_the_black_parts_are_the_picture_that_the_detector_knows(board):
    px_per_m, margin_m = 4000.0, 0.02
    picture = np.full(
        (int((board.size_m[1] + 0.04) * px_per_m), int((board.size_m[0] + 0.04) * px_per_m), 3), 255, np.uint8
    )
    for part in black_parts(board):
        left, top = ((edge + margin_m) * px_per_m for edge in (part.left_m, part.top_m))
        side = part.side_m * px_per_m
        picture[round(top) : round(top + side), round(left) : round(left + side)] = 0
    found = detect(board, cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    assert found is not None
    assert len(found.ids) == len(board.corner_ids)
    where = board.object_points(found.ids)[:, :2] * [1, -1] + np.array(board.size_m) / 2 + margin_m
    np.testing.assert_allclose(found.corners_px, where * px_per_m / 2, atol=0.6)


def test_the_pdf_is_written_whole_and_a_board_too_large_for_the_paper_is_refused(tmp_path):
    assert print_board(PrintBoard(output=tmp_path / "board.pdf")) == 0
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(BadInput, match="A4 holds"):
        pdf(CharucoBoard(squares_x=9), "A4")
    with pytest.raises(BadInput, match="no paper 'A9'"):
        pdf(CharucoBoard(), "A9")


def touches(noise_m, corners=(0, 5, 18, 23, 12), seed=0):
    board, rng = CharucoBoard(), np.random.default_rng(seed)
    T = Pose.exp("base", "board", np.array([0.3, 0.1, 0.01, 0.02, 0.01, 1.2]))
    tips = T.apply(board.object_points(corners)) + rng.normal(0, noise_m, (len(corners), 3))
    return T, tuple(
        calibrate_base.Touch(corner=c, tip_base_m=tuple(tip)) for c, tip in zip(corners, tips, strict=True)
    )


def test_touched_corners_place_the_board_and_a_wrong_corner_fails_the_gate():
    T, found = touches(3e-4)
    answer = calibrate_base.solve(CharucoBoard(), found, 2.0)
    away_m, turned_rad = answer.answer.pose().distance_to(T)
    assert away_m < 1e-3
    assert turned_rad < 0.01
    assert answer.gates[0].passed
    wrong = (found[0].but(corner=1), *found[1:])
    assert not calibrate_base.solve(CharucoBoard(), wrong, 2.0).gates[0].passed


def test_touches_on_a_line_are_refused():
    with pytest.raises(BadInput, match="on a line"):
        calibrate_base.solve(CharucoBoard(), touches(0, corners=(0, 1, 2, 3))[1], 2.0)
