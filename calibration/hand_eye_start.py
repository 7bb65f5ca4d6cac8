"""Closed forms for A_i X B_i = Z: starts for a robust fit, each good where the others may fail.

Written out here because OpenCV 5's Python module no longer has `calibrateHandEye`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.spatial import rotvec_from_rotation

SMALLEST_RAD, LARGEST_RAD = 0.05, 3.0
"""Pairs whose relative turn lies between carry a direction that noise does not rule."""
DRAWS, PAIRS_A_DRAW = 60, 4


def starts(A: Float[ndarray, "V 4 4"], B: Float[ndarray, "V 4 4"]) -> dict[str, Float[ndarray, "4 4"]]:
    """X by each method that has an answer for these views."""
    i, j = np.triu_indices(len(A), 1)
    a, b = np.linalg.inv(A[j]) @ A[i], B[j] @ np.linalg.inv(B[i])  # a X = X b
    alpha, beta = (np.array([rotvec_from_rotation(T[:3, :3]) for T in side]) for side in (a, b))
    size = np.linalg.norm(alpha, axis=1)
    clear = (size > SMALLEST_RAD) & (size < LARGEST_RAD)
    if clear.sum() < 2:
        return {}
    a, b, alpha, beta = a[clear], b[clear], alpha[clear], beta[clear]
    found = {"axes": from_axes(a, b, alpha, beta), "Kronecker": from_kronecker(A, B)}
    rng = np.random.default_rng(0)
    for draw in range(DRAWS):
        chosen = rng.choice(len(a), min(PAIRS_A_DRAW, len(a)), replace=False)
        if np.linalg.matrix_rank(alpha[chosen], tol=0.1) >= 2:
            found[f"draw {draw}"] = from_axes(a[chosen], b[chosen], alpha[chosen], beta[chosen])
    return {name: X for name, X in found.items() if np.isfinite(X).all()}


def from_axes(a: ndarray, b: ndarray, alpha: ndarray, beta: ndarray) -> Float[ndarray, "4 4"]:
    """Rotation: the one that turns the camera's turning axes into the tool's (Park & Martin 1994, by SVD)."""
    u, _, vt = np.linalg.svd(alpha.T @ beta)
    R = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    left = (a[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = (b[:, :3, 3] @ R.T - a[:, :3, 3]).reshape(-1)
    return matrix(R, np.linalg.lstsq(left, right, rcond=None)[0])


def from_kronecker(A: ndarray, B: ndarray) -> Float[ndarray, "4 4"]:
    """Both unknown rotations at once from the largest singular vectors of Σ R_Bᵀ ⊗ R_A (Shah 2013)."""
    K = np.add.reduce([np.kron(Rb.T, Ra) for Ra, Rb in zip(A[:, :3, :3], B[:, :3, :3], strict=True)])
    _, _, vt = np.linalg.svd(K)
    R = nearest_rotation(vt[0].reshape(3, 3, order="F"))
    # R_A t_X − t_Z = −(R_A R_X t_B + t_A)
    left = np.concatenate([A[:, :3, :3], np.tile(-np.eye(3), (len(A), 1, 1))], axis=2).reshape(-1, 6)
    right = -(np.einsum("vij,vj->vi", A[:, :3, :3] @ R, B[:, :3, 3]) + A[:, :3, 3]).reshape(-1)
    return matrix(R, np.linalg.lstsq(left, right, rcond=None)[0][:3])


def nearest_rotation(M: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
    """Of either sign of M."""
    u, _, vt = np.linalg.svd(M if np.linalg.det(M) > 0 else -M)
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def matrix(R: ndarray, t: ndarray) -> Float[ndarray, "4 4"]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T
