"""Opens what a cell names: one table from kind to driver module, imported when it is opened and not before.

A driver of an arm has `connect(cell) -> (Arm, Gripper | None)`, one of a camera `connect(cell, name) -> Camera`;
both raise `DeviceLost` when the device does not answer and `BadInput` when the cell file cannot fit it.
"""

from __future__ import annotations

import importlib

from hardware.cell import CellConfig
from hardware.errors import BadInput
from hardware.ports import Arm, Camera, Gripper

ARMS = {
    "bench": "hardware.arms.bench",
    "so101": "hardware.arms.so101",
    "ros2_control": "hardware.arms.ros2_control",
}
CAMERAS = {
    "bench": "hardware.cameras.bench",
    "opencv": "hardware.cameras.opencv",
    "realsense": "hardware.cameras.realsense",
}


def open_arm(cell: CellConfig) -> tuple[Arm, Gripper | None]:
    """The arm, and its gripper where it has one; both share the driver, so close both."""
    arm, gripper = importlib.import_module(ARMS[cell.arm.kind]).connect(cell)
    if arm.names != cell.limits.names:
        arm.close()
        raise BadInput(
            f"the arm's joints are {', '.join(arm.names)}; the cell's limits name {', '.join(cell.limits.names)}",
            "name the joints in the cell file as the arm does, in its order",
        )
    return arm, gripper


def open_camera(cell: CellConfig, name: str) -> Camera:
    """Raises `BadInput` with the cell's cameras when there is none of that name."""
    if name not in cell.cameras:
        raise BadInput(f"no camera '{name}' in cell '{cell.name}'; have: {', '.join(cell.cameras) or 'none'}")
    return importlib.import_module(CAMERAS[cell.cameras[name].kind]).connect(cell, name)
