"""The arm of a cell as the page needs it: where the tool is, where a model of the arm is known."""

from __future__ import annotations

from hardware import safety
from hardware.cell import CellConfig
from hardware.page.desk import ArmKinematics


def kinematics(cell: CellConfig) -> ArmKinematics | None:
    """None: no model is known, so the person drives joint by joint."""
    model = safety.arm_model(cell)
    if model is None:
        return None
    from hardware.kinematics import panda_kinematics, so101_kinematics  # slow to import, and not for every arm

    return panda_kinematics() if model == "panda" else so101_kinematics()
