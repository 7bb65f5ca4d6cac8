"""What a parity check found: `parity.json`."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat

from hardware.config import Config
from hardware.gate import Gate
from twin.parity_script import Scenario
from twin.sim.open import Engine


class ScenarioDifference(Config):
    """One engine against the reference, over the same actions."""

    scenario: Scenario
    object_end_mm: NonNegativeFloat
    object_worst_mm: NonNegativeFloat
    """At any moment."""
    object_end_deg: NonNegativeFloat
    object_worst_deg: NonNegativeFloat
    tool_worst_mm: NonNegativeFloat
    joints_worst_deg: NonNegativeFloat
    """Of an arm; of a twin without one, metres taken for radians."""
    event: str
    """What `event_ms` times."""
    event_ms: float | None
    """How much later than in the reference. None where it did not happen in both."""
    travel_mm: NonNegativeFloat
    """How far the thing went in this engine, from start to end."""


class EngineResult(Config):
    engine: Engine
    step_ms: NonNegativeFloat
    """Wall time of a control step of all scenarios together, the median; physics alone."""
    scenarios: tuple[ScenarioDifference, ...]


class Reference(Config):
    engine: Engine
    step_ms: NonNegativeFloat
    travel_mm: dict[Scenario, NonNegativeFloat]


class ParityResult(Config):
    """The whole check."""

    object_name: str
    brought_nearer_mm: NonNegativeFloat = 0.0
    """How much nearer to the arm than the scan saw it the thing starts: out of reach, nothing can be done with it."""
    rate_hz: PositiveFloat
    reference: Reference
    engines: tuple[EngineResult, ...]
    left_out: dict[Scenario, str] = {}
    """Scenario → why this twin cannot do it."""
    gates: tuple[Gate, ...]
