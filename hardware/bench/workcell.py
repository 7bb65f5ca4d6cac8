# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A plant config → the cell as a MuJoCo model: the filmed bench with a task's things on it and servos to drive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from hardware.bench import props, scene
from hardware.bench.arm_models import ARMS, TIP, ArmModel, ArmName
from hardware.bench.plant_config import PlantConfig, PlantPhysics
from hardware.bench.props import Prop
from hardware.bench.scene import ARM_PREFIX, STANDS, Stands
from hardware.bench.tasks.catalogue import open_task
from hardware.bench.tasks.task import Task
from hardware.board import CharucoBoard
from hardware.spatial import quat_wxyz_from_rotation, rotation_from_rotvec

CLEARED: dict[ArmName, Stands] = {
    "so101": {
        "mug": (0.24, 0.37, math.radians(130)),
        "screw_box": (0.06, -0.34, math.radians(-38)),
        "block_a": (0.35, -0.25, math.radians(12)),
    },
    "panda": {
        "mug": (0.16, 0.42, math.radians(130)),
        "tea_carton": (0.28, 0.48, math.radians(24)),
        "screw_box": (0.12, -0.5, math.radians(-38)),
        "block_a": (0.24, -0.44, math.radians(12)),
        "block_b": (0.72, 0.36, math.radians(-31)),
        "bottle": (0.78, 0.28, math.radians(200)),
        "tin": (0.36, -0.48, math.radians(70)),
        "book": (0.78, -0.3, math.radians(17)),
    },
}
"""Where things stand that would be in an arm's way; all others stand as they were filmed."""

FRONT_EYE_M, FRONT_TARGET_M = (0.56, 0.0, 0.36), (0.185, 0.0, 0.02)
"""Of `cam_front`, for the SO-101."""
FRONT_FAR = {"so101": 1.0, "panda": 1.75}
"""How far the front camera stands off, and how far in front of the arm it looks, as a share of the SO-101's."""
FRONT_FOVY_RAD, WRIST_FOVY_RAD = math.radians(52), math.radians(62)

CAMERAS = {"cam_front": FRONT_FOVY_RAD, "cam_wrist": WRIST_FOVY_RAD}


@dataclass(frozen=True, eq=False)
class Workcell:
    """The compiled model with its task bound to it."""

    model: mujoco.MjModel
    arm: ArmModel
    task: Task
    things: tuple[Prop, ...]
    """What the task handles; each is a free body of that name."""


def build(config: PlantConfig) -> Workcell:
    """Textures follow the seed as in the film, so that a twin of the film with the same seed is of this cell."""
    arm, task = ARMS[config.arm_model], open_task(config.task, config.arm_model)
    rng = np.random.default_rng(config.seed)
    decor = props.all_props(rng)
    stands = {**STANDS, **CLEARED[config.arm_model]}
    world = scene.surroundings(rng, CharucoBoard(), decor, stands, arm.foot)
    world.option.timestep = config.physics.timestep_s
    world.visual.quality.shadowsize = world.visual.quality.offsamples = 0
    things = task.props(np.random.default_rng([config.seed, 1]))
    for thing in things:
        body = scene.add_prop(world, thing, scene.standing(thing, (0.2, 0.0, 0.0)))
        body.add_freejoint(name=thing.name)
        _make_real(body, config.physics)
    task.add_fixtures(world)
    _relight(world, config)
    robot = arm.spec_with_tip()
    _tune_servos(robot, arm, config.physics)
    scene.attach_arm(world, robot)
    if config.arm_model == "so101":
        scene.paint_so101(world)
    _add_front_camera(world, config.arm_model)
    model = world.compile()
    task.bind(model)
    return Workcell(model, arm, task, things)


def _make_real(body: mujoco.MjsBody, physics: PlantPhysics) -> None:
    for geom in body.geoms:
        if geom.contype == 0:
            continue
        geom.mass *= physics.object_mass
        geom.friction[0] *= physics.object_friction
        geom.condim = 4


def _relight(world: mujoco.MjSpec, config: PlantConfig) -> None:
    turn = rotation_from_rotvec(np.array([0.0, 0.0, config.lamp_turn_rad]))
    for light in world.lights:
        light.dir = turn @ light.dir
        light.diffuse = np.array(light.diffuse) * config.light
        light.castshadow = False
    world.visual.headlight.ambient = np.array(world.visual.headlight.ambient) * config.light


def _tune_servos(robot: mujoco.MjSpec, arm: ArmModel, physics: PlantPhysics) -> None:
    for name in arm.joints:
        actuator, joint = robot.actuator(name), robot.joint(name)
        actuator.gainprm[0] *= physics.stiffness
        actuator.biasprm[1] *= physics.stiffness
        actuator.biasprm[2] *= physics.damping
        joint.damping *= physics.damping
        joint.frictionloss *= physics.joint_friction
    for geom in robot.geoms:
        if geom.priority > 0:
            geom.friction[0] = physics.jaw_friction


def _add_front_camera(world: mujoco.MjSpec, arm: ArmName) -> None:
    eye, target = np.array(FRONT_EYE_M) * FRONT_FAR[arm], np.array(FRONT_TARGET_M) * FRONT_FAR[arm]
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back], axis=1)
    world.worldbody.add_camera(name="cam_front", pos=eye, quat=quat_wxyz_from_rotation(rotation))


def camera_name(camera: str, arm: ArmModel) -> str:
    """The MJCF camera behind a cell's camera."""
    return ARM_PREFIX + arm.wrist_camera if camera == "cam_wrist" else camera


def tip_name() -> str:
    return ARM_PREFIX + TIP
