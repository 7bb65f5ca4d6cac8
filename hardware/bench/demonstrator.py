"""The scripted demonstrator: what is measured and what is true → the next action chunk. It is labelled `scripted`.

It follows a plan in time and looks at every call whether the plan still fits: the object stands where it was planned
for, or lies in the gripper; the arm is where the plan has it. A plan that lags is shifted in time, one that does not
fit is made anew from where the arm is. So it goes on after a lost grip, a pushed object, a pause or another's hand.
Told to aim as a person does, it first comes to a place that is a little wrong, looks again and corrects, and now and
then closes on nothing and tries again: what is learned from then shows how to get back from an error.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.bench.motion import Leg, Phase, Plan, Planner, Step
from hardware.bench.scripts import ABOVE_M, SCRIPTS, Script, Truth, put_back, raised
from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk
from hardware.ports import JointReading
from hardware.spatial import Pose, rotation_from_rotvec

LAG_S = 0.05
"""How far an arm usually is behind what it is asked: delay and servo together."""
LAG_RAD = 0.12
"""The arm may be this far from where the plan, that lag ago, had it."""
LOST_RAD = 0.35
"""Further off than this from every part of the plan: a new plan."""
MOVED_M, MOVED_RAD = 0.006, 0.12
"""The object has moved more than this before it was gripped: a new plan."""
DROPPED_M = 0.02
REVISED_M = 0.0015
"""The object lies this much differently in the gripper than planned: the rest is planned again."""
HIGH_M = 0.05
"""A tip lower than this above its next grip goes up first."""
NEAR_M = 0.03
"""How far above the grip the second look is: the jaws are still clear of what they will grip."""
HOME_RAD = 0.06
"""So near to its rest posture in every joint, the arm is there."""
AIM_M, AIM_RAD = 0.015, 0.2
"""Deviation of the first aim, in each direction of the table and about the vertical; never more than twice as much."""
NEAR_SHARE = 0.35
"""Of it that is left at the second look."""
MISS_CHANCE, MISS_M = 0.2, (0.028, 0.038)
"""How often the first try of an episode closes on nothing, and how far beside the object, across the jaws."""


class Demonstrator:
    """Of one task with one arm. Keeps its plan between calls; `forget` at the start of an episode (or not at all)."""

    source = "scripted"

    def __init__(
        self,
        task: str,
        arm: ArmName,
        rate_hz: float = 20.0,
        horizon: int = 32,
        aim_error: float = 0.0,
        seed: int = 0,
        undo_to: TaskStart | None = None,
    ) -> None:
        """`aim_error` is a share of a person's: 0 is exact, 1 errs as `AIM_M`, `AIM_RAD` and `MISS_CHANCE` say.

        With `undo_to` it undoes the task: the object goes there, and the gripper ends wide open, as an episode begins.
        """
        if task not in SCRIPTS:
            raise BadInput(f"no script for the task '{task}'; have: {', '.join(SCRIPTS)}")
        self.arm = ARMS[arm]
        self.rate_hz, self.horizon = rate_hz, horizon
        self.script: Script = SCRIPTS[task](self.arm) if undo_to is None else put_back(task, self.arm, undo_to)
        self._rest_open = self.arm.approach_open if undo_to is None else 1.0
        self.kinematics = Kinematics(kinematic_model(self.arm), TIP)
        self._planner = Planner(self.kinematics, self.arm)
        self._plan: Plan | None = None
        self._start_ns = 0
        self._planned_for: Pose | None = None
        self._T_tip_obj: Pose | None = None
        self._aim_error, self._rng, self._tries = aim_error, np.random.default_rng(seed), 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of a chunk's columns."""
        return (*self.arm.joints, "gripper")

    def forget(self) -> None:
        """The next chunk starts from a new plan, as a new episode's first try."""
        self._plan, self._tries = None, 0

    def chunk(self, observation_ns: int, reading: JointReading, gripper_open: float, truth: Truth) -> ActionChunk:
        """The next `horizon` joint positions and openings after that observation."""
        at_s = self._elapsed_s(observation_ns, reading.q_rad)
        if self._plan is None or not self._still_fits(at_s, reading.q_rad, truth):
            self._make_plan(observation_ns, reading.q_rad, gripper_open, truth)
            at_s = 0.0
        self._revise(at_s, reading.q_rad, truth)
        plan = self._plan
        assert plan is not None
        times_s = at_s + (1 + np.arange(self.horizon)) / self.rate_hz
        rows = [np.append(plan.q_rad(t), plan.gripper_open(t)) for t in times_s.tolist()]
        return ActionChunk(observation_ns, self.rate_hz, "joint_pos_rad", self.names, np.stack(rows))

    def holds(self, q_rad: Float[ndarray, " J"], gripper_open: float, truth: Truth) -> bool:
        """Whether the object is between the jaws, by the truth."""
        return self._held_at(q_rad, gripper_open, truth) is not None

    def left_m(self, q_rad: Float[ndarray, " J"], gripper_open: float, truth: Truth) -> float:
        """How far there is to go: tip to object, unless it is held, and object to goal in the table's plane."""
        if self.script.is_done(truth):
            return 0.0
        at = truth[self.script.object_name].translation_m
        goal = self.script.goal(truth).translation_m
        carry_m = math.dist(at[:2], goal[:2])
        if self.holds(q_rad, gripper_open, truth):
            return carry_m
        return carry_m + math.dist(self.kinematics.T_base_tip(q_rad).translation_m, at)

    def is_over(self, q_rad: Float[ndarray, " J"], gripper_open: float, truth: Truth) -> bool:
        """Done, and the arm rests with its gripper open."""
        rests = float(np.abs(q_rad - self.arm.home_rad).max()) < HOME_RAD
        return rests and gripper_open > self._rest_open - 0.05 and self.script.is_done(truth)

    def phase(self, now_ns: int) -> Phase | None:
        """What the plan is at now; None without one."""
        if self._plan is None:
            return None
        at_s = (now_ns - self._start_ns) / NANOSECONDS_PER_SECOND
        return self._plan.legs[self._plan.leg_at(at_s - LAG_S)].phase

    def is_carrying(self, now_ns: int) -> bool:
        """Whether the plan is past the lifting."""
        if self._plan is None:
            return False
        at_s = (now_ns - self._start_ns) / NANOSECONDS_PER_SECOND
        number = self._plan.leg_at(at_s - LAG_S)
        return self._plan.legs[number].phase == "hold" and _legs_since_grip(self._plan, number) != 1

    def _elapsed_s(self, observation_ns: int, q_rad: Float[ndarray, " J"]) -> float:
        """Where in the plan we are, by the clock, or by where the arm is when that disagrees."""
        at_s = (observation_ns - self._start_ns) / NANOSECONDS_PER_SECOND
        plan = self._plan
        if plan is None or self._off_rad(plan, at_s - LAG_S, q_rad) < LAG_RAD:
            return at_s
        times = np.arange(max(0.0, at_s - 3.0), at_s + 0.3, 0.02)
        off = [self._off_rad(plan, t, q_rad) for t in times.tolist()]
        best = int(np.argmin(off))
        if off[best] > LOST_RAD:
            self._plan = None
            return 0.0
        at_s = float(times[best]) + LAG_S
        self._start_ns = observation_ns - round(at_s * NANOSECONDS_PER_SECOND)
        return at_s

    def _off_rad(self, plan: Plan, at_s: float, q_rad: Float[ndarray, " J"]) -> float:
        return float(np.abs(plan.q_rad(at_s) - q_rad).max())

    def _still_fits(self, at_s: float, q_rad: Float[ndarray, " J"], truth: Truth) -> bool:
        plan, planned_for = self._plan, self._planned_for
        assert plan is not None
        if at_s >= plan.end_s:
            return False
        leg = plan.legs[plan.leg_at(at_s - LAG_S)]
        T_base_obj = truth[self.script.object_name]
        if leg.phase == "reach" and planned_for is not None:
            away_m, away_rad = planned_for.distance_to(T_base_obj)
            return away_m < MOVED_M and away_rad < MOVED_RAD
        if leg.phase == "hold" and self._T_tip_obj is not None:
            away = (self.kinematics.T_base_tip(q_rad) @ self._T_tip_obj).distance_to(T_base_obj)
            return away[0] < DROPPED_M
        return True

    def _make_plan(self, now_ns: int, q_rad: Float[ndarray, " J"], opening: float, truth: Truth) -> None:
        self._start_ns = now_ns
        self._planned_for = truth[self.script.object_name]
        if self.script.is_done(truth):
            self._plan = self._planner.plan(q_rad, opening, self._home_steps(q_rad, opening))
            return
        held = self._held_at(q_rad, opening, truth)
        if held is not None:
            self._T_tip_obj = held
            up = self._up(q_rad, "hold", 0.0)
            assert up.T_base_tip is not None
            steps = [up, *self.script.deliver(truth, held, up.T_base_tip), self._home()]
            self._plan = self._planner.plan(q_rad, 0.0, steps)
            return
        self._T_tip_obj = None
        self._plan = self._reach_plan(q_rad, opening, truth)

    def _reach_plan(self, q_rad: Float[ndarray, " J"], opening: float, truth: Truth) -> Plan:
        """To whichever grip needs the least turning; then on as if the grip will be as planned."""
        self._tries += 1
        for grip in self._nearest_first(q_rad, truth):
            for looks in (self._looks(grip), (grip, grip, grip)):
                with contextlib.suppress(Unreachable):
                    return self._planner.plan(q_rad, opening, self._grip_steps(q_rad, *looks))
        return self._planner.plan(q_rad, opening, [self._home()])

    def _looks(self, grip: Pose) -> tuple[Pose, Pose, Pose]:
        """Where the grip is taken to be at the first look, at the second, and when the jaws close."""
        if self._aim_error == 0:
            return grip, grip, grip
        if self._tries == 1 and self._rng.random() < MISS_CHANCE * min(1.0, self._aim_error):
            beside = float(self._rng.choice([-1, 1]) * self._rng.uniform(*MISS_M))
            missed = _moved(grip, np.array([0.0, beside]), 0.0)
            return missed, missed, missed
        errors = [self._aim_error * self._rng.normal(size=3).clip(-2, 2) for _ in range(2)]
        first, second = ((error[:2] * AIM_M, float(error[2]) * AIM_RAD) for error in errors)
        return _moved(grip, *first), _moved(grip, NEAR_SHARE * second[0], NEAR_SHARE * second[1]), grip

    def _nearest_first(self, q_rad: Float[ndarray, " J"], truth: Truth) -> list[Pose]:
        turns: list[tuple[float, Pose]] = []
        for grip in self.script.grips(truth):
            with contextlib.suppress(Unreachable):
                turns.append((float(np.abs(self._planner.reach(grip, q_rad) - q_rad).max()), grip))
        return [grip for _, grip in sorted(turns, key=lambda pair: pair[0])]

    def _grip_steps(self, q_rad: Float[ndarray, " J"], first: Pose, second: Pose, grip: Pose) -> list[Step]:
        wide = self.arm.approach_open
        before = [] if self._is_high(q_rad, grip) else [self._up(q_rad, "reach", wide)]
        again = [] if second is grip else [Step("reach", raised(second, NEAR_M), wide, "straight", 0.7)]
        return [
            *before,
            Step("reach", raised(first, ABOVE_M), wide),
            *again,
            Step("reach", grip, wide, "straight", 0.7, 0.1),
            Step("close", None, 0.0, wait_s=0.15),
            Step("hold", raised(grip, ABOVE_M), 0.0, "straight", 0.7),
        ]

    def _revise(self, at_s: float, q_rad: Float[ndarray, " J"], truth: Truth) -> None:
        """Once the object is held, the rest of the plan follows from how it is held."""
        plan = self._plan
        assert plan is not None
        number = plan.leg_at(at_s - LAG_S)
        since_grip = _legs_since_grip(plan, number)
        if plan.legs[number].phase != "hold" or since_grip not in (1, 2):
            return
        T_tip_obj = self.kinematics.T_base_tip(q_rad).inverse() @ truth[self.script.object_name]
        if self._T_tip_obj is not None and T_tip_obj.distance_to(self._T_tip_obj)[0] < REVISED_M:
            return
        self._T_tip_obj = T_tip_obj
        kept = plan.legs[: number + 1]
        self._plan = Plan((*kept, *self._rest(kept[-1], truth, T_tip_obj, since_grip - 1)))

    def _rest(self, after: Leg, truth: Truth, T_tip_obj: Pose, done: int) -> tuple[Leg, ...]:
        """What follows on a leg, without the first `done` steps of the delivery."""
        q_rad, opening = after.q_rad(after.end_s), after.gripper_open(after.end_s)
        delivery = self.script.deliver(truth, T_tip_obj, self.kinematics.T_base_tip(q_rad))
        steps = [*delivery[done:], self._home()]
        return self._planner.plan(q_rad, opening, steps, after.end_s).legs

    def _held_at(self, q_rad: Float[ndarray, " J"], opening: float, truth: Truth) -> Pose | None:
        """T_tip_obj when the object is between the closed jaws and off the table."""
        T_tip_obj = self.kinematics.T_base_tip(q_rad).inverse() @ truth[self.script.object_name]
        away = T_tip_obj.translation_m - self.script.nominal_T_tip_obj().translation_m
        is_near = float(np.linalg.norm(away)) < DROPPED_M
        return T_tip_obj if is_near and opening < self.arm.approach_open - 0.1 else None

    def _is_high(self, q_rad: Float[ndarray, " J"], grip: Pose) -> bool:
        tip = self.kinematics.T_base_tip(q_rad).translation_m
        sideways = math.dist(tip[:2], grip.translation_m[:2])
        return bool(tip[2] > grip.translation_m[2] + HIGH_M or sideways < 1e-3)

    def _up(self, q_rad: Float[ndarray, " J"], phase: Phase, opening: float) -> Step:
        here = self.kinematics.T_base_tip(q_rad)
        return Step(phase, raised(here, ABOVE_M), opening, "straight")

    def _home(self) -> Step:
        return Step("rest", None, self._rest_open, q_rad=self.arm.home_rad, wait_s=0.2)

    def _home_steps(self, q_rad: Float[ndarray, " J"], opening: float) -> list[Step]:
        return [Step("release", None, self._rest_open), self._home()]


def _moved(grip: Pose, by_m: Float[ndarray, 2], turn_rad: float) -> Pose:
    """Along the tip's x and y, and turned about its z."""
    turn = rotation_from_rotvec(np.array([0.0, 0.0, turn_rad]))
    return grip @ Pose.from_parts(grip.child, grip.child, turn, np.append(by_m, 0.0))


def _legs_since_grip(plan: Plan, number: int) -> int:
    """How many legs after the closing of the gripper; 0 when the plan has none before."""
    for back in range(number + 1):
        if plan.legs[number - back].phase == "close":
            return back
    return 0
