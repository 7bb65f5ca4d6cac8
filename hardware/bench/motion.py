"""A script's steps → joint angles over time: smooth, within speed and acceleration, at rest between steps.

Along each step the way is a quintic in time (Craig, Introduction to Robotics, section 7.3): it starts and ends without
velocity and acceleration, its highest speed is 15/8 and its highest acceleration 10/√3 of the mean ones.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ArmModel
from hardware.kinematics import Kinematics, Unreachable
from hardware.spatial import Pose, rotation_from_rotvec, rotvec_from_rotation

PEAK_SPEED, PEAK_ACCELERATION = 15 / 8, 10 / math.sqrt(3)
STRAIGHT_STEP_M = 0.012
GRIPPER_PER_S = 1.6
"""How fast the asked opening changes."""
STRAIGHT, TILTED = (0.03, 0.3), (1.0, 0.003)
"""Tolerance (rad) and cost (m/rad) of the tool's rotation: as exact as an arm of five joints can be; or, where the arm
cannot hold it straight (high up, far out), leaning as little as it must."""

Phase = Literal["reach", "close", "hold", "release", "rest"]
"""What should be true of the object meanwhile: it stands, is being gripped, is held, is let go, or does not matter."""


@dataclass(frozen=True, eq=False)
class Step:
    """Go somewhere, then give the gripper an opening and wait. `T_base_tip` None: stay where the last step ended."""

    phase: Phase
    T_base_tip: Pose | None
    gripper_open: float
    way: Literal["free", "straight"] = "free"
    """`free`: straight in joint angles; `straight`: the tip moves on a line."""
    pace: float = 1.0
    """Share of the arm's speed."""
    wait_s: float = 0.0
    q_rad: tuple[float, ...] | None = None
    """Instead of a pose."""
    via_rad: tuple[tuple[float, ...], ...] = ()
    """Postures to pass on the way to `q_rad`, without a stop."""


@dataclass(frozen=True, eq=False)
class Leg:
    """One step in time: the way from `start_s` to `arrive_s`, then the gripper, until `end_s`."""

    phase: Phase
    start_s: float
    arrive_s: float
    end_s: float
    ways_rad: Float[ndarray, "N J"]
    opening: tuple[float, float]
    """At its start and at its end."""

    def q_rad(self, at_s: float) -> Float[ndarray, " J"]:
        if at_s >= self.arrive_s or len(self.ways_rad) == 1:
            return self.ways_rad[-1]
        part = max(0.0, (at_s - self.start_s) / (self.arrive_s - self.start_s))
        along = part**3 * (10 - 15 * part + 6 * part * part)
        lengths = np.concatenate([[0], np.cumsum(np.abs(np.diff(self.ways_rad, axis=0)).max(1))])
        at = along * lengths[-1]
        return np.array([np.interp(at, lengths, column) for column in self.ways_rad.T])

    def gripper_open(self, at_s: float) -> float:
        """Changes at a bounded rate once the arm has arrived."""
        before, after = self.opening
        change = max(0.0, at_s - self.arrive_s) * GRIPPER_PER_S
        return before + float(np.clip(after - before, -change, change))


@dataclass(frozen=True, eq=False)
class Plan:
    """Legs without a gap between them, from time 0 on. Before and after, it rests."""

    legs: tuple[Leg, ...]

    @property
    def end_s(self) -> float:
        return self.legs[-1].end_s

    def leg_at(self, at_s: float) -> int:
        for number, leg in enumerate(self.legs):
            if at_s < leg.end_s:
                return number
        return len(self.legs) - 1

    def q_rad(self, at_s: float) -> Float[ndarray, " J"]:
        return self.legs[self.leg_at(at_s)].q_rad(at_s)

    def gripper_open(self, at_s: float) -> float:
        return self.legs[self.leg_at(at_s)].gripper_open(at_s)


