"""The simulated bench as a gymnasium environment, as HIL-SERL drives a robot: small steps of the tool, ten a second.

In: how far the tool goes along x, y, z and turns about the vertical (−1 … 1 of the largest step), and for the gripper
0 close, 1 stay, 2 open: LeRobot's end-effector actions, its 25 mm and 10 Hz. The turn is ours: the block stands askew.
Out: joints and tool as `agent_pos`, the object's pose as `environment_state`, LeRobot's names. Reward 1 on success.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.motion import STRAIGHT, TILTED
from hardware.bench.tasks.start import TaskStart
from hardware.kinematics import Unreachable, so101_kinematics
from hardware.spatial import Pose
from rl_online.learning.env import gone
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.world import pose_values

RATE_HZ = 10.0
STEP_M, TURN_RAD, GRIPPER_STEP = 0.025, 0.25, 0.2
"""The largest change of one action. The gripper's is ours: LeRobot's closes fully, which pushes the block away."""
VELOCITY_RAD_S = 3.0
"""Of the joints; no step of the tool in the middle of the table needs more."""
LOWER_M, UPPER_M = (0.06, -0.26, 0.0), (0.34, 0.22, 0.25)
"""Where the tool may be asked to go: the start regions, the tray and a hand's breadth round them."""
CLOSE, STAY, OPEN = 0, 1, 2
Seen = dict[str, Float[ndarray, " N"]]


class BenchGym(gymnasium.Env[Seen, ndarray]):
    """One plant. Several steps of its world in each step of the environment: `world_steps` counts them."""

    def __init__(self, world: BenchWorld) -> None:
        if world.n_envs != 1 or world.rate_hz % RATE_HZ:
            raise ValueError(f"a world of one cell at a multiple of {RATE_HZ:g} Hz is wanted")
        self.world, self.kinematics = world, so101_kinematics()
        self.substeps = round(world.rate_hz / RATE_HZ)
        self.limit_steps = round(world.sheet.time_limit_s * world.rate_hz)
        self.action_space = gymnasium.spaces.Box(
            np.array([-1, -1, -1, -1, CLOSE], np.float32), np.array([1, 1, 1, 1, OPEN], np.float32)
        )
        self._begin(TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.0))
        boxes = {
            name: gymnasium.spaces.Box(-np.inf, np.inf, value.shape, np.float32)
            for name, value in self._see().items()
        }
        self.observation_space = gymnasium.spaces.Dict(boxes)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """`options["start"]`: where the object stands; without, drawn over all regions, ID and OOD half and half."""
        super().reset(seed=seed)
        regions = self.world.sheet.parts
        given = (options or {}).get("start")
        if given is None:
            parts = list(dict.fromkeys(part for part, _ in regions))
            chosen = parts[int(self.np_random.integers(len(parts)))]
            among = [region for part, region in regions if part == chosen]
            area = np.array([region.area_m2 for region in among])
            given = among[int(self.np_random.choice(len(among), p=area / area.sum()))].draw(self.np_random)
        self._begin(given)
        return self._see(), {}

    def step(self, action: ndarray) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """The fifth number is rounded to close, stay or open. `info["success"]` is the plant's truth."""
        before, moved = self.asked_rad, np.clip(action[:4], -1, 1)
        self.asked_rad = self._towards(moved[:3] * STEP_M, float(moved[3]) * TURN_RAD)
        change = (np.clip(np.rint(action[4]), CLOSE, OPEN) - STAY) * GRIPPER_STEP
        self.asked_open = float(np.clip(self.asked_open + change, 0, 1))
        won = lost = False
        for part in range(1, self.substeps + 1):
            q_rad = before + part / self.substeps * (self.asked_rad - before)
            self.world.step(np.append(q_rad, self.asked_open)[None], [0])
            self.steps += 1
            self.world_steps += 1
            now = self.world.moment()
            won = bool(now.success[0])
            lost = not won and bool(gone(now.Ts_base_object)[0])
            if won or lost or self.steps >= self.limit_steps:
                break
        truncated = not (won or lost) and self.steps >= self.limit_steps
        return self._see(), float(won), won or lost, truncated, {"success": won}

    def close(self) -> None:
        self.world.close()

    def action_to(self, q_rad: Float[ndarray, " J"], gripper_open: float) -> tuple[Float[ndarray, 5], bool]:
        """The action that brings tool and gripper towards where these joint targets have them; whether one suffices.

        So a demonstration or a correction given as joint targets becomes one of these actions. A way too long for one
        is shortened as a whole, so that the tool keeps its direction.
        """
        here, there = self._tool(self.asked_rad), self._tool(q_rad)
        turn = math.remainder(yaw_of(there) - yaw_of(here), math.tau)
        move = np.append((there.translation_m - here.translation_m) / STEP_M, turn / TURN_RAD)
        longest = float(np.abs(move).max())
        left = gripper_open - self.asked_open
        grip = STAY + int(np.sign(left)) if abs(left) > GRIPPER_STEP / 2 else STAY
        whole = longest <= 1.0 and abs(left) <= 1.5 * GRIPPER_STEP
        return np.append(move / max(1.0, longest), grip).astype(np.float32), whole

    def _begin(self, start: TaskStart) -> None:
        self.world.reset([start], [0])
        self.steps, self.world_steps = 0, getattr(self, "world_steps", 0)
        self.asked_rad = np.array(self.world.plants[0].cell.arm.home_rad)
        self.asked_open = 1.0

    def _see(self) -> Seen:
        now, asked = self.world.moment(), self._tool(self.asked_rad)
        tool = [*asked.translation_m, math.cos(yaw_of(asked)), math.sin(yaw_of(asked)), self.asked_open]
        return {
            "agent_pos": np.array([*now.q_rad[0], now.gripper_open[0], *tool], np.float32),
            "environment_state": pose_values(now.Ts_base_object)[0].astype(np.float32),
        }

    def _tool(self, q_rad: Float[ndarray, " J"]) -> Pose:
        return self.kinematics.T_base_tip(q_rad)

    def _towards(self, move_m: Float[ndarray, 3], turn_rad: float) -> Float[ndarray, " J"]:
        """Joint targets for the tool moved, turned and pointing down as well as the arm can; as before out of reach."""
        here = self._tool(self.asked_rad)
        at = np.clip(here.translation_m + move_m, LOWER_M, UPPER_M)
        there = Pose.from_parts("base", "tip", pointing_down(yaw_of(here) + turn_rad), at)
        for way in (STRAIGHT, TILTED):
            with contextlib.suppress(Unreachable):
                change = self.kinematics.solve(there, self.asked_rad, *way) - self.asked_rad
                fastest = float(np.abs(change).max()) * RATE_HZ
                return self.asked_rad + change * min(1.0, VELOCITY_RAD_S / max(fastest, 1e-9))
        return self.asked_rad


def yaw_of(T_base_tip: Pose) -> float:
    """Of the closing direction, in the table's plane."""
    return math.atan2(T_base_tip.rotation[1, 0], T_base_tip.rotation[0, 0])


def pointing_down(yaw_rad: float) -> Float[ndarray, "3 3"]:
    """The tip's z down, its x along the yaw."""
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])
