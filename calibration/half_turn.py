"""Which views took a board that looks the same turned by 180° upside down: robot and board poses in, the answer out.

Two views' relative rotation has the same angle seen by the robot and by the camera (A X = X B keeps the angle). For
each pair the angle with and without a half turn between them votes; the leading eigenvector of the votes parts the
views into two groups (angular synchronisation over ±1, Singer 2011, https://arxiv.org/abs/0905.3174).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])
"""About the board's centre, where its frame is."""
CERTAIN_RAD = 0.2
"""A pair whose two angles differ in fit by this much has a full vote."""


def half_turned(Ts_a: Float[ndarray, "V 4 4"], Ts_cam_board: Float[ndarray, "V 4 4"]) -> Bool[ndarray, " V"]:
    """True for the smaller group. `Ts_a`: T_base_tool, or T_tool_base where the camera stands."""
    by_robot = angles(np.einsum("jba,ibc->ijac", Ts_a[:, :3, :3], Ts_a[:, :3, :3]))
    R = Ts_cam_board[:, :3, :3]
    same = angles(np.einsum("jab,icb->ijac", R, R))
    turned = angles(np.einsum("jab,b,icb->ijac", R, np.diag(HALF_TURN)[:3], R))
    votes = np.clip((np.abs(by_robot - turned) - np.abs(by_robot - same)) / CERTAIN_RAD, -1, 1)
    np.fill_diagonal(votes, 0)
    leading = np.linalg.eigh((votes + votes.T) / 2)[1][:, -1]
    group = leading < 0
    return ~group if group.sum() * 2 > len(group) else group


def angles(rotations: Float[ndarray, "*batch 3 3"]) -> Float[ndarray, "*batch"]:
    """Angle of each rotation matrix, rad."""
    return np.arccos(np.clip((np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
