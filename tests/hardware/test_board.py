"""Boards: the frame, agreement with OpenCV's own boards, and refusals."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.board import MARKERS_IN_DICTIONARY, CharucoBoard, MarkerBoard
from hardware.camera_model import CameraModel
from hardware.spatial import Pose

A4 = CharucoBoard()
GRID = MarkerBoard(columns=3, rows=2, marker_m=0.05, gap_m=0.01)
# Camera 0.5 m above the board, looking down, its x along the board's: y and z of the optical frame are flipped.
FROM_ABOVE = Pose("cam", "board", np.diag([1.0, -1.0, -1.0, 1.0]) + np.eye(4, k=1) * [[0], [0], [0.5], [0]])


def opencv_dictionary(name: str) -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def opencv_charuco(board: CharucoBoard) -> cv2.aruco.CharucoBoard:
    size = (board.squares_x, board.squares_y)
    twin = cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, opencv_dictionary(board.dictionary))
    twin.setLegacyPattern(board.legacy_pattern)
    return twin


def in_board_frame(points_opencv: np.ndarray, board: CharucoBoard | MarkerBoard) -> np.ndarray:
    """OpenCV's board frame (corner, y down, z into the paper) → ours."""
    width_m, height_m = board.size_m
    return points_opencv * [1, -1, -1] + [-width_m / 2, height_m / 2, 0]


def test_the_default_board_has_its_corners_where_a_ruler_finds_them():
    # 7 × 5 squares of 36 mm: 252 × 180 mm; the upper left inner corner is 126 - 36 = 90 mm left of the centre
    # and 90 - 36 = 54 mm above it; the lower right one is its mirror image.
    assert A4.size_m == pytest.approx((0.252, 0.180))
    np.testing.assert_allclose(
        A4.object_points([0, 5, 23]), [[-0.09, 0.054, 0], [0.09, 0.054, 0], [0.09, -0.054, 0]]
    )


def test_a_single_tag_is_numbered_clockwise_from_the_upper_left():
    corners = MarkerBoard(marker_m=0.1).object_points([0, 1, 2, 3])
    np.testing.assert_allclose(corners, [[-0.05, 0.05, 0], [0.05, 0.05, 0], [0.05, -0.05, 0], [-0.05, -0.05, 0]])


@given(st.integers(3, 9), st.integers(3, 9), st.booleans())
def test_charuco_corners_and_markers_are_opencvs_in_another_frame(columns: int, rows: int, legacy: bool):
    board = CharucoBoard(squares_x=columns, squares_y=rows, legacy_pattern=legacy)
    twin = opencv_charuco(board)
    theirs = in_board_frame(np.array(twin.getChessboardCorners()), board)
    np.testing.assert_allclose(board.object_points(board.corner_ids), theirs, atol=1e-7)
    upper_lefts = np.array([[square.left_m, square.top_m] for square in board.markers.values()])
    np.testing.assert_allclose(upper_lefts, [points[0, :2] for points in twin.getObjPoints()], atol=1e-7)


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.02, 0.05), st.floats(0.03, 0.1))
def test_marker_corners_are_opencvs_in_another_frame(columns: int, rows: int, marker_m: float, gap_m: float):
    board = MarkerBoard(columns=columns, rows=rows, marker_m=marker_m, gap_m=gap_m)
    twin = cv2.aruco.GridBoard((columns, rows), marker_m, gap_m, opencv_dictionary(board.dictionary))
    theirs = in_board_frame(np.concatenate(twin.getObjPoints()), board)
    np.testing.assert_allclose(board.object_points(board.corner_ids), theirs, atol=1e-6)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("rows", [4, 5])
def test_the_print_is_opencvs_print_pixel_for_pixel(rows: int, legacy: bool):
    board = CharucoBoard(squares_y=rows, square_m=0.04, marker_m=0.028, legacy_pattern=legacy)  # 28 px = 7 × 4 px
    theirs = opencv_charuco(board).generateImage((280, 40 * rows))
    np.testing.assert_array_equal(board.draw(px_per_m=1000.0)[..., 0], theirs)


@pytest.mark.parametrize("board", [A4, GRID, CharucoBoard(legacy_pattern=True, squares_y=4)])
@settings(max_examples=5, deadline=None)
@given(px_per_m=st.floats(1500, 4000))
def test_a_camera_above_the_print_sees_each_corner_where_the_frame_says(board, px_per_m: float):
    """Handedness: look down on the drawn board with a true camera; OpenCV finds the corners at our projections."""
    margin_m = 0.03
    picture = board.draw(px_per_m, margin_m)
    height, width = picture.shape[:2]
    camera = CameraModel(
        width_px=width, height_px=height, fx_px=px_per_m / 2, fy_px=px_per_m / 2, cx_px=width / 2, cy_px=height / 2
    )
    projected, seen = camera.project(FROM_ABOVE.apply(board.object_points(board.corner_ids)))
    assert seen.all()
    corners, ids, _ = cv2.aruco.ArucoDetector(opencv_dictionary(board.dictionary)).detectMarkers(picture)
    if isinstance(board, MarkerBoard):
        assert sorted(ids.ravel()) == list(board.markers)
        found = np.concatenate([corners[n][0] for n in np.argsort(ids.ravel())])
    else:
        found_corners, found_ids, *_ = cv2.aruco.CharucoDetector(opencv_charuco(board)).detectBoard(picture)
        assert list(found_ids.ravel()) == list(board.corner_ids)
        found = found_corners.reshape(-1, 2)
    # Measured worst case 0.76 px for chessboard and 1.1 px for (unrefined) marker corners; a mirrored or
    # half-turned frame errs by hundreds.
    print("WORST", np.abs(found + 0.5 - projected).max())
    np.testing.assert_allclose(found + 0.5, projected, atol=1.5)


def test_dictionaries_hold_as_many_markers_as_opencvs():
    for name, count in MARKERS_IN_DICTIONARY.items():
        assert opencv_dictionary(name).bytesList.shape[0] == count, name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"marker_m": 0.036}, "smaller than square_m"),
        ({"dictionary": "DICT_5X5"}, "have: DICT_4X4_50"),
        ({"squares_x": 20, "squares_y": 20}, "needs 200 markers, but DICT_5X5_100 has 100"),
        ({"squares_x": 2}, "greater than or equal to 3"),
        ({"square_mm": 36}, "Extra inputs are not permitted"),
    ],
)
def test_a_board_that_cannot_be_printed_is_refused(wrong: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        CharucoBoard(**wrong)


@pytest.mark.parametrize("board", [A4, GRID])
def test_an_id_that_the_board_lacks_is_refused(board):
    with pytest.raises(ValueError, match=r"no corner 24 .* 0 … 23"):
        board.object_points([0, 24])