class Planner:
    """Steps → legs for one arm."""

    def __init__(self, kinematics: Kinematics, arm: ArmModel) -> None:
        self.kinematics = kinematics
        self._velocity_rad_s = arm.velocity_rad_s
        self._acceleration_rad_s2 = arm.acceleration_rad_s2
        self._home_rad = arm.home_rad

    def plan(
        self, q_rad: Float[ndarray, " J"], opening: float, steps: Sequence[Step], start_s: float = 0.0
    ) -> Plan:
        """Raises `Unreachable` when a step's pose is out of reach."""
        legs = []
        for step in steps:
            ways_rad = self._ways(q_rad, step)
            legs.append(self._leg(step, start_s, ways_rad, opening))
            q_rad, opening, start_s = ways_rad[-1], legs[-1].gripper_open(legs[-1].end_s), legs[-1].end_s
        return Plan(tuple(legs))

    def _leg(self, step: Step, start_s: float, ways_rad: Float[ndarray, "N J"], opening: float) -> Leg:
        length = float(np.abs(np.diff(ways_rad, axis=0)).max(1).sum()) if len(ways_rad) > 1 else 0.0
        speed, acceleration = self._velocity_rad_s * step.pace, self._acceleration_rad_s2 * step.pace
        way_s = max(PEAK_SPEED * length / speed, math.sqrt(PEAK_ACCELERATION * length / acceleration))
        change_s = abs(step.gripper_open - opening) / GRIPPER_PER_S
        arrive_s = start_s + way_s
        end_s = arrive_s + change_s + step.wait_s
        return Leg(step.phase, start_s, arrive_s, end_s, ways_rad, (opening, step.gripper_open))

    def _ways(self, q_rad: Float[ndarray, " J"], step: Step) -> Float[ndarray, "N J"]:
        if step.q_rad is not None:
            return np.stack([q_rad, *np.array(step.via_rad).reshape(-1, len(q_rad)), np.array(step.q_rad)])
        if step.T_base_tip is None:
            return q_rad[None]
        if step.way == "straight":
            return self._line(q_rad, step.T_base_tip)
        return np.stack([q_rad, self.reach(step.T_base_tip, q_rad)])

    def _line(self, q_rad: Float[ndarray, " J"], T_base_tip: Pose) -> Float[ndarray, "N J"]:
        """Angles along the line of the tip; the rotation turns evenly."""
        here = self.kinematics.T_base_tip(q_rad)
        turn = rotvec_from_rotation(here.rotation.T @ T_base_tip.rotation)
        shift = T_base_tip.translation_m - here.translation_m
        ways = [q_rad]
        count = max(1, math.ceil(float(np.linalg.norm(shift)) / STRAIGHT_STEP_M))
        for part in np.linspace(0, 1, count + 1)[1:]:
            rotation = here.rotation @ rotation_from_rotvec(part * turn)
            pose = Pose.from_parts("base", "tip", rotation, here.translation_m + part * shift)
            ways.append(self._next(pose, ways[-1]))
        return np.stack(ways)

    def _next(self, T_base_tip: Pose, q_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        """Angles close by, with the tool straight if it can be."""
        with contextlib.suppress(Unreachable):
            return self.kinematics.solve(T_base_tip, q_rad, *STRAIGHT)
        return self.kinematics.solve(T_base_tip, q_rad, *TILTED)

    def reach(self, T_base_tip: Pose, q_near_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        """The nearest of the angles found from several starts; a tool that cannot be straight there leans a little.

        Raises `Unreachable`.
        """
        starts = [q_near_rad, *self._turned(q_near_rad, T_base_tip)]
        for way in (STRAIGHT, TILTED):
            found = []
            for start in starts:
                with contextlib.suppress(Unreachable):
                    found.append(self.kinematics.solve(T_base_tip, start, *way))
            if found:
                return min(found, key=lambda q_rad: float(np.abs(q_rad - q_near_rad).max()))
        at = ", ".join(f"{x:.3f}" for x in T_base_tip.translation_m)
        raise Unreachable(f"the arm does not reach ({at}) m with its tool down")

    def _turned(self, q_rad: Float[ndarray, " J"], T_base_tip: Pose) -> list[Float[ndarray, " J"]]:
        """The first joint turned by the angle between here and there, either way; also from the rest posture."""
        here = self.kinematics.T_base_tip(q_rad).translation_m[:2]
        to = T_base_tip.translation_m[:2]
        turn = math.atan2(here[0] * to[1] - here[1] * to[0], here @ to)
        turned = []
        for posture in (q_rad, np.array([q_rad[0], *self._home_rad[1:]])):
            for sign in (-1, 1):
                turned.append(posture + sign * turn * np.eye(len(q_rad))[0])
        return turned
