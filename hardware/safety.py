"""The limits of one cell as a filter: the cell file's numbers, with the arm's own model where they need one."""

from __future__ import annotations

from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm, So101Arm
from hardware.limits import Limiter


def limiter(cell: CellConfig) -> Limiter:
    """Raises `BadInput` when the limits name a workspace, a table or a clearance and no model of the arm is known."""
    limits = cell.limits
    needs_model = (limits.workspace, limits.table_height_m, limits.least_clearance_m) != (None, None, None)
    model = arm_model(cell)
    if not needs_model or model is None:
        return Limiter(limits)
    from hardware.kinematics import panda_kinematics, so101_kinematics  # slow to import, and not for every arm

    kinematics = panda_kinematics() if model == "panda" else so101_kinematics()
    return Limiter(limits, kinematics.tool_points_m, kinematics.clearance_m, kinematics.lever_m)


def arm_model(cell: CellConfig) -> str | None:
    if isinstance(cell.arm, BenchArm):
        return cell.arm.model
    return "so101" if isinstance(cell.arm, So101Arm) else None
