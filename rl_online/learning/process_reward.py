# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The process reward γΦ(s′) − Φ(s) for demonstrations: what a store says of the object in; the progress Φ out.

An actor's world says how far the task is; a store says only where the object was. So the task itself is asked about
each of those places, and demonstrations and what is tried are paid alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import NonNegativeFloat

from hardware.bench.arm_models import ArmName
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig, TaskName
from hardware.config import Config
from hardware.spatial import Pose
from rl_online.learning.presets import Algorithm
from rl_online.worlds.outcome import nearness
from rl_online.worlds.tasks import TaskChoice, TwinTask, task_in_twin
from rl_online.worlds.world import pose_of


class ProcessReward(Config):
    """Pay for progress beside the outcome; the best policy stays the best (Ng 1999)."""

    weight: NonNegativeFloat = 0.0
    """0: outcome rewards alone. Success pays 10."""
    task: TaskChoice = "pick_place"
    """Whose progress; an actor refuses to act in another task's world."""
    arm: ArmName = "so101"

    def anywhere(self) -> ProcessReward:
        """For whoever reads it in another folder."""
        return self.but(task=self.task.absolute()) if isinstance(self.task, Path) else self

    def laid_on(self, algorithm: Algorithm) -> Algorithm:
        """The algorithm, paid so."""
        return algorithm.but(rewards=algorithm.rewards.but(progress=self.weight)) if self.weight else algorithm


class ProgressJudge:
    """How far a task is with its object at a place."""

    def __init__(self, reward: ProcessReward) -> None:
        """Raises `BadInput` for a task whose progress the object's pose does not show."""
        self._task = task_in_twin(reward.task, reward.arm)
        self._progress = (
            of_place(self._task) if isinstance(reward.task, Path) else of_bench(reward.task, reward.arm)
        )

    def progress(self, columns: tuple[str, ...], states: Float[ndarray, "T S"]) -> Float[ndarray, " T"]:
        """0 … 1 in each row. Raises `BadInput` where the columns do not say where the object is."""
        rows = [dict(zip(columns, row.tolist(), strict=True)) for row in states]
        return np.array([self._progress(pose_of(row, self._task.object_name)) for row in rows])


def of_place(task: TwinTask) -> Callable[[Pose], float]:
    """As a twin measures it, but for the last hundredth: a pose alone does not say that the object was let go."""
    goal_m = np.array([task.goal.x_m, task.goal.y_m])

    def progress(T_base_object: Pose) -> float:
        return float(nearness(np.linalg.norm(T_base_object.translation_m[None, :2] - goal_m, axis=1))[0])

    return progress


def of_bench(name: TaskName, arm: ArmName) -> Callable[[Pose], float]:
    """As the bench's own task has it."""
    cell = Plant(PlantConfig(task=name, arm_model=arm, cameras={})).cell
    model, task, data = cell.model, cell.task, mujoco.MjData(cell.model)
    at = int(model.joint(task.object_name).qposadr[0])

    def progress(T_base_object: Pose) -> float:
        data.qpos[at : at + 7] = np.concatenate([T_base_object.translation_m, T_base_object.quat_wxyz])
        mujoco.mj_kinematics(model, data)
        return task.progress(data)

    return progress


def of_success(progress: Float[ndarray, " T"], weight: float, gamma: float) -> Float[ndarray, " T"]:
    """Of each step of an episode that its last step ends: Φ is 0 after the end, as in `ChunkEnv`."""
    return weight * (gamma * np.append(progress[1:], 0.0) - progress)
