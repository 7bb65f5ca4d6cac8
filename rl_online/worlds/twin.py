"""A simulated twin (`twin.sim`) as a world: starts are set where the scan saw the object, moved in the table's plane;
success is measured from poses, for a twin knows no task; commands come as late as the cell's were found to be.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from pydantic import PositiveInt

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.worlds.looks import Looks, Painter
from rl_online.worlds.outcome import Outcome, delivered, nearness
from rl_online.worlds.world import Moment, TaskSheet
from twin.sim.mujoco import MujocoSim
from twin.sim.pixels import open_pixels
from twin.sim.protocol import SimState, Simulator, Start

DELAY_TICK_S = 0.01
"""A delay of commands is kept to within half of this."""


class TwinWorld:
    """N environments of one simulator. See `World`."""

    def __init__(
        self,
        simulator: Simulator,
        sheet: TaskSheet,
        outcome: Outcome,
        table_z_m: float = 0.0,
        px: PositiveInt = 128,
        looks: Looks | None = None,
        ticks: PositiveInt = 1,
        delay_s: float = 0.0,
        servos: str = "",
    ) -> None:
        """`looks`: every episode has light, colours, textures and eyes of its own; None: as the scan saw it.

        A control step is `ticks` steps of the simulator; each command acts `delay_s` late, in whole ticks. `servos`
        says in the label where they come from.
        """
        if sheet.object_name not in simulator.object_names:
            have = ", ".join(simulator.object_names) or "none"
            raise BadInput(
                f"the twin has no object '{sheet.object_name}'; have: {have}", "segment it: tandem twin segment"
            )
        self.simulator, self.sheet, self.outcome = simulator, sheet, outcome
        self.label = f"twin ({', '.join(filter(None, (simulator.engine, servos)))})"
        self.rate_hz = simulator.control_hz / ticks
        self._ticks, self._late = ticks, round(delay_s * simulator.control_hz)
        self._painter: Painter | None = None
        if looks is not None:
            if not isinstance(simulator, MujocoSim):
                raise BadInput(f"looks cannot be varied in {simulator.engine}", "--world.engine mujoco")
            self._painter = Painter(open_pixels(simulator.scene, simulator.model), looks, sheet.object_name)
            self._bodies = simulator
        self._table_z_m, self._px = table_z_m, px
        first = simulator.reset([Start()] * simulator.n_envs)
        self._T_base_scanned = first.Ts_base_object[sheet.object_name][0]
        self._keep(first, np.zeros((simulator.n_envs, 3)))
        self._targets = np.concatenate([first.q_rad, first.gripper_open[:, None]], axis=1)
        self._waiting = deque(self._targets.copy() for _ in range(self._late))

    @property
    def n_envs(self) -> int:
        return self.simulator.n_envs

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.simulator.joint_names

    @property
    def camera_names(self) -> tuple[str, ...]:
        return self.simulator.camera_names

    def reset(self, starts: Sequence[TaskStart], envs: Sequence[int]) -> None:
        placed = [Start(objects={self.sheet.object_name: self.placed(start)}) for start in starts]
        state = self.simulator.reset(placed, list(envs))
        rows = list(envs)
        for targets in (self._targets, *self._waiting):
            targets[rows] = np.concatenate([state.q_rad, state.gripper_open[:, None]], axis=1)[rows]
        self._keep(state, np.zeros((self.n_envs, 3)))
        if self._painter is not None:
            for env, start in zip(envs, starts, strict=True):
                self._painter.begin(env, start)

    def placed(self, start: TaskStart) -> Pose:
        """T_base_object: as the scan saw it standing, its x turned to the start's yaw and moved over the table."""
        seen_rad = math.atan2(self._T_base_scanned[1, 0], self._T_base_scanned[0, 0])
        turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad - seen_rad]))
        at = (start.x_m, start.y_m, float(self._T_base_scanned[2, 3]))
        return Pose.from_parts("base", self.sheet.object_name, turn @ self._T_base_scanned[:3, :3], at)

    def step(self, actions: Float[ndarray, "M D"], envs: Sequence[int]) -> None:
        """The cells that are not named hold their last targets: the simulator steps all of them."""
        self._targets[list(envs)] = actions
        before, state = self._Ts_base_object[:, :3, 3], self._state
        for _ in range(self._ticks):
            self._waiting.append(self._targets.copy())
            state = self.simulator.step(self._waiting.popleft())
        moved = state.Ts_base_object[self.sheet.object_name][:, :3, 3] - before
        self._keep(state, moved * self.rate_hz)

    def moment(self) -> Moment:
        return Moment(
            q_rad=self._state.q_rad.copy(),
            gripper_open=self._state.gripper_open.copy(),
            Ts_base_object=self._Ts_base_object.copy(),
            success=self._success(),
            progress=self._progress(),
        )

    def picture(self, camera: str, env: int) -> UInt8[ndarray, "H W 3"]:
        height = self._px * 3 // 4
        if self._painter is not None:
            return self._painter.picture(camera, env, self._px, height, self._bodies.Ts_world_body[env])
        return self.simulator.render(camera, self._px, height, [env])[0]

    def close(self) -> None:
        self.simulator.close()

    def _keep(self, state: SimState, speed_m_s: Float[ndarray, "N 3"]) -> None:
        self._state, self._speed_m_s = state, speed_m_s
        self._Ts_base_object = state.Ts_base_object[self.sheet.object_name]

    def _Ts_goal_object(self) -> Float[ndarray, "N 4 4"]:
        goal = self.sheet.goal
        turn = rotation_from_rotvec(np.array([0.0, 0.0, goal.yaw_rad]))
        T_base_goal = Pose.from_parts("base", "goal", turn, (goal.x_m, goal.y_m, self._table_z_m))
        return T_base_goal.inverse().matrix @ self._Ts_base_object

    def _success(self) -> Bool[ndarray, " N"]:
        return delivered(self._Ts_goal_object(), self._speed_m_s, self._state.touching, self.outcome)

    def _progress(self) -> Float[ndarray, " N"]:
        away_m = np.linalg.norm(self._Ts_goal_object()[:, :2, 3], axis=1)
        return np.where(self._success(), 1.0, nearness(away_m))
