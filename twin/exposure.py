"""Each training photo's exposure and white balance, as a 3×4 colour matrix that is learned beside the splat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from twin.optimiser import BETA1, BETA2

NONE = np.eye(3, 4, dtype=np.float32)


class Exposures:
    """`matrices[i]` takes the render to the colours of photo i. Their mean is kept at `NONE`.

    Otherwise the splat and the matrices could drift apart together, and the splat's own colours would mean
    no photo's.
    """

    def __init__(self, photos: int) -> None:
        self.matrices: Float[ndarray, "P 3 4"] = np.tile(NONE, (photos, 1, 1))
        self.first = np.zeros((photos, 3, 4), np.float32)
        self.second = np.zeros((photos, 3, 4), np.float32)
        self.counts = np.zeros(photos, np.int64)

    def step(self, photo: int, gradient: Float[ndarray, "3 4"], rate: float, weight: float) -> None:
        """One Adam step of one photo; `weight` · |E − NONE|² / 2 is added to its loss. A rate of 0 does nothing."""
        gradient = gradient + weight * (self.matrices[photo] - NONE)
        self.counts[photo] += 1
        self.first[photo] = BETA1 * self.first[photo] + (1 - BETA1) * gradient
        self.second[photo] = BETA2 * self.second[photo] + (1 - BETA2) * gradient**2
        mean = self.first[photo] / (1 - BETA1 ** self.counts[photo])
        square = self.second[photo] / (1 - BETA2 ** self.counts[photo])
        self.matrices[photo] -= rate * mean / (np.sqrt(square) + 1e-12)

    def centre(self) -> None:
        """Takes the mean change off all."""
        self.matrices -= self.matrices.mean(0) - NONE

    def arrays(self) -> dict[str, ndarray]:
        """All that `restore` needs."""
        return {"matrices": self.matrices, "first": self.first, "second": self.second, "counts": self.counts}

    def restore(self, arrays: dict[str, ndarray]) -> None:
        self.matrices, self.first = arrays["matrices"], arrays["first"]
        self.second, self.counts = arrays["second"], arrays["counts"]
