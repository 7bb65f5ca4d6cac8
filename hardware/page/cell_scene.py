"""A cell → its 3D scene: the arm's model where one is known, cameras where it is known how they stand."""

from __future__ import annotations

import math

from hardware import safety
from hardware.bench.arm_models import ARMS
from hardware.camera_model import CameraModel
from hardware.cell import CellConfig
from hardware.page.drawn_arm import DrawnArm
from hardware.page.ghost import Guide
from hardware.page.scene import Mounted, Scene
from hardware.spatial import Pose

WRIST = "wrist"
"""In the name of a camera that sits on the hand."""


def of(cell: CellConfig, guide: Guide | None, known: dict[str, Mounted]) -> Scene:
    """`known`: cameras that were calibrated. Raises `BadInput` where the wheel of the arm's model is not installed."""
    model = safety.arm_model(cell)
    arm = None if model is None else DrawnArm(ARMS["panda" if model == "panda" else "so101"], cell.limits.names)
    return Scene(arm, _cameras(cell, arm, guide) | known, guide, cell.limits.table_height_m or 0.0)


def _cameras(cell: CellConfig, arm: DrawnArm | None, guide: Guide | None) -> dict[str, Mounted]:
    found = {}
    for name, camera in cell.cameras.items():
        if guide is not None and guide.camera == name:
            found[name] = mounted(guide.intrinsics, T_base_cam=guide.T_base_eye)
        elif arm is not None and WRIST in name:
            fov_rad = arm.fov_rad if camera.intrinsics is None else vertical_fov_rad(camera.intrinsics)
            found[name] = Mounted(fov_rad, camera.width_px / camera.height_px)
    return found


def mounted(lens: CameraModel, T_base_cam: Pose | None = None, T_tip_cam: Pose | None = None) -> Mounted:
    return Mounted(vertical_fov_rad(lens), lens.width_px / lens.height_px, T_base_cam, T_tip_cam)


def vertical_fov_rad(lens: CameraModel) -> float:
    return 2 * math.atan(lens.height_px / 2 / lens.fy_px)
