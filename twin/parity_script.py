"""A twin that can be simulated, in; starts and actions that drop, slide, push and lift one of its things, out.

The actions are worked out once, from the arm's kinematics alone, so that every engine is given the same ones.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import TIP, ArmModel
from hardware.bench.motion import PEAK_SPEED, Planner, Step
from hardware.bench.scripts import ABOVE_M, Grip, raised, square_grips, tip_down
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, Unreachable, kinematic_model
from hardware.spatial import Pose, rotation_from_rotvec
from twin.object_asset import ObjectAsset
from twin.sim.protocol import Start
from twin.sim.scene import SimScene

Scenario = Literal["drop", "slide", "push", "lift"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

DROP_M, DROP_TILT_RAD = 0.04, math.radians(8)
PUSH_M, PUSH_PACE = 0.05, 0.25
"""The pace is a share of the speed of scripts: slow enough that the thing stops with the tool."""
SLIDE_M = 0.1
"""How far friction lets a thing slide that starts with a speed. No tool strikes it: where a struck thing stops is a
matter of the stroke's first 2 ms, and scatters by 3 to 34 mm in one engine when the thing starts 0.05 mm elsewhere."""
GRAVITY_M_S2 = 9.81
RUN_UP_M = 0.035
"""Between the tool and the thing's side before it is pushed: the jaws are 25 mm thick."""
REST_S = 1.0
PUSHER_SPEED_M_S = 0.4
LOWEST_M = 0.014
"""Of the tool over the table."""
WIDEST_GRIP_M = 0.05
NEARER_M = tuple(0.03 * number for number in range(11))
"""How much nearer to the arm a thing is tried that it cannot do everything with where the scan saw it."""
NEAREST_M, CLEAR_M = 0.15, 0.06
"""Of a thing brought nearer: from the arm's base, and between its outline and another thing's."""


@dataclass(frozen=True, eq=False)
class Act:
    """What one environment starts with and is told."""

    scenario: Scenario
    object_name: str
    start: Start
    actions: Float[ndarray, "T D"]
    """One row each control step."""


def acts(
    scene: SimScene, object_name: str, control_hz: float, nearer_m: float = 0.0
) -> tuple[dict[Scenario, Act], dict[Scenario, str]]:
    """The scenarios that this twin can do, and why it cannot do the others.

    `nearer_m`: how much nearer to the arm's base than the scan saw it the thing starts. Raises `BadInput` where there
    is no such object, or the arm reaches it nowhere.
    """
    if object_name not in scene.object_names:
        raise BadInput(f"no object '{object_name}' in the twin; have: {', '.join(scene.object_names)}")
    asset = scene.objects[scene.object_names.index(object_name)]
    arm = scene.hand.arm
    script = PusherScript(scene, asset) if arm is None else ArmScript(scene, asset, arm, nearer_m)
    found: dict[Scenario, Act] = {}
    missing: dict[Scenario, str] = {}
    for scenario in SCENARIOS:
        try:
            found[scenario] = script.act(scenario, control_hz)
        except (Unreachable, BadInput) as error:
            missing[scenario] = error.problem
    if "push" not in found:
        raise BadInput(
            f"the arm cannot push '{object_name}': {missing['push']}", "name another --object, nearer to the arm"
        )
    return found, missing


def acts_within_reach(
    scene: SimScene, object_name: str, control_hz: float
) -> tuple[dict[Scenario, Act], dict[Scenario, str]]:
    """As `acts`, with the thing brought as much nearer to the arm as lets it do the most; 30 cm at most."""
    best: tuple[dict[Scenario, Act], dict[Scenario, str]] | None = None
    refused: BadInput | None = None
    for nearer_m in NEARER_M:
        if nearer_m and not clear(scene, object_name, nearer_m):
            continue
        try:
            found = acts(scene, object_name, control_hz, nearer_m)
        except BadInput as error:
            refused = refused or error
            continue
        best = found if best is None or len(found[0]) > len(best[0]) else best
        if not best[1] or scene.hand.arm is None:
            break
    if best is None:
        assert refused is not None
        raise refused
    return best


def clear(scene: SimScene, object_name: str, nearer_m: float) -> bool:
    """Nothing else stands where the thing would, and it is not at the arm's foot."""
    if object_name not in scene.object_names:
        return False
    at = brought_nearer(scene.Ts_base_scan[object_name], nearer_m).translation_m[:2]
    asset = scene.objects[scene.object_names.index(object_name)]
    return float(np.linalg.norm(at)) >= NEAREST_M and min(gaps_m(scene, asset, at[None]), default=1.0) > CLEAR_M


