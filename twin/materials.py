"""What a thing weighs and how it slides: given by a person, from a table of materials, or measured on the cell.

Densities and sliding friction on a wooden table are rounded from engineering tables (dry, clean). They are starting
values: the spread within a material is ± 30 %, so a policy trained on them should see at least that much variation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import BadInput
from twin.object_asset import Measured

GRAVITY_M_S2 = 9.80665
DEFAULT = "packed_carton"
SOURCE_SOLID = (
    "solid density; dry friction on wood, kinetic, as engineering tables list it (wood on wood 0.3 … 0.5)"
)
SOURCE_FILLED = "a filled container: mean density of common household packages, ours"


@dataclass(frozen=True)
class Material:
    """`density_kg_m3` of the outline's whole volume: hollow things have a small one."""

    density_kg_m3: float
    friction: float
    source: str


MATERIALS: dict[str, Material] = {
    "wood": Material(600.0, 0.4, SOURCE_SOLID),
    "steel": Material(7850.0, 0.4, SOURCE_SOLID),
    "aluminium": Material(2700.0, 0.4, SOURCE_SOLID),
    "plastic": Material(1050.0, 0.35, SOURCE_SOLID),
    "rubber": Material(1200.0, 0.8, SOURCE_SOLID),
    "stoneware": Material(2300.0, 0.45, SOURCE_SOLID),
    "book": Material(700.0, 0.4, "paper, bound: mean of common books, ours; paper on wood"),
    "packed_carton": Material(400.0, 0.4, SOURCE_FILLED),
    "filled_bottle": Material(900.0, 0.4, SOURCE_FILLED),
    "filled_tin": Material(950.0, 0.4, SOURCE_FILLED),
    "empty_mug": Material(700.0, 0.45, "stoneware, a third of its outline's volume: ours"),
}


def material(name: str) -> Material:
    if name not in MATERIALS:
        raise BadInput(f"no material '{name}'; have: {', '.join(MATERIALS)}", "or give --mass and --friction")
    return MATERIALS[name]


def given(value: float) -> Measured:
    return Measured(value=value, source="given", note="by a person")


def mass(volume_m3: float, name: str, given_kg: float | None = None) -> Measured:
    """`given_kg` wins over the material."""
    if given_kg is not None:
        return given(given_kg)
    known = material(name)
    return Measured(value=known.density_kg_m3 * volume_m3, source="table", note=f"{name}: {known.source}")


def friction(name: str, given_mu: float | None = None) -> Measured:
    """Sliding friction of the pair of this thing and the table."""
    if given_mu is not None:
        return given(given_mu)
    known = material(name)
    return Measured(value=known.friction, source="table", note=f"{name}: {known.source}")


def mass_from_lift(empty_n: Float[ndarray, " N"], loaded_n: Float[ndarray, " M"]) -> Measured:
    """From the vertical force at a still wrist without and with the thing in the gripper.

    Raises `BadInput` where the difference is not twice its own uncertainty.
    """
    if len(empty_n) < 3 or len(loaded_n) < 3:
        raise BadInput("a lift needs three readings without and three with the thing", "hold still and read longer")
    weight_n = float(np.mean(loaded_n) - np.mean(empty_n))
    unsure_n = float(np.sqrt(np.var(empty_n, ddof=1) / len(empty_n) + np.var(loaded_n, ddof=1) / len(loaded_n)))
    if weight_n <= 2 * unsure_n:
        raise BadInput(
            f"the lift shows {weight_n:.2f} ± {unsure_n:.2f} N: no weight above the noise",
            "was it really lifted? read longer, or weigh it and give --mass",
        )
    note = f"lifted: {weight_n:.3f} ± {unsure_n:.3f} N over {len(loaded_n)} readings"
    return Measured(value=weight_n / GRAVITY_M_S2, source="estimated", note=note)


def friction_from_push(
    push_n: Float[ndarray, " N"], speed_m_s: Float[ndarray, " N"], mass_kg: float, least_speed_m_s: float = 5e-3
) -> Measured:
    """From the horizontal force of a slow push, over the readings at which the thing slid: μ = F / (m g).

    Raises `BadInput` where it hardly slid.
    """
    slid = np.abs(speed_m_s) > least_speed_m_s
    if slid.sum() < 5:
        raise BadInput(
            f"it slid in only {slid.sum()} of {len(push_n)} readings", "push it 5 cm at a steady 2 cm/s, low down"
        )
    ratios = np.abs(push_n[slid]) / (mass_kg * GRAVITY_M_S2)
    low, high = np.percentile(ratios, [25, 75])
    note = f"pushed: median of {slid.sum()} sliding readings, half of them within {high - low:.2f}"
    return Measured(value=float(np.median(ratios)), source="estimated", note=note)
