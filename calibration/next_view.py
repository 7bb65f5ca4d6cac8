"""What has been photographed so far in; which pose to take next, and why, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from calibration import hand_eye
from calibration.hand_eye import HandEye, HandEyeView
from calibration.intrinsics import Intrinsics
from hardware.spatial import rotation_from_rotvec

ENOUGH_TILT_DEG = 45.0
ENOUGH_COVERAGE = 0.75
ACROSS, DOWN = ("left", "middle", "right"), ("upper", "middle", "lower")
TURNS_DEG = (-40.0, 40.0)
MOVE_M = 0.08


def of_camera(solved: Intrinsics) -> str:
    """A sentence: where in the picture the board is missing most, or which tilt."""
    if solved.covered < ENOUGH_COVERAGE:
        rows, columns = solved.coverage.shape
        thirds = solved.coverage.reshape(3, rows // 3, columns) > 0
        share = np.array([[part.mean() for part in np.array_split(row, 3, axis=1)] for row in thirds])
        row, column = np.unravel_index(int(share.argmin()), share.shape)
        return (
            f"hold the board in the {DOWN[row]} {ACROSS[column]} of the picture: corners were seen in "
            f"{100 * share[row, column]:.0f} % of it, and distortion is solved from the edges."
        )
    if solved.tilt_deg < ENOUGH_TILT_DEG:
        return (
            f"tilt the board by 30° or more: the views differ by {solved.tilt_deg:.0f}°, and only tilt tells the focal "
            "length from the distance."
        )
    return "nothing is missing; more pictures only average noise."


def of_hand_eye(solved: HandEye, views: Sequence[HandEyeView]) -> tuple[Float[ndarray, "4 4"], str]:
    """(T_base_tool to go to, why): the candidate that shrinks the answer's worst uncertainty most.

    Candidates are the poses so far, turned by ±40° about each axis of the tool or moved by 8 cm along it, the camera
    still towards the board. Whether the arm reaches it, and the board stays in the picture, is for the person to see.
    """
    A, _ = hand_eye.stacks(views, solved.mounting)
    X, Z = solved.X.matrix, solved.Z.matrix
    information = sum(view_information(a, X, Z) for a in A)
    best, gain, said = views[0].T_base_tool.matrix, -np.inf, ""
    for view in views[:: max(1, len(views) // 8)]:
        for axis in range(3):
            for turn_deg in TURNS_DEG:
                T = view.T_base_tool.matrix @ about(axis, turn_deg)
                a = T if solved.mounting == "eye_in_hand" else np.linalg.inv(T)
                after = np.linalg.eigvalsh(np.linalg.inv(information + view_information(a, X, Z))[:6, :6])[-1]
                if -after > gain:
                    name = "xyz"[axis]
                    best, gain = T, -after
                    said = f"from '{view.name}' turn the tool by {turn_deg:+.0f}° about its {name} axis"
    worst = np.linalg.inv(information)[:6, :6]
    spread = np.sqrt(np.diag(worst))
    weakest = "xyz"[int(np.argmax(spread[:3]))]
    return best, f"{said}: the camera's place along its {weakest} axis is known worst, and this turn shows it most"


def view_information(
    a: Float[ndarray, "4 4"], X: ndarray, Z: ndarray, step: float = 1e-5
) -> Float[ndarray, "12 12"]:
    """JᵀJ of the probes' misses of one view, by differences."""
    seen = np.linalg.inv(a @ X) @ Z
    columns = []
    for k in range(12):
        x = np.zeros(12)
        x[k] = step
        moved = hand_eye.misses(a[None], seen[None], X @ hand_eye.exp(x[:6]), Z @ hand_eye.exp(x[6:]))
        columns.append(moved.ravel() / step)
    jacobian = np.array(columns).T
    return jacobian.T @ jacobian + 1e-9 * np.eye(12)


def about(axis: int, turn_deg: float) -> Float[ndarray, "4 4"]:
    T = np.eye(4)
    T[:3, :3] = rotation_from_rotvec(np.eye(3)[axis] * np.radians(turn_deg))
    T[axis, 3] = MOVE_M * np.sign(turn_deg) * 0.5
    return T
