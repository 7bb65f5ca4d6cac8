"""What a training run may be told: how long, how large, how fine, and how fast each quantity learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from hardware.config import Config


class Budget(Config):
    """What a training run may cost."""

    steps: PositiveInt
    max_gaussians: PositiveInt
    long_side_px: PositiveInt
    sh_degree: int


PRESETS = {
    "cpu": Budget(steps=7000, max_gaussians=80_000, long_side_px=800, sh_degree=2),
    "cuda": Budget(steps=30_000, max_gaussians=1_000_000, long_side_px=1600, sh_degree=3),
}


class LearningRates(Config):
    """Adam's step sizes. Those of 3DGS and gsplat, but for the means, whose unit here is the scene's extent."""

    means_extents: PositiveFloat = 1.6e-4
    """In scene extents; falls exponentially to `means_last_extents`."""
    means_last_extents: PositiveFloat = 1.6e-6
    quats: PositiveFloat = 1e-3
    log_scales: PositiveFloat = 5e-3
    opacity_logits: PositiveFloat = 5e-2
    sh_base: PositiveFloat = 2.5e-3
    sh_higher: PositiveFloat = 2.5e-3 / 20
    exposure: NonNegativeFloat = 1e-3
    pose: NonNegativeFloat = 0.0
    """Radians, and extents, per step for the training cameras; 0 keeps the poses as they are given."""


class TrainingConfig(Config):
    """Photos with poses → a splat. What is left out comes from the preset."""

    preset: Literal["cpu", "cuda"] = "cpu"
    """cpu: about a quarter of an hour on two cores. cuda: needs gsplat and a CUDA device."""
    steps: PositiveInt | None = None
    """One photo a step."""
    max_gaussians: PositiveInt | None = None
    long_side_px: PositiveInt | None = None
    """Photos are trained on, and scored, at this size."""
    sh_degree: int | None = Field(default=None, ge=0, le=3)
    """How finely colour may depend on the direction it is seen from."""
    ssim_weight: float = Field(default=0.2, ge=0, le=1)
    """λ of (1 − λ)·L1 + λ·(1 − SSIM)."""
    opacity_weight: NonNegativeFloat = 0.01
    """Pulls unneeded Gaussians towards transparency, so that they can be moved (3DGS-MCMC)."""
    scale_weight: NonNegativeFloat = 0.01
    """Pulls unneeded Gaussians towards zero size, per scene extent (3DGS-MCMC)."""
    noise: NonNegativeFloat = 80.0
    """Random walk of nearly transparent Gaussians: 3DGS-MCMC's 5e5 times its first rate of 1.6e-4."""
    exposure_weight: NonNegativeFloat = 1e-3
    """Pulls each photo's exposure towards none."""
    rates: LearningRates = LearningRates()
    seed: int = 0
    score_every: PositiveInt = 500
    """Steps between points of the held-out curve."""
    checkpoint_every_s: NonNegativeFloat = 60.0

    @property
    def budget(self) -> Budget:
        """The preset with what was given in its place."""
        given = {name: getattr(self, name) for name in Budget.model_fields}
        return PRESETS[self.preset].but(**{name: value for name, value in given.items() if value is not None})