class ArmScript:
    """For a twin with a robot. Starts from the arm's home with the thing where the scan saw it, or nearer."""

    def __init__(self, scene: SimScene, asset: ObjectAsset, arm: ArmModel, nearer_m: float = 0.0) -> None:
        self._scene, self._asset, self._arm = scene, asset, arm
        self._planner = Planner(Kinematics(kinematic_model(arm), TIP), arm)
        self._T_base_obj = brought_nearer(upright(scene.Ts_base_scan[asset.name]), nearer_m)

    def act(self, scenario: Scenario, control_hz: float) -> Act:
        hands_off = np.append(self._scene.hand.home, 1.0)
        if scenario == "drop":
            return dropped(self._asset, self._T_base_obj, hands_off, control_hz)
        if scenario == "slide":
            return slid(self._scene, self._asset, self._T_base_obj, self._directions(), hands_off, control_hz)
        if scenario == "lift":
            return self._acted(scenario, self._lift(), self._arm.approach_open, control_hz)
        failed: Unreachable | None = None
        for direction in self._directions():
            try:
                return self._acted(scenario, self._shove(direction), 0.0, control_hz)
            except Unreachable as error:
                failed = error
        assert failed is not None
        raise failed

    def _acted(self, scenario: Scenario, steps: list[Step], opening: float, control_hz: float) -> Act:
        home = self._scene.hand.home
        plan = self._planner.plan(home, opening, steps)
        times_s = np.arange(1, math.ceil((plan.end_s + REST_S) * control_hz) + 1) / control_hz
        rows = np.stack([np.append(plan.q_rad(t), plan.gripper_open(t)) for t in times_s.tolist()])
        start = Start(gripper_open=opening, objects={self._asset.name: self._T_base_obj})
        return Act(scenario, self._asset.name, start, rows)

    def _directions(self) -> list[Float[ndarray, 3]]:
        """Square to the thing's sides, the one across the arm's reach first: there it has the most room."""
        across = self._T_base_obj.translation_m[:2] @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        sides = [sign * self._T_base_obj.rotation[:, axis] for axis in (0, 1) for sign in (1, -1)]
        return sorted(sides, key=lambda side: -abs(float(side[:2] @ across)))

    def _shove(self, direction: Float[ndarray, 3]) -> list[Step]:
        half_m = float(np.abs(self._T_base_obj.rotation.T @ direction) @ np.array(self._asset.size_m)) / 2
        at = self._T_base_obj.translation_m
        at = np.array([at[0], at[1], max(at[2], self._scene.table_m + LOWEST_M)])
        yaw = math.atan2(direction[1], direction[0]) + math.pi / 2  # the jaws side by side, across the way
        behind = tip_down(yaw, at - (half_m + RUN_UP_M) * direction)
        reached = tip_down(yaw, at + (PUSH_M - half_m) * direction)
        return [
            Step("reach", raised(behind, ABOVE_M), 0.0),
            Step("reach", behind, 0.0, "straight", 0.5, 0.2),
            Step("reach", reached, 0.0, "straight", PUSH_PACE, 0.2),
        ]

    def _lift(self) -> list[Step]:
        width_m = min(self._asset.size_m[:2])
        if width_m > WIDEST_GRIP_M:
            raise BadInput(f"'{self._asset.name}' is {1000 * width_m:.0f} mm wide: too wide for the jaws")
        low_m = self._scene.table_m + LOWEST_M
        grip = Grip(width_m, max(0.0, low_m - float(self._T_base_obj.translation_m[2])))
        turned = self._T_base_obj
        if self._asset.size_m[1] < self._asset.size_m[0]:  # the jaws close along the tip's x, on the narrow sides
            quarter = Pose.from_parts(turned.child, turned.child, rotation_about_z(math.pi / 2), np.zeros(3))
            turned = turned @ quarter
        home = self._scene.hand.home
        ways: list[tuple[float, list[Step]]] = []
        for pose in square_grips(self._arm, grip, turned, 2):
            with contextlib.suppress(Unreachable):
                q_rad = self._planner.reach(pose, home)
                ways.append((float(np.abs(q_rad - home).max()), grip_steps(self._arm, pose)))
        if not ways:
            raise Unreachable(f"the arm does not reach round '{self._asset.name}'")
        return min(ways, key=lambda way: way[0])[1]


def grip_steps(arm: ArmModel, grip: Pose) -> list[Step]:
    wide = arm.approach_open
    return [
        Step("reach", raised(grip, ABOVE_M), wide),
        Step("reach", grip, wide, "straight", 0.7, 0.1),
        Step("close", None, 0.0, wait_s=0.2),
        Step("hold", raised(grip, ABOVE_M), 0.0, "straight", 0.5, 0.3),
    ]


