"""TwinRL's generator (a): an object and its goal in; a grasp, a motion plan and what to do with them out.

Two parts: reach, close and lift; then, from how the object really lies in the jaws, carry, set down and let go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import PositiveFloat, PositiveInt

from hardware.bench.motion import Planner, Step
from hardware.bench.scripts import raised
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.kinematics import Kinematics, Unreachable
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion import grasps, motion_planner
from rl_online.expansion.generators import Part, Parts
from rl_online.expansion.grasps import Grasp, GraspSearch
from rl_online.expansion.motion_planner import NoWay, PlannerLimits
from rl_online.expansion.solids import Solids
from rl_online.worlds.tasks import Delivery
from rl_online.worlds.world import Moment

BACK_M, LIFT_M = 0.05, 0.05
"""The tool comes this way along its own axis to the grasp; and goes up this far with the object."""
ROOM_ABOVE_M = 0.03
"""Between where the object is set down from and what stands round its goal."""
YAWS = 24
"""Turns of the object about the vertical that are tried over a goal that takes any."""
MOST_ENDS = 5
"""Of these turns, for one grasp."""
TOLERANT = (0.12, 0.1)
"""Tolerance (rad) and cost (m/rad) of the tool's rotation at a grasp and a goal: five joints lean a little."""
LOST_M = 0.03
"""An object this far from where the jaws should have it is not in them."""
SLOW = 0.5
"""Pace near things, as a share of the arm's."""


class PlanSearch(Config):
    """Of generator `plan`."""

    grasps: GraspSearch = GraspSearch()
    limits: PlannerLimits = PlannerLimits()
    wait_s: PositiveFloat = 0.15
    """After the jaws have closed or opened."""
    attempts: PositiveInt = 6
    """Grasps that are reached and clear, for which a way is looked for."""


@dataclass(frozen=True, eq=False)
class Reach:
    """A grasp with the postures before it, at it and over it."""

    grasp: Grasp
    before_rad: Float[ndarray, " J"]
    T_base_grasp: Pose


