"""Rigid transforms with frame names: `T_a_b` maps points written in frame b to frame a.

Quaternions are wxyz. Twists are `[v, ω]` (metres, radians), as in Lynch & Park, Modern Robotics, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import FrameError

_SMALL_ANGLE_RAD = 1e-5  # below: series; there the dropped term is < 1e-11


def skew(v: Float[ndarray, 3]) -> Float[ndarray, "3 3"]:
    """The matrix whose product with x is v × x."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def rotation_from_quat_wxyz(quat_wxyz: Float[ndarray, "*batch 4"]) -> Float[ndarray, "*batch 3 3"]:
    """Normalises first; raises `ValueError` on a zero quaternion."""
    norm = np.linalg.norm(quat_wxyz, axis=-1, keepdims=True)
    if not np.all(norm > 0):
        raise ValueError("a zero quaternion has no direction")
    w, x, y, z = np.moveaxis(quat_wxyz / norm, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quat_wxyz_from_rotation(rotation: Float[ndarray, "*batch 3 3"]) -> Float[ndarray, "*batch 4"]:
    """Unit quaternion with w ≥ 0. Stable at every angle (Bar-Itzhack's eigenvector form)."""
    r = rotation
    trace_like = np.empty((*r.shape[:-2], 4, 4))
    trace_like[..., 0, 0] = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2]
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        trace_like[..., i + 1, i + 1] = r[..., i, i] - r[..., j, j] - r[..., k, k]
        trace_like[..., 0, i + 1] = trace_like[..., i + 1, 0] = r[..., k, j] - r[..., j, k]
        trace_like[..., j + 1, k + 1] = trace_like[..., k + 1, j + 1] = r[..., j, k] + r[..., k, j]
    _, vectors = np.linalg.eigh(trace_like)
    quat = vectors[..., :, -1]
    return np.where(quat[..., :1] < 0, -quat, quat)


def rotation_from_rotvec(rotvec_rad: Float[ndarray, 3]) -> Float[ndarray, "3 3"]:
    """Rodrigues' formula."""
    angle = float(np.linalg.norm(rotvec_rad))
    k = skew(rotvec_rad)
    if angle < _SMALL_ANGLE_RAD:
        return np.eye(3) + k + 0.5 * k @ k
    return np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * k @ k


def rotvec_from_rotation(rotation: Float[ndarray, "3 3"]) -> Float[ndarray, 3]:
    """Angle in [0, π] about a unit axis; exact at 0 and π too, since it goes through the quaternion."""
    quat = quat_wxyz_from_rotation(rotation)
    sine = float(np.linalg.norm(quat[1:]))
    if sine < _SMALL_ANGLE_RAD:
        return 2.0 * quat[1:]
    return 2.0 * np.arctan2(sine, quat[0]) / sine * quat[1:]


def _left_jacobian(rotvec_rad: Float[ndarray, 3]) -> Float[ndarray, "3 3"]:
    angle = float(np.linalg.norm(rotvec_rad))
    k = skew(rotvec_rad)
    if angle < 1e-3:  # (angle - sin) / angle**3 loses its digits long before the series is inexact
        return np.eye(3) + k * (0.5 - angle**2 / 24) + k @ k * (1 / 6 - angle**2 / 120)
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * k + (angle - np.sin(angle)) / angle**3 * k @ k


@dataclass(frozen=True, eq=False)
class Pose:
    """`T_parent_child`: maps points written in `child` to `parent`. Metres.

    >>> T_base_obj = T_base_tool @ T_tool_cam @ T_cam_obj
    """

    parent: str
    child: str
    matrix: Float[ndarray, "4 4"]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"T_{self.parent}_{self.child} must be a finite 4×4 matrix, got {matrix.tolist()}")
        rotation = matrix[:3, :3]
        error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        if error > 1e-4 or np.linalg.det(rotation) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1]):
            raise ValueError(
                f"T_{self.parent}_{self.child} is not rigid: |R Rᵀ - 1| = {error:.2g} "
                f"(limit 1e-4), det R = {np.linalg.det(rotation):+.3f}, last row {matrix[3].tolist()}"
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls, parent: str, child: str) -> Pose:
        return cls(parent, child, np.eye(4))

    @classmethod
    def from_parts(
        cls,
        parent: str,
        child: str,
        rotation: Float[ndarray, "3 3"],
        translation_m: Float[ndarray, 3] | Sequence[float],
    ) -> Pose:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = translation_m
        return cls(parent, child, matrix)

    @classmethod
    def from_quat_wxyz(
        cls, parent: str, child: str, quat_wxyz: Sequence[float], translation_m: Sequence[float]
    ) -> Pose:
        quat = np.asarray(quat_wxyz, dtype=np.float64)
        return cls.from_parts(parent, child, rotation_from_quat_wxyz(quat), np.asarray(translation_m, float))

    @classmethod
    def exp(cls, parent: str, child: str, twist: Float[ndarray, 6]) -> Pose:
        """SE(3) exponential of `[v, ω]`."""
        translation_m = _left_jacobian(twist[3:]) @ twist[:3]
        return cls.from_parts(parent, child, rotation_from_rotvec(twist[3:]), translation_m)

    def log(self) -> Float[ndarray, 6]:
        """The twist `[v, ω]` with `exp(log(T)) = T`; |ω| ≤ π."""
        rotvec_rad = rotvec_from_rotation(self.rotation)
        return np.concatenate([np.linalg.solve(_left_jacobian(rotvec_rad), self.translation_m), rotvec_rad])

    @property
    def rotation(self) -> Float[ndarray, "3 3"]:
        return self.matrix[:3, :3]

    @property
    def translation_m(self) -> Float[ndarray, 3]:
        return self.matrix[:3, 3]

    @property
    def quat_wxyz(self) -> Float[ndarray, 4]:
        return quat_wxyz_from_rotation(self.rotation)

    def inverse(self) -> Pose:
        rotation = self.rotation.T
        return Pose.from_parts(self.child, self.parent, rotation, -rotation @ self.translation_m)

    def __matmul__(self, other: Pose) -> Pose:
        if self.child != other.parent:
            raise FrameError(
                f"T_{self.parent}_{self.child} @ T_{other.parent}_{other.child}: "
                f"the inner frames '{self.child}' and '{other.parent}' differ"
            )
        return Pose(self.parent, other.child, self.matrix @ other.matrix)

    def apply(self, points: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3"]:
        """Points written in `child` → written in `parent`."""
        return points @ self.rotation.T + self.translation_m

    def distance_to(self, other: Pose) -> tuple[float, float]:
        """(metres, radians) between two poses of the same pair of frames."""
        if (self.parent, self.child) != (other.parent, other.child):
            raise FrameError(f"T_{self.parent}_{self.child} and T_{other.parent}_{other.child} are not comparable")
        turn = rotvec_from_rotation(self.rotation.T @ other.rotation)
        return float(np.linalg.norm(self.translation_m - other.translation_m)), float(np.linalg.norm(turn))

    def to_list(self) -> list[list[float]]:
        return self.matrix.tolist()

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Pose):
            return NotImplemented
        same_frames = (self.parent, self.child) == (other.parent, other.child)
        return same_frames and bool(np.array_equal(self.matrix, other.matrix))

    __hash__ = None  # type: ignore[assignment]
