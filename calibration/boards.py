"""A picture in; which corners of a printed board it shows, and where, out."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from hardware.board import Board, CharucoBoard, Chessboard, MarkerBoard

FEWEST_CORNERS = 6
"""Fewer corners of a plane say little about where it is, and more often are a mistake."""
WINDOW_SHARE, WIDEST_PX = 0.4, 20


@dataclass(frozen=True, eq=False)
class Detection:
    """`ids` index `board.object_points`."""

    ids: Int[ndarray, " N"]
    corners_px: Float[ndarray, "N 2"]
    """Pixel (0, 0) is the corner of the first pixel (OpenCV's detections, plus a half)."""


def detect(board: Board, rgb: UInt8[ndarray, "H W 3"]) -> Detection | None:
    """None when fewer than six corners of a ChArUco board (a single marker has four) are seen."""
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    if isinstance(board, Chessboard):
        return _chessboard(board, grey)
    found = _charuco(board, grey) if isinstance(board, CharucoBoard) else _markers(board, grey)
    least = FEWEST_CORNERS if isinstance(board, CharucoBoard) else 4
    if found is None or len(found.ids) < least or _on_a_line(board, found):
        return None
    return found


def _charuco(board: CharucoBoard, grey: UInt8[ndarray, "H W"]) -> Detection | None:
    corners, ids, _, numbers = _charuco_detector(board).detectBoard(grey)  # pyright: ignore[reportArgumentType]
    if ids is None or corners is None:
        return None
    if numbers is not None and len(np.unique(numbers)) < len(numbers):
        return None  # a marker twice: two boards, or a reflection
    return Detection(ids.reshape(-1).astype(np.int64), corners.reshape(-1, 2).astype(np.float64) + 0.5)


def _chessboard(board: Chessboard, grey: UInt8[ndarray, "H W"]) -> Detection | None:
    """The whole board or nothing. Where its colours tell up from down, id 0 is the corner they say."""
    size = board.squares_x - 1, board.squares_y - 1
    found, corners = cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if not found:
        found, corners = cv2.findChessboardCorners(grey, size)
        if not found:
            return None
    corners = _refined(grey, corners.reshape(size[1], size[0], 2))
    grid = corners.reshape(size[1], size[0], 2).astype(np.float64)
    if np.linalg.det([grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]]) < 0:
        grid = grid[:, ::-1]  # mirrored: ids must run to the right, then down
    dark, bright = (grid[0, k] + grid[1, k + 1] for k in (0, 1))  # twice the centres of neighbours within the board
    if not board.looks_the_same_turned and _brightness(grey, dark / 2) > _brightness(grey, bright / 2):
        grid = grid[::-1, ::-1]
    return Detection(board.corner_ids, grid.reshape(-1, 2) + 0.5)


def _refined(grey: UInt8[ndarray, "H W"], grid: Float[ndarray, "R C 2"]) -> Float[ndarray, "R C 2"]:
    """To where the gradients around each corner meet, in a window as large as the squares allow.

    On OpenCV's own chessboard photos a window of 0.4 of the shortest square leaves 0.18 px RMS, the detector's own
    corners 0.26 px, and the customary fixed 11 px, which reaches into the next corner on far boards, 0.41 px.
    """
    steps_px = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).min() for axis in (0, 1)]
    reach_px = int(np.clip(WINDOW_SHARE * min(steps_px), 2, WIDEST_PX))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    start = np.ascontiguousarray(grid.reshape(-1, 1, 2), np.float32)
    return cv2.cornerSubPix(grey, start, (reach_px, reach_px), (-1, -1), stop).reshape(grid.shape)


def _brightness(grey: UInt8[ndarray, "H W"], at_px: Float[ndarray, 2]) -> float:
    x, y = np.round(at_px).astype(int)
    return float(grey[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean())


def _markers(board: MarkerBoard, grey: UInt8[ndarray, "H W"]) -> Detection | None:
    """Corners are where fitted edges meet (as AprilTag 2 does it), whose pixel (0, 0) is our corner already.

    On drawn tags of 60 to 200 px they err by 0.11 px (median), without bias; corners refined by `cornerSubPix` err by
    0.25 px, all of it towards the tag's middle, which makes a twin a third of a per cent too large.
    """
    corners, ids, _ = _marker_detector(board.dictionary).detectMarkers(grey)
    if ids is None:
        return None
    count = board.columns * board.rows
    numbers = ids.reshape(-1).astype(np.int64) - board.first_id
    seen = [(number, quad) for number, quad in zip(numbers, corners, strict=True) if 0 <= number < count]
    if not seen or len({number for number, _ in seen}) < len(seen):
        return None  # nothing, or one marker twice: two boards, or a reflection
    ids_of_corners = np.concatenate([4 * number + np.arange(4) for number, _ in seen])
    return Detection(ids_of_corners, np.concatenate([quad.reshape(4, 2) for _, quad in seen]).astype(np.float64))


def marker_ids(dictionary: str, grey: UInt8[ndarray, "H W"]) -> list[int]:
    """Of every marker of a dictionary in the picture, in whatever pattern; one seen twice is there twice."""
    _, ids, _ = _marker_detector(dictionary).detectMarkers(grey)
    return [] if ids is None else [int(number) for number in ids.ravel()]


def _on_a_line(board: Board, found: Detection) -> bool:
    """Corners of one row say nothing about the turn round it."""
    points_m = board.object_points(found.ids)[:, :2]
    along_m, across_m = np.linalg.svd(points_m - points_m.mean(0), compute_uv=False)
    return bool(across_m <= 1e-6 * along_m)


@functools.lru_cache(maxsize=8)
def _charuco_detector(board: CharucoBoard) -> cv2.aruco.CharucoDetector:
    size = board.squares_x, board.squares_y
    described = cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, _dictionary(board.dictionary))
    described.setLegacyPattern(board.legacy_pattern)
    return cv2.aruco.CharucoDetector(described)


@functools.lru_cache(maxsize=8)
def _marker_detector(dictionary: str) -> cv2.aruco.ArucoDetector:
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_APRILTAG
    return cv2.aruco.ArucoDetector(_dictionary(dictionary), parameters)


def _dictionary(name: str) -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
