"""The limits of one cell as a filter: the cell file's numbers, with the arm's own model where they need one."""

from __future__ import annotations

from hardware.cell import CellConfig
from hardware.limits import Limiter


def limiter(cell: CellConfig) -> Limiter:
    """Raises `BadInput` when the limits name a workspace and no model of the arm is known."""
    return Limiter(cell.limits)
