"""Robot poses and what the camera saw of a board at each of them in; where the camera is, out.

Camera on the tool (`eye_in_hand`) or standing (`eye_to_hand`, board on the tool): both are A_i X B_i = Z with
B = T_cam_board; A = T_base_tool, X = T_tool_cam, Z = T_base_board in the first case, and A = T_tool_base,
X = T_base_cam, Z = T_tool_board in the second. Closed forms are only starts (any of them can be centimetres off on
real data): the best of them by its own spread goes into a robust fit over all views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.optimize import least_squares

from calibration import hand_eye_start
from calibration.half_turn import HALF_TURN, angles, half_turned
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec, rotvec_from_rotation

Mounting = Literal["eye_in_hand", "eye_to_hand"]

FEWEST_VIEWS = 5
FOLDS = 5
LEAST_TURN_RAD = np.radians(15)
LEAST_SECOND_AXIS = 0.12
"""The second largest spread of turning axes, relative to the largest: below, the turns are about one axis."""
LEVER_M = 0.1
"""Rotation counts by what it moves at this distance from the board's centre."""
OUTLIER_SIGMAS = 4.0
PROBES_M = LEVER_M * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])


class TooLittleMotion(BadInput):
    """The answer would look fine and be wrong."""


@dataclass(frozen=True, eq=False)
class Corners:
    """Board corners in one picture, without the lens's distortion."""

    points_m: Float[ndarray, "N 3"]
    """In the board's frame."""
    ideal: Float[ndarray, "N 2"]
    """x/z and y/z in the camera's frame."""
    focal_px: float

    @classmethod
    def of_pose(cls, T_cam_board: Pose, points_m: Float[ndarray, "N 3"], focal_px: float) -> Corners:
        """Where a pose that was solved elsewhere has them: weighs its six numbers as the pictures did."""
        seen = T_cam_board.apply(points_m)
        return cls(points_m, seen[:, :2] / seen[:, 2:], focal_px)

    def misses_px(self, T_cam_board: Float[ndarray, "4 4"]) -> Float[ndarray, "N 2"]:
        seen = self.points_m @ T_cam_board[:3, :3].T + T_cam_board[:3, 3]
        return (seen[:, :2] / seen[:, 2:] - self.ideal) * self.focal_px

    def half_turned(self) -> Corners:
        return Corners(self.points_m @ HALF_TURN[:3, :3], self.ideal, self.focal_px)


@dataclass(frozen=True, eq=False)
class HandEyeView:
    name: str
    T_base_tool: Pose
    T_cam_board: Pose
    corners: Corners | None = None
    """What `T_cam_board` was solved from. With them in all views the fit is in pixels, not in millimetres."""


@dataclass(frozen=True, eq=False)
class HandEye:
    mounting: Mounting
    X: Pose
    """T_tool_cam or T_base_cam."""
    Z: Pose
    """T_base_board or T_tool_board."""
    errors_mm: Float[ndarray, " V"]
    """How far off each view puts the board's centre, outliers too."""
    errors_deg: Float[ndarray, " V"]
    outliers: tuple[str, ...]
    turned: tuple[str, ...]
    held_out_mm: float
    """Median over views that took no part."""
    held_out_deg: float
    deviation_mm: float
    deviation_deg: float
    starts_mm: dict[str, float]
    """Median spread by each closed form."""
    rms_px: float | None
    """Of the corners, where the views have them."""

    @property
    def spread_mm(self) -> float:
        return float(np.median(self.errors_mm))


def solve(views: Sequence[HandEyeView], mounting: Mounting, ambiguous_board: bool = False) -> HandEye:
    """Raises `TooLittleMotion` unless the tool turned about two axes, `BadInput` for too few views."""
    if len(views) < FEWEST_VIEWS:
        raise BadInput(
            f"{len(views)} views of the board, at least {FEWEST_VIEWS} are needed",
            "take 15 or more, turning the tool about two axes",
        )
    A, B = stacks(views, mounting)
    require_motion(A)
    turned = half_turned(A, B) if ambiguous_board else np.zeros(len(views), bool)
    B = np.where(turned[:, None, None], B @ HALF_TURN, B)
    corners = corners_of(views, turned)
    X, starts = best_start(A, B)
    fitted, keep = fit_without_outliers(A, B, X, corners)
    errors_mm, errors_deg = errors(A, B, fitted.X, fitted.Z)
    held_mm, held_deg = held_out(A[keep], B[keep], fitted.X, chosen(corners, keep))
    names = frame_names(mounting)
    return HandEye(
        mounting=mounting,
        X=Pose(*names[0], fitted.X),
        Z=Pose(*names[1], fitted.Z),
        errors_mm=errors_mm,
        errors_deg=errors_deg,
        outliers=tuple(view.name for view, kept in zip(views, keep, strict=True) if not kept),
        turned=tuple(view.name for view, was in zip(views, turned, strict=True) if was),
        held_out_mm=held_mm,
        held_out_deg=held_deg,
        deviation_mm=fitted.deviation_m * 1000,
        deviation_deg=float(np.degrees(fitted.deviation_rad)),
        starts_mm=starts,
        rms_px=None if corners is None else rms_px(A[keep], chosen(corners, keep) or [], fitted.X, fitted.Z),
    )


