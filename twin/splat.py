"""A set of 3D Gaussians in memory: metres, one world frame, linear scales, opacity in 0 … 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hardware.errors import BadInput

SH_DEGREE_OF_COEFFICIENTS = {1: 0, 4: 1, 9: 2, 16: 3}


@dataclass(frozen=True, eq=False)
class Splat:
    """N Gaussians. Arrays are float32 and C-contiguous, so that kernels read them as they are."""

    means_m: Float[ndarray, "N 3"]
    quats_wxyz: Float[ndarray, "N 4"]
    """Need not be unit; the renderers normalise."""
    scales_m: Float[ndarray, "N 3"]
    """Standard deviations along the rotated axes (linear, not log)."""
    opacities: Float[ndarray, " N"]
    sh: Float[ndarray, "N K 3"]
    """Real spherical harmonics, K = (degree + 1)². Colour = max(0, 0.5 + Σ basis · sh), as in 3DGS."""

    def __post_init__(self) -> None:
        for field in fields(self):
            array = np.ascontiguousarray(getattr(self, field.name), dtype=np.float32)
            object.__setattr__(self, field.name, array)
        n = len(self.means_m)
        wanted = {"means_m": (n, 3), "quats_wxyz": (n, 4), "scales_m": (n, 3), "opacities": (n,)}
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")
        if self.sh.ndim != 3 or self.sh.shape[0] != n or self.sh.shape[2] != 3:
            raise ValueError(f"sh must have shape ({n}, K, 3), got {self.sh.shape}")
        if self.sh.shape[1] not in SH_DEGREE_OF_COEFFICIENTS:
            raise ValueError(f"sh has {self.sh.shape[1]} coefficients; have: 1, 4, 9 or 16 (degree 0 … 3)")

    def __len__(self) -> int:
        return len(self.means_m)

    @property
    def sh_degree(self) -> int:
        return SH_DEGREE_OF_COEFFICIENTS[self.sh.shape[1]]

    def require_finite(self, where: str = "the splat") -> None:
        """Raises `BadInput` that names the first array and Gaussian with a NaN or infinity."""
        for field in fields(self):
            array = getattr(self, field.name)
            finite = np.isfinite(array)
            if not finite.all():
                bad = np.argwhere(~finite)
                raise BadInput(
                    f"{where}: {field.name}[{bad[0][0]}] is not finite "
                    f"({len(np.unique(bad[:, 0]))} of {len(self)} Gaussians affected)",
                    "drop those Gaussians, or train again with a lower learning rate",
                )

    def select(self, index: Bool[ndarray, " N"] | Int[ndarray, " M"]) -> Splat:
        return Splat(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @staticmethod
    def concatenate(splats: Sequence[Splat]) -> Splat:
        """All Gaussians of all; lower SH degrees are padded with zeros to the highest."""
        if not splats:
            raise ValueError("nothing to concatenate")
        coefficients = max(splat.sh.shape[1] for splat in splats)
        padded = [np.pad(splat.sh, ((0, 0), (0, coefficients - splat.sh.shape[1]), (0, 0))) for splat in splats]
        return Splat(
            means_m=np.concatenate([splat.means_m for splat in splats]),
            quats_wxyz=np.concatenate([splat.quats_wxyz for splat in splats]),
            scales_m=np.concatenate([splat.scales_m for splat in splats]),
            opacities=np.concatenate([splat.opacities for splat in splats]),
            sh=np.concatenate(padded),
        )
