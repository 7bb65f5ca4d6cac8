# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The process reward γΦ(s′) − Φ(s) for demonstrations: what a store says of the object in; the progress Φ out.

An actor's world says how far the task is; a store says only where the object was. So the task itself is asked about
each of those places, and demonstrations and what is tried are paid alike.
"""

from __future__ import annotations

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import NonNegativeFloat

from hardware.bench.arm_models import ArmName
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig, TaskName
from hardware.config import Config
from rl_online.learning.presets import Algorithm
from rl_online.worlds.outcome import outcome_of
from rl_online.worlds.world import pose_of


class ProcessReward(Config):
    """Pay for progress beside the outcome; the best policy stays the best (Ng 1999)."""

    weight: NonNegativeFloat = 0.0
    """0: outcome rewards alone. Success pays 10."""
    task: TaskName = "pick_place"
    """Whose progress; the actors' world is of the same."""
    arm: ArmName = "so101"

    def laid_on(self, algorithm: Algorithm) -> Algorithm:
        """The algorithm, paid so."""
        return algorithm.but(rewards=algorithm.rewards.but(progress=self.weight)) if self.weight else algorithm


class ProgressJudge:
    """How far a task of the bench is with its object at a place."""

    def __init__(self, reward: ProcessReward) -> None:
        """Raises `BadInput` for a task whose progress the object's pose does not show."""
        outcome_of(reward.task)
        self._cell = Plant(PlantConfig(task=reward.task, arm_model=reward.arm, cameras={})).cell
        self._data = mujoco.MjData(self._cell.model)

    def progress(self, columns: tuple[str, ...], states: Float[ndarray, "T S"]) -> Float[ndarray, " T"]:
        """0 … 1 in each row. Raises `BadInput` where the columns do not say where the object is."""
        model, task = self._cell.model, self._cell.task
        at, found = int(model.joint(task.object_name).qposadr[0]), np.empty(len(states))
        for number, row in enumerate(states):
            pose = pose_of(dict(zip(columns, row.tolist(), strict=True)), task.object_name)
            self._data.qpos[at : at + 7] = np.concatenate([pose.translation_m, pose.quat_wxyz])
            mujoco.mj_kinematics(model, self._data)
            found[number] = task.progress(self._data)
        return found


def of_success(progress: Float[ndarray, " T"], weight: float, gamma: float) -> Float[ndarray, " T"]:
    """Of each step of an episode that its last step ends: Φ is 0 after the end, as in `ChunkEnv`."""
    return weight * (gamma * np.append(progress[1:], 0.0) - progress)
