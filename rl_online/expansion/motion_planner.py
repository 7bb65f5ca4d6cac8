# pyright: reportCallIssue=false, reportArgumentType=false, reportIndexIssue=false
# OMPL's generated stubs know neither its callbacks nor its states' items.
"""Two postures and what is solid in; a way between them that runs into nothing out. By OMPL's RRT-Connect."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ompl import base, geometric, util
from pydantic import PositiveFloat

from hardware.config import Config
from hardware.errors import TandemError
from hardware.kinematics import Kinematics
from rl_online.expansion.solids import Solids

util.setLogLevel(util.LogLevel.LOG_NONE)


class PlannerLimits(Config):
    """Of the sampling planner."""

    seconds: PositiveFloat = 5.0
    """For one way; it usually takes hundredths."""
    step_rad: PositiveFloat = 0.05
    """Between the postures that are checked for collision."""


class NoWay(TandemError):
    """No way was found between two postures."""


def way(
    start_rad: Float[ndarray, " J"],
    goal_rad: Float[ndarray, " J"],
    gripper_open: float,
    solids: Solids,
    kinematics: Kinematics,
    limits: PlannerLimits,
    seed: int,
) -> Float[ndarray, "N J"]:
    """Both ends included. The same seed gives the same way, unless time runs out. Raises `NoWay`."""
    for name, q_rad in (("first", start_rad), ("last", goal_rad)):
        if not solids.is_free(q_rad, gripper_open):
            raise NoWay(f"the {name} posture runs into something")
    joints = len(start_rad)
    space = base.RealVectorStateSpace(joints)
    bounds = base.RealVectorBounds(joints)
    for joint in range(joints):
        bounds.setLow(joint, float(kinematics.lower_rad[joint]))
        bounds.setHigh(joint, float(kinematics.upper_rad[joint]))
    space.setBounds(bounds)
    util.RNG.setSeed(1 + seed)
    setup = geometric.SimpleSetup(space)

    def is_valid(state: base.RealVectorStateType) -> bool:
        return solids.is_free(values(state, joints), gripper_open)

    setup.setStateValidityChecker(is_valid)
    ends = [space.allocState(), space.allocState()]
    for state, q_rad in zip(ends, (start_rad, goal_rad), strict=True):
        for joint in range(joints):
            state[joint] = float(np.clip(q_rad[joint], kinematics.lower_rad[joint], kinematics.upper_rad[joint]))
    setup.setStartAndGoalStates(*ends)
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(limits.step_rad / space.getMaximumExtent())
    setup.setPlanner(geometric.RRTConnect(information))
    setup.solve(limits.seconds)
    if not setup.haveExactSolutionPath():
        raise NoWay(f"no way between two postures within {limits.seconds:g} s")
    path = setup.getSolutionPath()
    simplifier = geometric.PathSimplifier(information)
    simplifier.partialShortcutPath(path)
    simplifier.smoothBSpline(path, 3)
    found = np.stack([values(state, joints) for state in path.getStates()])
    return np.concatenate([start_rad[None], found[1:-1], goal_rad[None]])


def values(state: base.RealVectorStateType, joints: int) -> Float[ndarray, " J"]:
    return np.array([state[joint] for joint in range(joints)])
