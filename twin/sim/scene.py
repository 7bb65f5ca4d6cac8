# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A bundle in, what every engine needs of it out: the model, names of joints and objects, frames, cameras.

The engines' world is the bundle's. A twin without a robot gets a pusher: an upright rod that three sliding joints
carry, so that its things can be pushed all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ARMS, ArmModel
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import object_asset, servos
from twin.export import mjcf
from twin.object_asset import ObjectAsset, RobotAsset, Supports
from twin.sim import cameras
from twin.sim.cameras import SimCamera

PUSHER = "pusher"
PUSHER_JOINTS = ("pusher_x", "pusher_y", "pusher_z")
PUSHER_RADIUS_M, PUSHER_LONG_M, PUSHER_KG = 0.012, 0.12, 0.5
PUSHER_STIFFNESS_N_M, PUSHER_DAMPING_N_S_M, PUSHER_FORCE_N = 2000.0, 60.0, 40.0
PUSHER_REACH_M, PUSHER_HOME_M = 0.6, 0.2
"""How far it goes to each side of the world's origin, and its home above the table."""
SETTLE_STEPS = 500
"""In which a gripper alone reaches the opening that it is told."""


@dataclass(frozen=True, eq=False)
class Hand:
    """What an action drives. `prefix` turns the names of the arm's own model into the scene's."""

    model: str
    """so101, panda or pusher."""
    joints: tuple[str, ...]
    prefix: str
    home: Float[ndarray, " J"]
    """rad, or m for a joint that slides."""
    tool_body: str
    """In the arm's own model."""
    T_body_tool: Float[ndarray, "4 4"]
    arm: ArmModel | None
    """None for the pusher, which has no gripper."""

    @property
    def bodies_start_with(self) -> str:
        return self.prefix or PUSHER


@dataclass(frozen=True, eq=False)
class SimScene:
    """A bundle that can be simulated. Make it with `read`."""

    bundle: Path
    objects: tuple[ObjectAsset, ...]
    """What moves, …"""
    fixed: tuple[ObjectAsset, ...]
    """… and what was taken out of the scene and never does."""
    supports: Supports
    robot: RobotAsset | None
    hand: Hand
    T_world_base: Pose
    """The identity without a robot."""
    cameras: dict[str, SimCamera]

    @property
    def object_names(self) -> tuple[str, ...]:
        return tuple(asset.name for asset in self.objects)

    @property
    def Ts_base_scan(self) -> dict[str, Pose]:
        """T_base_object, where the scan saw each."""
        return {asset.name: self.T_world_base.inverse() @ asset.pose for asset in self.objects}

    @property
    def table_m(self) -> float:
        """Height of the table below the base frame's origin, in the base frame."""
        table = self.supports.table.T_world_table
        return float((self.T_world_base.inverse() @ table).translation_m[2])

    def compile(self, timestep_s: float | None = None) -> mujoco.MjModel:
        """The bundle's `scene.xml` (with the pusher where it has no robot) as a MuJoCo model."""
        spec = self.spec()
        if timestep_s is not None:
            spec.option.timestep = timestep_s
        try:
            model = spec.compile()
        except ValueError as error:
            raise BadInput(f"MuJoCo refuses the scene: {error}", f"tandem twin contact {self.bundle}") from error
        if self.hand.arm is not None:
            servos.apply(model, self.hand.joints, self.hand.prefix, servos.of(self.bundle))
        return model

    def spec(self) -> mujoco.MjSpec:
        file = self.bundle / object_asset.SCENE_XML
        try:
            spec = mujoco.MjSpec.from_file(str(file))
        except ValueError as error:
            raise BadInput(f"MuJoCo cannot load {file}: {error}", f"tandem twin contact {self.bundle}") from error
        self._require_whole(spec)
        if self.hand.arm is None:
            add_pusher(spec, self.supports)
        return spec

    def _require_whole(self, spec: mujoco.MjSpec) -> None:
        """A scene.xml made before the last segmenting lacks what came after."""
        have = {body.name for body in spec.bodies}
        wanted = {piece.name for piece in (*self.objects, *self.fixed, *self.supports.furniture)}
        if self.hand.arm is not None:
            wanted.add(self.hand.prefix + self.hand.tool_body)
        if missing := sorted(wanted - have):
            raise BadInput(
                f"{object_asset.SCENE_XML} of {self.bundle} lacks {', '.join(missing)}: it is older than the rest",
                f"tandem twin contact {self.bundle}",
            )

    @cached_property
    def _gripper_rests(self) -> dict[float, dict[str, float]]:
        return {}

    def gripper_rest(self, gripper_open: float) -> dict[str, float]:
        """Angle of each of the gripper's joints, by the arm model's names, when it stands at an opening."""
        arm = self.hand.arm
        if arm is None:
            return {}
        opening = float(np.clip(gripper_open, 0.0, 1.0))
        if opening not in self._gripper_rests:
            self._gripper_rests[opening] = settled_gripper(arm, opening)
        return self._gripper_rests[opening]


