"""The bench's plant as an environment, in this process: a simulated cell, by no means a real one.

Tasks are `<task>/id` (starts inside the demonstrated region) and `<task>/ood` (outside).
"""

from __future__ import annotations

from typing import get_args

from hardware.bench.plant import Plant
from hardware.bench.plant_config import CameraName, LiveCamera, PlantConfig, TaskName
from hardware.bench.tasks.start import Distribution
from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from vla.environments.environment import Ask
from vla.policy import GRIPPER, Interface

TRIAL_SEED = 1_000_000
"""Starts of trials are drawn from here on; demonstrations use small seeds."""
PICTURE_PX = (320, 240)
"""Drawn at half the live cameras' size: policies shrink them further."""


class Bench:
    """One plant per task, made when first tried. Success is the plant's own truth."""

    def __init__(self, interface: Interface, seed: int, arm_model: str = "so101") -> None:
        self._interface, self._seed = interface, seed
        unknown = [camera for camera in interface.cameras if camera not in get_args(CameraName)]
        if unknown:
            raise BadInput(f"no camera '{unknown[0]}' on the bench; have: {', '.join(get_args(CameraName))}")
        width, height = PICTURE_PX
        cameras = {name: LiveCamera(width_px=width, height_px=height) for name in interface.cameras}
        self._config = PlantConfig.model_validate(
            {"cameras": {name: camera.model_dump() for name, camera in cameras.items()}, "arm_model": arm_model}
        )
        self._plants: dict[str, Plant] = {}
        require_fits(interface, self._plant(get_args(TaskName)[0]))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(f"{task}/{where}" for task in get_args(TaskName) for where in get_args(Distribution))

    def trial(self, task: str, number: int, ask: Ask) -> bool:
        name, _, where = task.partition("/")
        distribution = next(known for known in get_args(Distribution) if known == where)
        plant = self._plant(name)
        plant.reset(plant.draw_start(distribution, TRIAL_SEED + self._seed + number))
        layout = plant.cell.task
        steps = round(layout.time_limit_s * self._interface.rate_hz)
        done = 0
        while done < steps:
            chunk = ask(self._observation(plant, layout.instruction, round(done / self._interface.rate_hz * 1e9)))
            for row in range(min(len(chunk.values), self._interface.replan_steps, steps - done)):
                self._command(plant, chunk, row)
                plant.advance(1 / chunk.rate_hz)
                done += 1
                if plant.success():
                    return True
        return False

    def close(self) -> None:
        for plant in self._plants.values():
            plant.close()
        self._plants.clear()

    def _plant(self, task: str) -> Plant:
        if task not in self._plants:
            known = next(name for name in get_args(TaskName) if name == task)
            self._plants[task] = Plant(self._config.but(task=known))
        return self._plants[task]

    def _observation(self, plant: Plant, instruction: str, stamp_ns: int) -> Observation:
        images = {name: plant.glance(name) for name in self._config.cameras}
        return Observation(
            stamp_ns=stamp_ns,
            joint_names=plant.names,
            q_rad=plant.reading().q_rad,
            images=dict(images),
            image_stamps_ns=dict.fromkeys(images, stamp_ns),
            gripper_open=plant.gripper(),
            instruction=instruction,
        )

    def _command(self, plant: Plant, chunk: ActionChunk, row: int) -> None:
        columns = [chunk.names.index(name) for name in plant.names]
        opening = float(chunk.values[row, chunk.names.index(GRIPPER)]) if GRIPPER in chunk.names else None
        plant.command(chunk.values[row, columns], opening)


def open_bench(interface: Interface, seed: int) -> Bench:
    return Bench(interface, seed)


def require_fits(interface: Interface, plant: Plant) -> None:
    """Raises `BadInput` for a policy of another arm or another kind of action."""
    if interface.space != "joint_pos_rad":
        raise BadInput(f"the bench takes joint_pos_rad, the policy commands {interface.space}")
    wanted, given = set(plant.names), set(interface.action_names) - {GRIPPER}
    if wanted != given:
        raise BadInput(
            f"the policy commands {', '.join(sorted(given))}; the bench's arm has {', '.join(plant.names)}"
        )