class PusherScript:
    """For a twin without a robot: the rod's joints are its tip's coordinates. It cannot lift."""

    def __init__(self, scene: SimScene, asset: ObjectAsset) -> None:
        self._scene, self._asset = scene, asset
        self._T_base_obj = upright(scene.Ts_base_scan[asset.name])

    def act(self, scenario: Scenario, control_hz: float) -> Act:
        name, home = self._asset.name, self._scene.hand.home
        if scenario == "lift":
            raise BadInput("a twin without a robot has no gripper")
        hands_off = np.append(home, 0.0)
        if scenario == "drop":
            return dropped(self._asset, self._T_base_obj, hands_off, control_hz)
        if scenario == "slide":
            ways = [self._T_base_obj.rotation[:, 0], -self._T_base_obj.rotation[:, 0]]
            return slid(self._scene, self._asset, self._T_base_obj, ways, hands_off, control_hz)
        at = self._T_base_obj.translation_m
        at = np.array([at[0], at[1], self._scene.table_m + LOWEST_M])
        direction = self._T_base_obj.rotation[:, 0]
        half_m = self._asset.size_m[0] / 2
        behind, reached = at - (half_m + RUN_UP_M) * direction, at + (PUSH_M - half_m) * direction
        start_at = np.array([*behind[:2], home[2]])
        ways = [eased(start_at, behind, 0.5, control_hz), eased(behind, reached, PUSH_PACE, control_hz)]
        rows = np.concatenate([*ways, np.tile(reached, (round(REST_S * control_hz), 1))])
        start = Start(q_rad=start_at, gripper_open=0.0, objects={name: self._T_base_obj})
        return Act(scenario, name, start, np.pad(rows, ((0, 0), (0, 1))))


def eased(
    start_m: Float[ndarray, 3], end_m: Float[ndarray, 3], pace: float, control_hz: float
) -> Float[ndarray, "T 3"]:
    """A line, quintic in time."""
    way_s = PEAK_SPEED * float(np.linalg.norm(end_m - start_m)) / (PUSHER_SPEED_M_S * pace)
    part = np.arange(1, max(2, math.ceil(way_s * control_hz)) + 1)
    part = part / part[-1]
    return start_m + (part**3 * (10 - 15 * part + 6 * part**2))[:, None] * (end_m - start_m)


def upright(T_base_obj: Pose) -> Pose:
    """As it stands on a level table: z up, turned as it was. A scan's tilt would be a fall's, not an engine's."""
    x = T_base_obj.rotation[:2, 0]
    rotation = rotation_about_z(math.atan2(x[1], x[0]))
    return Pose.from_parts("base", T_base_obj.child, rotation, T_base_obj.translation_m)


def brought_nearer(T_base_obj: Pose, nearer_m: float) -> Pose:
    """Along the table, towards the arm's base, turned as it was."""
    at = T_base_obj.translation_m.copy()
    at[:2] *= 1 - nearer_m / np.linalg.norm(at[:2])
    return Pose.from_parts("base", T_base_obj.child, T_base_obj.rotation, at)


def dropped(asset: ObjectAsset, T_base_obj: Pose, hands_off: Float[ndarray, " D"], control_hz: float) -> Act:
    lean = rotation_from_rotvec(np.array([DROP_TILT_RAD, 0.0, 0.0]))
    at = T_base_obj.translation_m + np.array([0.0, 0.0, DROP_M])
    start = Start(objects={asset.name: Pose.from_parts("base", asset.name, T_base_obj.rotation @ lean, at)})
    return Act("drop", asset.name, start, np.tile(hands_off, (round(REST_S * control_hz), 1)))


def slid(
    scene: SimScene,
    asset: ObjectAsset,
    T_base_obj: Pose,
    directions: Sequence[Float[ndarray, 3]],
    hands_off: Float[ndarray, " D"],
    control_hz: float,
) -> Act:
    """Along the first direction in which nothing stands in the way. Raises `BadInput` where there is none."""
    assert asset.friction is not None  # a scene that can be simulated has it
    way_m = np.linspace(0.0, SLIDE_M, 11)[:, None]
    for direction in directions:
        if min(gaps_m(scene, asset, T_base_obj.translation_m[:2] + way_m * direction[:2]), default=1.0) > 0:
            speed_m_s = math.sqrt(2 * asset.friction * GRAVITY_M_S2 * SLIDE_M)
            start = Start(objects={asset.name: T_base_obj}, speeds_m_s={asset.name: speed_m_s * direction})
            lasts_s = speed_m_s / (asset.friction * GRAVITY_M_S2) + REST_S
            return Act("slide", asset.name, start, np.tile(hands_off, (math.ceil(lasts_s * control_hz), 1)))
    raise BadInput(f"something stands within {1000 * SLIDE_M:.0f} mm of '{asset.name}' on every side")


def gaps_m(scene: SimScene, asset: ObjectAsset, at: Float[ndarray, "N 2"]) -> list[float]:
    """Between the circles round the thing, were it at these places, and round each other one: the least of each."""
    found = []
    for other in (*scene.objects, *scene.fixed):
        if other.name != asset.name:
            T_base_other = scene.T_world_base.inverse() @ other.pose
            radii_m = float(np.hypot(*asset.size_m[:2]) + np.hypot(*other.size_m[:2])) / 2
            found.append(float(np.linalg.norm(at - T_base_other.translation_m[:2], axis=1).min()) - radii_m)
    return found


def rotation_about_z(angle_rad: float) -> Float[ndarray, "3 3"]:
    return rotation_from_rotvec(np.array([0.0, 0.0, angle_rad]))


def padded(rows: Sequence[ndarray]) -> Float[ndarray, "N S D"]:
    """Rows of T × D each, made as long as the longest: the last one is held."""
    longest = max(len(row) for row in rows)
    return np.stack([np.concatenate([row, np.tile(row[-1], (longest - len(row), 1))]) for row in rows])