def read(bundle: Path) -> SimScene:
    """Raises `BadInput` for what is no bundle, has no objects, or had no contact stage yet."""
    if not bundle.is_dir():
        raise BadInput(f"there is no {bundle}", "give the folder that `tandem twin build` made")
    object_asset.require_metric(bundle)
    objects = tuple(object_asset.objects(bundle))
    if all(asset.fixed for asset in objects):
        raise BadInput(f"all objects of {bundle} are fixed", "segment a thing that moves: without --fixed")
    for asset in objects:
        if not asset.collision or asset.mass_kg is None:
            raise BadInput(f"object '{asset.name}' has no contact yet", f"tandem twin contact {bundle}")
    if not (bundle / object_asset.SCENE_XML).is_file():
        raise BadInput(f"{bundle} has no {object_asset.SCENE_XML}", f"tandem twin contact {bundle}")
    robot, supports = object_asset.robot(bundle), object_asset.supports(bundle)
    T_world_base = Pose.identity("world", "base") if robot is None else robot.pose
    hand = pusher_hand(supports) if robot is None else arm_hand(ARMS[robot.model])
    return SimScene(
        bundle=bundle,
        objects=tuple(asset for asset in objects if not asset.fixed),
        fixed=tuple(asset for asset in objects if asset.fixed),
        supports=supports,
        robot=robot,
        hand=hand,
        T_world_base=T_world_base,
        cameras=cameras.of(bundle, hand.arm, T_world_base),
    )


def arm_hand(arm: ArmModel) -> Hand:
    tool = Pose.from_quat_wxyz("body", "tool", arm.tip_quat_wxyz, arm.tip_at_m)
    return Hand(
        model=arm.name,
        joints=arm.joints,
        prefix=mjcf.ARM_PREFIX,
        home=np.array(arm.home_rad),
        tool_body=arm.tip_parent,
        T_body_tool=tool.matrix,
        arm=arm,
    )


def pusher_hand(supports: Supports) -> Hand:
    """Its tool is the middle of its lower end, z down as a gripper's; joints are that point's x, y, z in metres."""
    height_m = float(supports.table.T_world_table.translation_m[2])
    return Hand(
        model=PUSHER,
        joints=PUSHER_JOINTS,
        prefix="",
        home=np.array([0.0, 0.0, height_m + PUSHER_HOME_M]),
        tool_body=PUSHER,
        T_body_tool=np.diag([1.0, -1.0, -1.0, 1.0]),
        arm=None,
    )


def add_pusher(world: mujoco.MjSpec, supports: Supports) -> None:
    height_m = float(supports.table.T_world_table.translation_m[2])
    body = world.worldbody.add_body(name=PUSHER, gravcomp=1.0)
    ranges = (
        (-PUSHER_REACH_M, PUSHER_REACH_M),
        (-PUSHER_REACH_M, PUSHER_REACH_M),
        (height_m + 0.002, height_m + PUSHER_REACH_M),
    )
    for name, axis, span in zip(PUSHER_JOINTS, np.eye(3), ranges, strict=True):
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, range=span, limited=1)
        servo = world.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=PUSHER_STIFFNESS_N_M, kv=PUSHER_DAMPING_N_S_M)
        servo.ctrlrange, servo.ctrllimited = span, 1
        servo.forcerange, servo.forcelimited = (-PUSHER_FORCE_N, PUSHER_FORCE_N), 1
    half = PUSHER_LONG_M / 2
    body.add_geom(
        name=PUSHER,
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=(PUSHER_RADIUS_M, half - PUSHER_RADIUS_M, 0),
        pos=(0, 0, half),
        mass=PUSHER_KG,
        group=mjcf.TOUCH_GROUP,
    )


def settled_gripper(arm: ArmModel, gripper_open: float) -> dict[str, float]:
    """The arm alone is told an opening and stands still meanwhile."""
    model = arm.spec().compile()
    data = mujoco.MjData(model)
    where = [model.joint(name).qposadr[0] for name in arm.joints]
    data.qpos[where] = arm.home_rad
    for name, angle_rad in zip(arm.joints, arm.home_rad, strict=True):
        data.ctrl[model.actuator(name).id] = angle_rad
    closed, opened = arm.gripper_ctrl
    data.ctrl[model.actuator("gripper").id] = closed + gripper_open * (opened - closed)
    mujoco.mj_step(model, data, SETTLE_STEPS)
    names = [model.joint(number).name for number in range(model.njnt)]
    return {name: float(data.qpos[model.joint(name).qposadr[0]]) for name in names if name not in arm.joints}
