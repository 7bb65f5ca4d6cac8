# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The Franka Panda with a Robotiq 2F-85 for a MuJoCo scene: the model of the `gym-hil` wheel, position-controlled.

Only the wheel's model file and meshes are read; its environments, which want an older MuJoCo, are not imported.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import mujoco

from hardware.errors import BadInput

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
HOME_RAD = (0.0, 0.2, 0.0, -2.25, 0.0, 2.45, math.pi / 4)
"""Elbow up, gripper pointing down in front of the base."""

STIFFNESS_NM_RAD = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)
DAMPING_NM_S_RAD = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0)
TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
"""Stiffness and damping as MuJoCo Menagerie's `panda.xml` has them; torques are the data sheet's."""


def spec() -> mujoco.MjSpec:
    """A fresh copy of the arm's model, its base frame at the origin, x forward, z up. Metres, radians, kilograms.

    The motors become position servos named as their joints; gravity of the arm's own links is compensated, as the
    robot's controller does. Raises `BadInput` when the wheel is not installed.
    """
    arm = mujoco.MjSpec.from_file(str(model_file()))
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
    return arm


def model_file() -> Path:
    found = importlib.util.find_spec("gym_hil")
    if found is None or not found.submodule_search_locations:
        raise BadInput("the Panda on the bench needs the arm model of the wheel 'gym-hil'", "uv sync")
    return Path(found.submodule_search_locations[0]) / "assets/panda.xml"
