"""A small real world for tests: a slider that pushes a block along x; success when the block is at the goal."""

from collections.abc import Sequence

import numpy as np

from hardware.bench.tasks.start import TaskStart
from rl_online.starts.regions import Box
from rl_online.worlds.world import Moment, TaskSheet
from vla.policy import Interface

ID = Box(name="near", lower_m=(0.1, -0.1), upper_m=(0.2, 0.1), yaw_rad=(0.0, 0.0))
OOD = Box(name="far", lower_m=(0.3, -0.1), upper_m=(0.4, 0.1), yaw_rad=(0.0, 0.0))
SHEET = TaskSheet(
    "push the block", "block", 2.0, (("id", ID), ("ood", OOD)), TaskStart(x_m=0.5, y_m=0.0, yaw_rad=0)
)
SPEED_RAD = 0.1
"""At most per step."""


class SliderWorld:
    """Joint `slide` (in metres here) moves towards its target and takes along the block that it touches from behind."""

    label = "slider, simulated"
    sheet = SHEET
    rate_hz = 10.0
    joint_names = ("slide",)
    camera_names = ()

    def __init__(self, n_envs: int = 1) -> None:
        self.n_envs = n_envs
        self.slide, self.block = np.zeros(n_envs), np.zeros((n_envs, 2))

    def reset(self, starts: Sequence[TaskStart], envs: Sequence[int]) -> None:
        for start, env in zip(starts, envs, strict=True):
            self.slide[env], self.block[env] = 0.0, (start.x_m, start.y_m)

    def step(self, actions: np.ndarray, envs: Sequence[int]) -> None:
        for action, env in zip(actions, envs, strict=True):
            before = self.slide[env]
            self.slide[env] += np.clip(action[0] - before, -SPEED_RAD, SPEED_RAD)
            if before <= self.block[env, 0]:
                self.block[env, 0] = max(self.block[env, 0], self.slide[env])

    def moment(self) -> Moment:
        poses = np.tile(np.eye(4), (self.n_envs, 1, 1))
        poses[:, :2, 3] = self.block
        away = np.abs(self.block[:, 0] - SHEET.goal.x_m)
        progress = np.clip(1 - away / 0.5, 0, 1)
        return Moment(self.slide[:, None].copy(), np.ones(self.n_envs), poses, away < 0.02, progress)

    def picture(self, camera: str, env: int) -> np.ndarray:
        raise AssertionError("it has no camera")

    def close(self) -> None:
        pass


def interface(horizon: int = 4) -> Interface:
    return Interface(
        cameras=(),
        state_names=("slide", "gripper", "block.x_m"),
        action_names=("slide", "gripper"),
        rate_hz=10.0,
        horizon_steps=horizon,
        language=False,
    )
