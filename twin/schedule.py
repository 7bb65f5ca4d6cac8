"""How a training run unfolds: what is true at which share of its steps (0 … 1)."""

from __future__ import annotations

LEVEL_FROM = (0.0, 0.25, 0.65)
"""From where each size of the photos is trained on, coarse to fine: a coarse step costs a sixth of a fine one."""
SH_DEGREE_FROM = (0.0, 0.3, 0.5, 0.7)
"""From where each degree of the harmonics is learned: first the colour, then how it changes with direction."""
DENSIFY_FROM, FULL_FROM, DENSIFY_UNTIL = 0.04, 0.5, 0.85
"""The first new Gaussian; all of the budget; the last one moved."""
DENSIFY_EVERY = 100
"""Steps. As 3DGS."""


def level(share: float) -> int:
    """Index of the size, 0 the coarsest."""
    return sum(share >= start for start in LEVEL_FROM) - 1


def sh_degree(share: float, highest: int) -> int:
    return min(highest, sum(share >= start for start in SH_DEGREE_FROM) - 1)


def densifies(step: int, share: float) -> bool:
    return step % DENSIFY_EVERY == 0 and DENSIFY_FROM <= share <= DENSIFY_UNTIL


def gaussians(share: float, first: int, most: int) -> int:
    """Grows geometrically from the first count to the budget."""
    grown = min(1.0, max(0.0, (share - DENSIFY_FROM) / (FULL_FROM - DENSIFY_FROM)))
    return round(first * (most / first) ** grown)


def falling(share: float, first: float, last: float) -> float:
    """Falls exponentially from one value to the other."""
    return first * (last / first) ** share
