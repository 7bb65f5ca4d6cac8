"""The board in many pictures of one camera in; its focal length, centre and distortion, with their errors, out.

OpenCV solves; this module decides whether the pictures can support an answer, and measures it on pictures that took
no part. Views that are too alike give a small residual and a wrong focal length, so they are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from calibration.views import BoardView
from hardware.board import Board
from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.spatial import rotation_from_rotvec

FEWEST_VIEWS = 6
FOLDS = 4
COLUMNS, ROWS = 8, 6
"""Cells of the coverage map."""
OUTLIER_TIMES = 3.0
"""A view this many times worse than the median is named and left out."""


@dataclass(frozen=True, eq=False)
class Intrinsics:
    camera: CameraModel
    rms_px: float
    held_out_rms_px: float
    focal_deviation_px: float
    view_rms_px: Float[ndarray, " V"]
    """Of every view, outliers too."""
    outliers: tuple[str, ...]
    coverage: Int[ndarray, "R C"]
    """Corners per cell of the picture."""
    tilt_deg: float
    """The largest angle between the board's normals in two views: depth and focal length part only by tilt."""

    @property
    def covered(self) -> float:
        return float((self.coverage > 0).mean())


def solve(board: Board, views: Sequence[BoardView], distortion: int = 5) -> Intrinsics:
    """`distortion`: how many of k1 k2 p1 p2 k3 are solved (0, 2, 4 or 5); the others stay zero.

    Raises `BadInput` for too few views.
    """
    if len(views) < FEWEST_VIEWS:
        raise BadInput(
            f"{len(views)} pictures show the board, at least {FEWEST_VIEWS} are needed",
            "take 15 or more: the board in every part of the picture, tilted each way by 30°",
        )
    kept = list(views)
    fitted = _fit(board, kept, distortion)
    errors = np.array([view_rms_px(board, fitted.camera, view) for view in views])
    limit = OUTLIER_TIMES * float(np.median(errors)) + 0.05
    outliers = tuple(view.name for view, error in zip(views, errors, strict=True) if error > limit)
    if outliers and len(views) - len(outliers) >= FEWEST_VIEWS:
        kept = [view for view in views if view.name not in outliers]
        fitted = _fit(board, kept, distortion)
        errors = np.array([view_rms_px(board, fitted.camera, view) for view in views])
    return Intrinsics(
        camera=fitted.camera,
        rms_px=fitted.rms_px,
        held_out_rms_px=held_out(board, kept, distortion),
        focal_deviation_px=fitted.focal_deviation_px,
        view_rms_px=errors,
        outliers=outliers,
        coverage=coverage(kept),
        tilt_deg=tilt_deg(fitted.rotvecs),
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    camera: CameraModel
    rms_px: float
    focal_deviation_px: float
    rotvecs: list[Float[ndarray, 3]]


def _fit(board: Board, views: Sequence[BoardView], distortion: int) -> _Fit:
    points = [board.object_points(view.detection.ids).astype(np.float32) for view in views]
    corners = [_opencv(view).astype(np.float32) for view in views]
    size = views[0].width_px, views[0].height_px
    flags = {
        0: cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
        2: cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
        4: cv2.CALIB_FIX_K3,
        5: 0,
    }[distortion] | cv2.CALIB_FIX_ASPECT_RATIO
    start = np.eye(3)  # square pixels: every sensor of today
    rms, K, d, rotvecs, _, deviations, *_ = cv2.calibrateCameraExtended(
        points, corners, size, start, np.zeros(5), flags=flags
    )
    k1, k2, p1, p2, k3 = d.ravel()[:5].tolist()
    camera = CameraModel(
        width_px=size[0],
        height_px=size[1],
        fx_px=K[0, 0],
        fy_px=K[1, 1],
        cx_px=K[0, 2] + 0.5,
        cy_px=K[1, 2] + 0.5,
        k1=k1,
        k2=k2,
        p1=p1,
        p2=p2,
        k3=k3,
    )
    return _Fit(camera, float(rms), float(deviations.ravel()[:2].max()), [r.ravel() for r in rotvecs])


def _opencv(view: BoardView) -> Float[ndarray, "N 2"]:
    return view.detection.corners_px - 0.5


def view_rms_px(board: Board, camera: CameraModel, view: BoardView) -> float:
    """After the view's own pose is fitted."""
    points = board.object_points(view.detection.ids)
    found, rotvec, t = cv2.solvePnP(points, _opencv(view), camera.matrix_opencv, camera.distortion)
    if not found:
        return float("inf")
    drawn, _ = cv2.projectPoints(points, rotvec, t, camera.matrix_opencv, camera.distortion)
    return float(np.sqrt(((drawn.reshape(-1, 2) - _opencv(view)) ** 2).sum(-1).mean()))


def held_out(board: Board, views: Sequence[BoardView], distortion: int) -> float:
    """RMS over all views, each measured with a camera solved from the folds that it is not in."""
    squares: list[float] = []
    folds = min(FOLDS, len(views))
    for fold in range(folds):
        apart = [view for number, view in enumerate(views) if number % folds == fold]
        used = [view for number, view in enumerate(views) if number % folds != fold]
        camera = _fit(board, used, distortion).camera
        squares += [view_rms_px(board, camera, view) ** 2 for view in apart]
    return float(np.sqrt(np.mean(squares)))


def coverage(views: Sequence[BoardView]) -> Int[ndarray, "R C"]:
    counts = np.zeros((ROWS, COLUMNS), np.int64)
    for view in views:
        column = np.clip(view.detection.corners_px[:, 0] / view.width_px * COLUMNS, 0, COLUMNS - 1).astype(int)
        row = np.clip(view.detection.corners_px[:, 1] / view.height_px * ROWS, 0, ROWS - 1).astype(int)
        np.add.at(counts, (row, column), 1)
    return counts


def tilt_deg(rotvecs: Sequence[Float[ndarray, 3]]) -> float:
    normals = np.array([rotation_from_rotvec(np.asarray(r, np.float64))[:, 2] for r in rotvecs])
    return float(np.degrees(np.arccos(np.clip((normals @ normals.T).min(), -1, 1))))
