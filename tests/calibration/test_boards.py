"""Printed boards in pictures: corners where the camera sees them, and nothing where it does not see enough."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from calibration.boards import detect
from hardware.board import CharucoBoard, MarkerBoard
from hardware.camera_model import CameraModel
from hardware.spatial import Pose, rotation_from_rotvec

CAMERA = CameraModel(width_px=640, height_px=480, fx_px=600.0, fy_px=604.0, cx_px=322.0, cy_px=237.0)
CHARUCO = CharucoBoard()
TAG = MarkerBoard()
GRID = MarkerBoard(columns=3, rows=2, marker_m=0.05, gap_m=0.01)
MARGIN_M, PX_PER_M = 0.02, 3000.0
FACING = np.diag([1.0, -1.0, -1.0])


def above(tilt_rad: float = 0.0, turn_rad: float = 0.0, distance_m: float = 0.5, aside_m: float = 0.0) -> Pose:
    """T_cam_board of a camera that looks down on the board's centre."""
    rotation = (
        rotation_from_rotvec(np.array([tilt_rad, 0, 0])) @ FACING @ rotation_from_rotvec(np.array([0, 0, turn_rad]))
    )
    return Pose.from_parts("cam", "board", rotation, [aside_m, 0.0, distance_m])


def photograph(board, T_cam_board: Pose) -> np.ndarray:
    """The print on a grey table; a plane is seen through a homography."""
    print_rgb = cv2.GaussianBlur(board.draw(PX_PER_M, MARGIN_M), (0, 0), 1.5)
    height, width = print_rgb.shape[:2]
    to_board = np.array(
        [
            [1 / PX_PER_M, 0, (0.5 - width / 2) / PX_PER_M],
            [0, -1 / PX_PER_M, (height / 2 - 0.5) / PX_PER_M],
            [0, 0, 1],
        ]
    )
    to_camera = np.column_stack([T_cam_board.rotation[:, :2], T_cam_board.translation_m])
    homography = CAMERA.matrix_opencv @ to_camera @ to_board
    return cv2.warpPerspective(print_rgb, homography, (640, 480), flags=cv2.INTER_AREA, borderValue=(110, 110, 110))


def errors_px(board, T_cam_board: Pose, rgb: np.ndarray) -> np.ndarray:
    found = detect(board, rgb)
    assert found is not None
    assert len(set(found.ids)) == len(found.ids)
    expected, inside = CAMERA.project(T_cam_board.apply(board.object_points(found.ids)))
    assert inside.all()
    return np.linalg.norm(found.corners_px - expected, axis=1)


@pytest.mark.parametrize("board", [CHARUCO, TAG, GRID, CharucoBoard(legacy_pattern=True, squares_y=4)])
@pytest.mark.parametrize("tilt_rad", [0.0, 0.6])
@pytest.mark.parametrize("turn_rad", [0.1, 1.0, 2.0, 3.1, -1.5])
def test_corners_are_found_where_the_camera_sees_them(board, tilt_rad, turn_rad):
    T_cam_board = above(tilt_rad, turn_rad)
    rgb = photograph(board, T_cam_board)
    errors = errors_px(board, T_cam_board, rgb)
    assert len(errors) >= 0.9 * len(board.corner_ids)
    assert np.median(errors) < 0.2
    assert errors.max() < 0.7


@pytest.mark.parametrize("board", [TAG, GRID])
def test_corners_of_markers_are_not_drawn_inwards(board):
    """Else every scale from them would be wrong: 0.2 px of a corner 60 px from the middle are a third of a per cent."""
    inwards = []
    for number in range(1, 9):
        T_cam_board = above(0.08 * number, 0.7 * number, 0.4 + 0.05 * number)
        found = detect(board, photograph(board, T_cam_board))
        expected, _ = CAMERA.project(T_cam_board.apply(board.object_points(found.ids)))
        middles = expected.reshape(-1, 4, 2).mean(1).repeat(4, axis=0)
        ways = (expected - middles) / np.linalg.norm(expected - middles, axis=1, keepdims=True)
        inwards.extend(((expected - found.corners_px) * ways).sum(1))
    assert abs(np.mean(inwards)) < 0.06


def test_noise_moves_the_corners_a_little():
    T_cam_board = above(0.4, 0.3)
    rgb = photograph(CHARUCO, T_cam_board).astype(int) + np.random.default_rng(0).normal(0, 6, (480, 640, 3))
    assert np.median(errors_px(CHARUCO, T_cam_board, np.clip(rgb, 0, 255).astype(np.uint8))) < 0.2


def test_a_board_half_hidden_gives_the_other_half():
    T_cam_board = above()
    rgb = photograph(CHARUCO, T_cam_board)
    rgb[:, :320] = 60
    found = detect(CHARUCO, rgb)
    assert found is not None
    assert 6 <= len(found.ids) < 24
    assert (found.corners_px[:, 0] > 318).all()
    assert errors_px(CHARUCO, T_cam_board, rgb).max() < 0.7


@pytest.mark.parametrize("board", [CHARUCO, TAG, GRID])
def test_nothing_is_found_where_there_is_nothing(board):
    rng = np.random.default_rng(0)
    assert detect(board, np.full((480, 640, 3), 110, np.uint8)) is None
    assert detect(board, rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)) is None
    assert detect(board, np.zeros((20, 20, 3), np.uint8)) is None


def test_a_mirrored_board_is_not_one():
    assert detect(CHARUCO, np.ascontiguousarray(photograph(CHARUCO, above())[:, ::-1])) is None
    assert detect(TAG, np.ascontiguousarray(photograph(TAG, above())[:, ::-1])) is None


def test_another_boards_markers_are_not_taken_for_ours():
    ours = TAG.but(first_id=5)
    assert detect(ours, photograph(TAG, above())) is None
    assert detect(CHARUCO, photograph(CHARUCO.but(dictionary="DICT_6X6_100"), above())) is None


def test_one_tag_seen_twice_is_ambiguous_and_refused():
    left, right = photograph(TAG, above(aside_m=-0.13)), photograph(TAG, above(aside_m=0.13))
    assert detect(TAG, left) is not None
    both = np.concatenate([left[:, :320], right[:, 320:]], axis=1)
    assert detect(TAG, both) is None


@pytest.mark.parametrize("board", [CHARUCO, GRID])
def test_all_threads_find_the_same(board):
    pictures = [photograph(board, above(0.1 * number, 0.3 * number)) for number in range(6)] * 2
    alone = [detect(board, rgb) for rgb in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda rgb: detect(board, rgb), pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.corners_px, other.corners_px)
