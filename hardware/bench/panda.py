# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The Franka Panda with a Robotiq 2F-85 for a MuJoCo scene: the model of the `gym-hil` wheel, position-controlled.

Only the wheel's model file and meshes are read; its environments, which want an older MuJoCo, are not imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from pathlib import Path

import mujoco
import numpy as np

from hardware.bench.light_mesh import light_copy
from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
HOME_RAD = (0.0, 0.2, 0.0, -2.25, 0.0, 2.45, math.pi / 4)
"""Elbow up, gripper pointing down in front of the base."""

STIFFNESS_NM_RAD = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)
DAMPING_NM_S_RAD = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0)
TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
"""Stiffness and damping as MuJoCo Menagerie's `panda.xml` has them; torques are the data sheet's."""


TRIANGLES_PER_MESH = 700
WRIST_CAMERA = "wrist_cam"
WRIST_EYE_M, WRIST_TARGET_M = (-0.085, 0.0, 0.0), (0.0, 0.0, 0.19)
"""In the frame of the flange: beside the gripper, looking at where its pads meet."""


def spec() -> mujoco.MjSpec:
    """A fresh copy of the arm's model, its base frame at the origin, x forward, z up. Metres, radians, kilograms.

    The motors become position servos named as their joints; gravity of the arm's own links is compensated, as the
    robot's controller does. Raises `BadInput` when the wheel is not installed.
    """
    arm = mujoco.MjSpec.from_file(str(model_file()))
    arm.meshdir = str(light_meshes())
    arm.compiler.degree = False
    for number, joint in enumerate(JOINTS):
        actuator = arm.actuator(f"actuator{number + 1}")
        actuator.name = joint
        actuator.set_to_position(kp=STIFFNESS_NM_RAD[number], kv=DAMPING_NM_S_RAD[number])
        actuator.forcerange = (-TORQUE_NM[number], TORQUE_NM[number])
        actuator.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
        actuator.ctrlrange = arm.joint(joint).range
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_TRUE
    arm.actuator("fingers_actuator").name = "gripper"
    for body in arm.bodies[1:]:
        body.gravcomp = 1.0
    for sensor in list(arm.sensors):
        arm.delete(sensor)
    _add_wrist_camera(arm.body("attachment"))
    return arm


def _add_wrist_camera(flange: mujoco.MjsBody) -> None:
    """Its picture's lower edge is on the gripper's side."""
    back = np.array(WRIST_EYE_M) - np.array(WRIST_TARGET_M)
    back /= np.linalg.norm(back)
    up = np.array([-1.0, 0.0, 0.0])
    up -= back * (up @ back)
    up /= np.linalg.norm(up)
    rotation = np.stack([np.cross(up, back), up, back], axis=1)
    flange.add_camera(name=WRIST_CAMERA, pos=WRIST_EYE_M, quat=quat_wxyz_from_rotation(rotation))


def light_meshes() -> Path:
    """A folder with the wheel's meshes under their own names, the drawn ones simplified. Made on first use."""
    version = importlib.metadata.version("gym-hil")
    name = f"panda-{version}-{TRIANGLES_PER_MESH}"
    return light_copy(model_file().parent, name, TRIANGLES_PER_MESH, _only_touches)


def _only_touches(mesh: Path) -> bool:
    return "collision" in mesh.stem or (mesh.suffix == ".stl" and mesh.parent.parent.name == "franka_emika_panda")


def model_file() -> Path:
    found = importlib.util.find_spec("gym_hil")
    if found is None or not found.submodule_search_locations:
        raise BadInput("the Panda on the bench needs the arm model of the wheel 'gym-hil'", "make setup")
    return Path(found.submodule_search_locations[0]) / "assets/panda.xml"
