"""Points in two worlds in; the scale, rotation and translation between them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import BadInput
from hardware.spatial import Pose


@dataclass(frozen=True, eq=False)
class Similarity:
    """`x → scale · rotation · x + translation`."""

    scale: float
    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, 3]

    def apply(self, points: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3"]:
        return self.scale * points @ self.rotation.T + self.translation

    def apply_pose(self, pose: Pose) -> Pose:
        """A pose in the first world → in the second; its axes turn, its origin moves and is scaled."""
        return Pose.from_parts(
            pose.parent, pose.child, self.rotation @ pose.rotation, self.apply(pose.translation_m)
        )

    def inverse(self) -> Similarity:
        turned = self.rotation.T
        return Similarity(1 / self.scale, turned, -turned @ self.translation / self.scale)

    @classmethod
    def identity(cls) -> Similarity:
        return cls(1.0, np.eye(3), np.zeros(3))


def fit(source: Float[ndarray, "N 3"], target: Float[ndarray, "N 3"]) -> Similarity:
    """Least squares (Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns").

    Raises `BadInput` for fewer than three points, and for points on a line: a turn round it would be arbitrary.
    """
    if len(source) != len(target) or len(source) < 3:
        raise BadInput(f"{len(source)} points against {len(target)}: a similarity needs three or more pairs")
    from_mean, to_mean = source.mean(0), target.mean(0)
    a, b = source - from_mean, target - to_mean
    u, singular, vt = np.linalg.svd(b.T @ a)
    if singular[1] <= 1e-9 * singular[0]:
        raise BadInput("the points lie on a line: the turn round it is arbitrary", "give points that span a plane")
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u * mirror @ vt
    scale = float((singular * mirror).sum() / (a**2).sum())
    return Similarity(scale, rotation, to_mean - scale * rotation @ from_mean)


def fit_robustly(source: Float[ndarray, "N 3"], target: Float[ndarray, "N 3"], rounds: int = 20) -> Similarity:
    """Leaves out what is beyond three times the median residual, again and again: a few wrong pairs do not matter.

    Needs a clear majority of right pairs.
    """
    found = fit(source, target)
    for _ in range(rounds):
        residual = np.linalg.norm(found.apply(source) - target, axis=1)
        width = 3 * float(np.median(residual)) + 1e-12 * float(np.abs(target).max() + 1)
        keep = residual <= width
        if keep.sum() < 3 or keep.all():
            break
        found = fit(source[keep], target[keep])
    return found
