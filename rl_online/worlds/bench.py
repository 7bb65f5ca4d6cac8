"""The bench's plant as a world: it stands in for the real side, runs as fast as the processor lets it, and is
simulated. Success and progress are the plant's truth, for rewards in training runs without a classifier and for audits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.bench.plant import Plant
from hardware.bench.plant_config import CameraName, PlantConfig
from hardware.bench.tasks.start import TaskStart
from hardware.bench.tasks.task import Layout
from hardware.errors import BadInput
from rl_online.starts.regions import Box, PartName, Region
from rl_online.worlds.world import Moment, TaskSheet

RATE_HZ = 20.0


class BenchWorld:
    """N plants of one config, in this process. See `World`."""

    def __init__(self, config: PlantConfig, n_envs: int = 1, rate_hz: float = RATE_HZ) -> None:
        if n_envs < 1:
            raise BadInput(f"{n_envs} environments", "give at least one")
        self.config, self.rate_hz = config, rate_hz
        self.plants = [Plant(config) for _ in range(n_envs)]
        task = self.plants[0].cell.task
        self.label = f"bench plant, simulated ({config.task}, {config.arm_model})"
        self.sheet = TaskSheet(
            task.instruction, task.object_name, task.time_limit_s, parts(task.layout), task.layout.goal
        )

    @property
    def n_envs(self) -> int:
        return len(self.plants)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.plants[0].names

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(self.config.cameras)

    def reset(self, starts: Sequence[TaskStart], envs: Sequence[int]) -> None:
        for start, env in zip(starts, envs, strict=True):
            self.plants[env].reset(start)

    def step(self, actions: Float[ndarray, "M D"], envs: Sequence[int]) -> None:
        for action, env in zip(actions, envs, strict=True):
            plant = self.plants[env]
            plant.command(action[:-1].astype(np.float64), float(action[-1]))
            plant.advance(1 / self.rate_hz)

    def moment(self) -> Moment:
        poses = [plant.truth()[self.sheet.object_name].matrix for plant in self.plants]
        return Moment(
            q_rad=np.stack([plant.reading().q_rad for plant in self.plants]),
            gripper_open=np.array([plant.gripper() for plant in self.plants]),
            Ts_base_object=np.stack(poses),
            success=np.array([plant.success() for plant in self.plants]),
            progress=np.array([plant.progress() for plant in self.plants]),
        )

    def picture(self, camera: str, env: int) -> UInt8[ndarray, "H W 3"]:
        """Without latency: between two control steps nothing moves."""
        name = next((known for known in get_args(CameraName) if known == camera), None)
        if name is None or name not in self.config.cameras:
            raise BadInput(f"no camera '{camera}' on the bench; have: {', '.join(self.config.cameras)}")
        return self.plants[env].glance(name)

    def close(self) -> None:
        for plant in self.plants:
            plant.close()


def parts(layout: Layout) -> tuple[tuple[PartName, Region], ...]:
    """The task's start regions, as the grid takes them."""
    names: tuple[PartName, ...] = get_args(PartName)
    return tuple((name, Box(**region.model_dump())) for name in names for region in layout.starts[name])
