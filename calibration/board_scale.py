"""A hand-eye answer and its views in; how large the board is by the robot's own travel, out.

A board printed 4 % too large makes the camera believe that it is 4 % nearer. Where every view is from the same
distance, straight ahead, the camera's place on the tool takes that up, and no residual shows it: then the deviation
here is large. Where distance and side step vary, the robot's metres say what the board measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import least_squares

from calibration import hand_eye
from calibration.half_turn import HALF_TURN
from calibration.hand_eye import HandEye, HandEyeView


@dataclass(frozen=True)
class BoardScale:
    """The board's true size over the size that was said, and one standard deviation of it."""

    value: float
    deviation: float

    @property
    def off_percent(self) -> float:
        return 100 * abs(self.value - 1)


def measure(solved: HandEye, views: Sequence[HandEyeView]) -> BoardScale:
    """Solves A X B = Z once more, robustly, with the length of B's translations free. Outliers take no part."""
    A, B = hand_eye.stacks(views, solved.mounting)
    turned = np.array([view.name in solved.turned for view in views])
    keep = np.array([view.name not in solved.outliers for view in views])
    B = np.where(turned[:, None, None], B @ HALF_TURN, B)[keep]
    A, X, Z = A[keep], solved.X.matrix, solved.Z.matrix

    def residuals(x: ndarray) -> Float[ndarray, " R"]:
        sized = B.copy()
        sized[:, :3, 3] *= 1 + x[12]
        return hand_eye.misses(A, sized, X @ hand_eye.exp(x[:6]), Z @ hand_eye.exp(x[6:12])).ravel()

    width = 2 * float(np.median(np.abs(residuals(np.zeros(13))))) + 1e-6
    found = least_squares(residuals, np.zeros(13), loss="soft_l1", f_scale=width, x_scale="jac")
    freedom = max(6 * len(A) - 13, 1)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * 2 * found.cost / freedom
    return BoardScale(1 + float(found.x[12]), float(np.sqrt(covariance[12, 12])))