class PlanGenerator:
    """For one world, task and object."""

    def __init__(
        self,
        solids: Solids,
        kinematics: Kinematics,
        delivery: Delivery,
        goal: TaskStart,
        rate_hz: float,
        search: PlanSearch,
    ) -> None:
        """Raises `BadInput` for what cannot be gripped."""
        self.delivery, self.goal, self.search = delivery, goal, search
        self.solids, self.kinematics, self.rate_hz = solids, kinematics, rate_hz
        self.arm = solids.arm
        self._planner = Planner(kinematics, self.arm)
        self._surface = solids.surface()
        grasps.require_graspable(self._surface, search.grasps)

    def demo_for(self, now: Moment) -> int | None:
        """A plan needs none."""
        return None

    def parts(self, now: Moment, rng: np.random.Generator) -> Parts:
        T_base_obj = self._object(now)
        self.solids.place(T_base_obj)
        reach, way_rad = self._reach(T_base_obj, now.q_rad[0], rng)
        now = yield Part(self._sampled(now, self._grip_steps(reach, way_rad)))
        T_tip_obj = self.kinematics.T_base_tip(now.q_rad[0]).inverse() @ self._object(now)
        expected = reach.grasp.T_obj_tip.inverse()
        if np.linalg.norm(T_tip_obj.translation_m - expected.translation_m) > LOST_M:
            return  # not in the jaws: the episode ends as the failure that it is
        yield Part(self._sampled(now, self._deliver_steps(now, T_tip_obj, T_base_obj, rng)))

    # ── the grasp ───────────────────────────────────────────────────────────────────────────────────────────

    def _reach(
        self, T_base_obj: Pose, q_rad: Float[ndarray, " J"], rng: np.random.Generator
    ) -> tuple[Reach, Float[ndarray, "N J"]]:
        wide, tried = self.arm.approach_open, 0
        for grasp in grasps.find(self._surface, T_base_obj, self.arm, self.search.grasps, rng):
            reach = self._clear(grasp, T_base_obj, q_rad)
            if reach is None:
                continue
            tried += 1
            try:
                return reach, self._way(q_rad, reach.before_rad, wide, rng)
            except NoWay:
                if tried == self.search.attempts:
                    break
        raise Unreachable(f"none of {self.search.grasps.candidates} grasps is in reach and clear")

    def _clear(self, grasp: Grasp, T_base_obj: Pose, q_rad: Float[ndarray, " J"]) -> Reach | None:
        """None where the arm cannot hold the tool there, or runs into something."""
        T_base_grasp = T_base_obj @ grasp.T_obj_tip
        back = Pose.from_parts("tip", "tip", np.eye(3), np.array([0.0, 0.0, -BACK_M]))
        try:
            before = self._planner.reach(T_base_grasp @ back, q_rad)
            at = self.kinematics.solve(T_base_grasp, before, *TOLERANT)
        except Unreachable:
            return None
        wide = self.arm.approach_open
        if not self.solids.is_free(before, wide) or not self.solids.is_free(at, wide):
            return None
        if not self._can_be_set_down(grasp, T_base_obj, at):
            return None
        return Reach(grasp, before, T_base_grasp)

    def _can_be_set_down(self, grasp: Grasp, T_base_obj: Pose, q_rad: Float[ndarray, " J"]) -> bool:
        """Whether the tool can let go at the goal, held like this, and run into nothing there."""
        T_tip_obj = grasp.T_obj_tip.inverse()
        with self.solids.holding(T_tip_obj):
            for T_base_end in self._ends(T_base_obj, q_rad)[:MOST_ENDS]:
                low = T_base_end @ grasp.T_obj_tip
                try:
                    low_rad = self.kinematics.solve(low, self._planner.reach(self._over(low), q_rad), *TOLERANT)
                except Unreachable:
                    continue
                if self.solids.is_free(low_rad, self.arm.approach_open):
                    return True
        return False

    def _over(self, low: Pose) -> Pose:
        return raised(low, self.delivery.rim_m + ROOM_ABOVE_M)

    def _grip_steps(self, reach: Reach, way_rad: Float[ndarray, "N J"]) -> list[Step]:
        wide = self.arm.approach_open
        return [
            _along(way_rad, "reach", wide),
            Step("reach", reach.T_base_grasp, wide, "straight", SLOW, 0.05),
            Step("close", None, 0.0, wait_s=self.search.wait_s),
            Step("hold", raised(reach.T_base_grasp, LIFT_M), 0.0, "straight", SLOW),
        ]

    # ── to the goal ─────────────────────────────────────────────────────────────────────────────────────────

    def _deliver_steps(
        self, now: Moment, T_tip_obj: Pose, T_base_start: Pose, rng: np.random.Generator
    ) -> list[Step]:
        q_rad = now.q_rad[0]
        opening = float(now.gripper_open[0])
        wide = self.arm.approach_open
        with self.solids.holding(T_tip_obj):
            for T_base_end in self._ends(T_base_start, q_rad)[:MOST_ENDS]:
                low = T_base_end @ T_tip_obj.inverse()
                high = self._over(low)
                try:
                    over_rad = self._planner.reach(high, q_rad)
                    way_rad = self._way(q_rad, over_rad, opening, rng)
                    self.kinematics.solve(low, over_rad, *TOLERANT)
                except (Unreachable, NoWay):
                    continue
                return [
                    _along(way_rad, "hold", 0.0),
                    Step("hold", high, 0.0, "straight", SLOW, 0.1),
                    Step("hold", low, 0.0, "straight", SLOW * SLOW, 0.1),
                    Step("release", None, wide, wait_s=self.search.wait_s),
                    Step("release", raised(low, LIFT_M), wide, "straight"),
                ]
        raise Unreachable("the goal cannot be reached with the object in hand")

    def _ends(self, T_base_start: Pose, q_rad: Float[ndarray, " J"]) -> list[Pose]:
        """T_base_obj at the goal, upright as at the start; those that turn the wrist least first."""
        start_yaw = math.atan2(T_base_start.rotation[1, 0], T_base_start.rotation[0, 0])
        at = np.array([self.goal.x_m, self.goal.y_m, T_base_start.translation_m[2] + self.delivery.lift_m])
        x_m, y_m, _ = self.kinematics.T_base_tip(q_rad).translation_m.tolist()
        wish = start_yaw + math.atan2(at[1], at[0]) - math.atan2(y_m, x_m)
        first, count = (self.goal.yaw_rad, self.delivery.turns) if self.delivery.turns else (wish, YAWS)
        yaws = [first + number * 2 * math.pi / count for number in range(count)]
        yaws.sort(key=lambda yaw: abs(math.remainder(yaw - wish, 2 * math.pi)))
        turns = [rotation_from_rotvec(np.array([0.0, 0.0, yaw - start_yaw])) for yaw in yaws]
        return [Pose.from_parts("base", "obj", turn @ T_base_start.rotation, at) for turn in turns]

    # ── both ────────────────────────────────────────────────────────────────────────────────────────────────

    def _way(
        self, q_rad: ndarray, to_rad: ndarray, opening: float, rng: np.random.Generator
    ) -> Float[ndarray, "N J"]:
        seed = int(rng.integers(2**30))
        return motion_planner.way(q_rad, to_rad, opening, self.solids, self.kinematics, self.search.limits, seed)

    def _object(self, now: Moment) -> Pose:
        return Pose("base", "obj", now.Ts_base_object[0])

    def _sampled(self, now: Moment, steps: list[Step]) -> Float[ndarray, "T D"]:
        plan = self._planner.plan(now.q_rad[0], float(now.gripper_open[0]), steps)
        times_s = (1 + np.arange(math.ceil(plan.end_s * self.rate_hz))) / self.rate_hz
        return np.stack([np.append(plan.q_rad(t), plan.gripper_open(t)) for t in times_s.tolist()])


def _along(way_rad: Float[ndarray, "N J"], phase, opening: float) -> Step:
    via = tuple(tuple(row) for row in way_rad[1:-1].tolist())
    return Step(phase, None, opening, q_rad=tuple(way_rad[-1].tolist()), via_rad=via)
