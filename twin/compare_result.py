"""What a comparison of twin and cell found: `compare.json`."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt

from hardware.config import Config
from hardware.gate import Gate
from twin.fidelity import Fidelity
from twin.sim.open import Engine


class ThingComparison(Config):
    """One thing in one episode."""

    name: str
    handled_s: NonNegativeFloat
    """From its first motion to its last, by the recorded track."""
    handled_median_mm: float | None
    """None where it was not touched."""
    handled_worst_mm: float | None
    end_mm: NonNegativeFloat
    end_deg: NonNegativeFloat
    handled_mm: tuple[float, ...]
    """Distances while handled, evenly thinned."""


class CameraQuality(Config):
    """Pictures of the cell against the twin's, the twin put where the cell was measured to be."""

    name: str
    pictures: NonNegativeInt
    psnr_db: float
    ssim: float


class EpisodeComparison(Config):
    number: NonNegativeInt
    seconds: NonNegativeFloat
    success: bool | None
    joints_median_deg: NonNegativeFloat
    joints_worst_deg: NonNegativeFloat
    tool_median_mm: NonNegativeFloat
    tool_worst_mm: NonNegativeFloat
    things: tuple[ThingComparison, ...]
    cameras: tuple[CameraQuality, ...]


class Comparison(Config):
    """The whole of it."""

    engine: Engine
    store: str
    joints: tuple[str, ...]
    servos_identified: bool
    """Whether the bundle has a servos.json; without one the arm model's own servos were simulated."""
    episodes: tuple[EpisodeComparison, ...]
    fidelity: Fidelity | None = None
    gates: tuple[Gate, ...]