def corners_of(views: Sequence[HandEyeView], turned: Bool[ndarray, " V"]) -> list[Corners] | None:
    """None unless every view has them."""
    found = []
    for view, was_turned in zip(views, turned, strict=True):
        if view.corners is None:
            return None
        found.append(view.corners.half_turned() if was_turned else view.corners)
    return found


def chosen(corners: list[Corners] | None, keep: Bool[ndarray, " V"]) -> list[Corners] | None:
    return None if corners is None else [item for item, kept in zip(corners, keep, strict=True) if kept]


def frame_names(mounting: Mounting) -> tuple[tuple[str, str], tuple[str, str]]:
    """Frames of X and Z."""
    if mounting == "eye_in_hand":
        return ("tool", "cam"), ("base", "board")
    return ("base", "cam"), ("tool", "board")


def stacks(
    views: Sequence[HandEyeView], mounting: Mounting
) -> tuple[Float[ndarray, "V 4 4"], Float[ndarray, "V 4 4"]]:
    A = [view.T_base_tool if mounting == "eye_in_hand" else view.T_base_tool.inverse() for view in views]
    return np.array([pose.matrix for pose in A]), np.array([view.T_cam_board.matrix for view in views])


def require_motion(A: Float[ndarray, "V 4 4"]) -> None:
    """Turns of every view against every other must be large enough, and about more than one axis."""
    i, j = np.triu_indices(len(A), 1)
    relative = np.einsum("nba,nbc->nac", A[i, :3, :3], A[j, :3, :3])
    size = angles(relative)
    if size.max() < LEAST_TURN_RAD:
        raise TooLittleMotion(
            f"the tool turned by {np.degrees(size.max()):.1f}° at most between views",
            "turn the wrist by 30° and more between views, about two axes",
        )
    clear = (size > LEAST_TURN_RAD / 2) & (size < np.pi - 0.1)
    vectors = np.array([rotvec_from_rotation(R) for R in relative[clear]])
    spread = np.linalg.svd(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[1]
    if spread[1] < LEAST_SECOND_AXIS * spread[0]:
        axis = np.linalg.svd(vectors)[2][0]
        raise TooLittleMotion(
            f"the tool only turned about one axis ({', '.join(f'{x:.2f}' for x in axis)} in its own frame)",
            "turn it about a second axis too: along the first one the camera's place cannot be told",
        )


def best_start(
    A: Float[ndarray, "V 4 4"], B: Float[ndarray, "V 4 4"]
) -> tuple[Float[ndarray, "4 4"], dict[str, float]]:
    """Of the closed forms the one whose board spreads least, and each one's spread in mm."""
    found = hand_eye_start.starts(A, B)
    spreads = {name: float(np.median(errors(A, B, X, mean_pose(A @ X @ B))[0])) for name, X in found.items()}
    if not found:
        raise TooLittleMotion("no closed form has an answer for these views", "turn the tool more between views")
    return found[min(spreads, key=spreads.__getitem__)], spreads


def mean_pose(Ts: Float[ndarray, "V 4 4"]) -> Float[ndarray, "4 4"]:
    """Chordal mean of the rotations, median of the places."""
    u, _, vt = np.linalg.svd(Ts[:, :3, :3].sum(0))
    T = np.eye(4)
    T[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    T[:3, 3] = np.median(Ts[:, :3, 3], 0)
    return T


@dataclass(frozen=True, eq=False)
class Fitted:
    X: Float[ndarray, "4 4"]
    Z: Float[ndarray, "4 4"]
    deviation_m: float
    deviation_rad: float


def fit(
    A: Float[ndarray, "V 4 4"],
    B: Float[ndarray, "V 4 4"],
    X: Float[ndarray, "4 4"],
    corners: list[Corners] | None = None,
) -> Fitted:
    """X and Z that bring the board's corners (in pixels), else probes on it (in metres), together best.

    Soft L1 at twice the median residual.
    """
    Z = mean_pose(A @ X @ B)

    def residuals(x: ndarray) -> ndarray:
        here, board = X @ exp(x[:6]), Z @ exp(x[6:])
        if corners is None:
            return misses(A, B, here, board).ravel()
        return np.concatenate(
            [c.misses_px(T) for c, T in zip(corners, seen_boards(A, here, board), strict=True)]
        ).ravel()

    width = 2 * float(np.median(np.abs(residuals(np.zeros(12))))) + 1e-6
    solved = least_squares(residuals, np.zeros(12), loss="soft_l1", f_scale=width, x_scale="jac")
    freedom = max(6 * len(A) - 12, 1)  # a view says six numbers, however many corners it has
    covariance = np.linalg.pinv(solved.jac.T @ solved.jac) * 2 * solved.cost / freedom
    return Fitted(
        X @ exp(solved.x[:6]),
        Z @ exp(solved.x[6:]),
        float(np.sqrt(np.trace(covariance[:3, :3]))),
        float(np.sqrt(np.trace(covariance[3:6, 3:6]))),
    )


def seen_boards(A: ndarray, X: ndarray, Z: ndarray) -> Float[ndarray, "V 4 4"]:
    """T_cam_board of every view, as X and Z have it."""
    return np.linalg.inv(A @ X) @ Z


def rms_px(A: ndarray, corners: list[Corners], X: ndarray, Z: ndarray) -> float:
    squares = [(c.misses_px(T) ** 2).sum(-1) for c, T in zip(corners, seen_boards(A, X, Z), strict=True)]
    return float(np.sqrt(np.concatenate(squares).mean()))


def exp(twist: Float[ndarray, 6]) -> Float[ndarray, "4 4"]:
    """A small motion: rotation vector last, translation first, not coupled."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation_from_rotvec(twist[3:]), twist[:3]
    return T


def misses(A: ndarray, B: ndarray, X: ndarray, Z: ndarray) -> Float[ndarray, "V 4 3"]:
    """By how many metres each view misplaces the board's centre and three probes beside it."""
    seen = A @ X @ B
    return np.einsum("vij,pj->vpi", seen[:, :3, :3] - Z[:3, :3], PROBES_M) + (seen[:, :3, 3] - Z[:3, 3])[:, None]


def errors(A: ndarray, B: ndarray, X: ndarray, Z: ndarray) -> tuple[Float[ndarray, " V"], Float[ndarray, " V"]]:
    """(mm of the board's centre, degrees of its rotation) per view."""
    seen = A @ X @ B
    away = np.linalg.norm(seen[:, :3, 3] - Z[:3, 3], axis=1) * 1000
    return away, np.degrees(angles(np.einsum("ba,vbc->vac", Z[:3, :3], seen[:, :3, :3])))


def fit_without_outliers(
    A: ndarray, B: ndarray, X: ndarray, corners: list[Corners] | None
) -> tuple[Fitted, Bool[ndarray, " V"]]:
    """Views beyond four times the median error are left out, then all is solved once more."""
    fitted, keep = fit(A, B, X, corners), np.ones(len(A), bool)
    for _ in range(3):
        size = np.linalg.norm(misses(A, B, fitted.X, fitted.Z), axis=-1).max(-1)
        typical = float(np.median(size[keep]))
        good = size <= typical * OUTLIER_SIGMAS + 2e-4
        if good.sum() < FEWEST_VIEWS or (good == keep).all():
            break
        keep = good
        fitted = fit(A[keep], B[keep], fitted.X, chosen(corners, keep))
    return fitted, keep


def held_out(A: ndarray, B: ndarray, X: ndarray, corners: list[Corners] | None) -> tuple[float, float]:
    """Medians over views, each measured with an answer from the folds it is not in."""
    folds = min(FOLDS, len(A))
    fold_of = np.arange(len(A)) % folds
    away_mm, turned_deg = [], []
    for fold in range(folds):
        used, apart = fold_of != fold, fold_of == fold
        fitted = fit(A[used], B[used], X, chosen(corners, used))
        mm, deg = errors(A[apart], B[apart], fitted.X, fitted.Z)
        away_mm += mm.tolist()
        turned_deg += deg.tolist()
    return float(np.median(away_mm)), float(np.median(turned_deg))
