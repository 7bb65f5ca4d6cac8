# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The arms that can stand on the bench, as data: model, joints, gripper, rest pose, where the tool's tip is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import mujoco

from hardware.bench import panda, so101
from hardware.bench.scene import ARM_FOOT, Foot

ArmName = Literal["so101", "panda"]

TIP = "tip"
"""Site between the jaws' ends: z out of the gripper, x along the closing direction (towards the fixed jaw, if any)."""
LIVE_TRIANGLES = 800
"""Per drawn mesh of the SO-101: 640 × 480 pixels show no more."""


@dataclass(frozen=True, eq=False)
class ArmModel:
    """Names are as in the arm's own model, without the scene's prefix."""

    name: ArmName
    joints: tuple[str, ...]
    home_rad: tuple[float, ...]
    spec: Callable[[], mujoco.MjSpec]
    gripper_joint: str
    gripper_rad: tuple[float, float]
    """The gripper joint's angle closed and open."""
    gripper_ctrl: tuple[float, float]
    """What the gripper's actuator is given for closed and open."""
    tip_parent: str
    """The body that carries the tip."""
    tip_at_m: tuple[float, float, float]
    tip_quat_wxyz: tuple[float, float, float, float]
    wrist_camera: str
    encoder_step_rad: float
    foot: Foot
    fixed_jaw_m: float | None
    """From the tip to the inner side of the jaw that does not move, along the tip's x; None when both jaws move."""
    approach_open: float
    """The opening with which the gripper goes round something of 30 mm."""
    velocity_rad_s: float
    acceleration_rad_s2: float
    """What the scripts drive the joints with at most."""

    def spec_with_tip(self) -> mujoco.MjSpec:
        """The arm's model with the site `TIP`."""
        arm = self.spec()
        arm.body(self.tip_parent).add_site(name=TIP, pos=self.tip_at_m, quat=self.tip_quat_wxyz, group=4)
        return arm


SO101 = ArmModel(
    name="so101",
    joints=so101.JOINTS[:-1],
    home_rad=tuple(math.radians(angle) for angle in (0.0, -50.0, 27.0, 93.0, 0.0)),
    spec=lambda: so101.spec(LIVE_TRIANGLES),
    gripper_joint="gripper",
    gripper_rad=(-0.174533, 1.745329),
    gripper_ctrl=(-0.174533, 1.745329),
    tip_parent="gripper",
    tip_at_m=(0.0077, -0.000218, -0.0981),
    tip_quat_wxyz=(0.0, 0.0, 1.0, 0.0),
    wrist_camera="wrist_cam",
    encoder_step_rad=2 * math.pi / 4096,
    foot=ARM_FOOT,
    fixed_jaw_m=0.0158,
    approach_open=0.42,
    velocity_rad_s=1.6,
    acceleration_rad_s2=6.0,
)

PANDA = ArmModel(
    name="panda",
    joints=panda.JOINTS,
    home_rad=panda.HOME_RAD,
    spec=panda.spec,
    gripper_joint="right_driver_joint",
    gripper_rad=(0.8, 0.0),
    gripper_ctrl=(255.0, 0.0),
    tip_parent="base",
    tip_at_m=(0.0, 0.0, 0.145),
    tip_quat_wxyz=(math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)),
    wrist_camera=panda.WRIST_CAMERA,
    encoder_step_rad=1e-5,
    foot=((-0.04, 0.0), (0.1, 0.1)),
    fixed_jaw_m=None,
    approach_open=0.85,
    velocity_rad_s=1.2,
    acceleration_rad_s2=4.0,
)

ARMS: dict[ArmName, ArmModel] = {"so101": SO101, "panda": PANDA}
