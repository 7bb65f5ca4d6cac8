# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""What a task on the bench is: things to handle, where they may start, and when it is done (by the truth)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import mujoco
import numpy as np
from numpy import ndarray
from numpy.random import Generator

from hardware.bench.arm_models import ArmName
from hardware.bench.props import Prop
from hardware.bench.scene import TABLE_Z_M
from hardware.bench.tasks.start import Distribution, StartRegion, TaskStart
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec


@dataclass(frozen=True)
class Layout:
    """A task laid out for one arm: the starts, and where the goal stands."""

    starts: Mapping[Distribution, tuple[StartRegion, ...]]
    goal: TaskStart

    def draw(self, distribution: Distribution, rng: Generator) -> TaskStart:
        """A start, uniform over the area of the distribution's regions."""
        regions = self.starts[distribution]
        areas = np.array([region.area_m2 for region in regions])
        return regions[int(rng.choice(len(regions), p=areas / areas.sum()))].draw(rng)


@dataclass(frozen=True)
class Decal:
    """A flat coloured rectangle that lies on something: the dirt that is left, say."""

    centre_m: tuple[float, float, float]
    half_m: tuple[float, float]
    yaw_rad: float
    rgba: tuple[float, float, float, float]


@runtime_checkable
class Task(Protocol):
    """One task for one arm in one model. `bind` first; `advance` after every physics step."""

    name: str
    instruction: str
    object_name: str
    """The free body that `TaskStart` places."""
    time_limit_s: float
    layout: Layout

    def props(self, rng: Generator) -> tuple[Prop, ...]:
        """The free bodies; the first is `object_name`."""
        ...

    def add_fixtures(self, world: mujoco.MjSpec) -> None:
        """Bodies that are fixed to the table."""
        ...

    def bind(self, model: mujoco.MjModel) -> None:
        """Remembers where its bodies are in the compiled model."""
        ...

    def begin(self) -> None:
        """Forgets what happened: a new episode."""
        ...

    def advance(self, data: mujoco.MjData) -> None:
        """Takes note of what the last physics step changed."""
        ...

    def success(self, data: mujoco.MjData) -> bool:
        """By the truth, for evaluation only."""
        ...

    def progress(self, data: mujoco.MjData) -> float:
        """0 … 1, by the truth, for evaluation only."""
        ...

    def landmarks(self) -> dict[str, Pose]:
        """T_base_x of what the truth holds beside the free bodies: the goal, and whatever the scripts aim at."""
        ...

    def decals(self) -> Sequence[Decal]:
        """What is drawn on top of the model now."""
        ...

    def memory(self) -> ndarray:
        """All that `advance` changes, to be stored with the plant's state."""
        ...

    def recall(self, memory: ndarray) -> None:
        """Goes back to a stored `memory`."""
        ...


class Stateless:
    """The part of `Task` for a task that is judged by the present alone."""

    def begin(self) -> None:
        return

    def advance(self, data: mujoco.MjData) -> None:
        return

    def decals(self) -> Sequence[Decal]:
        return ()

    def memory(self) -> ndarray:
        return np.zeros(0)

    def recall(self, memory: ndarray) -> None:
        return


def on_table(name: str, start: TaskStart, height_m: float) -> Pose:
    """T_base_name of a body whose centre is `height_m` above the table."""
    turn = rotation_from_rotvec(np.array([0.0, 0.0, start.yaw_rad]))
    return Pose.from_parts("base", name, turn, (start.x_m, start.y_m, TABLE_Z_M + height_m))


def layout_for(arm: ArmName, layouts: Mapping[ArmName, Layout], task: str) -> Layout:
    """Raises `BadInput` when the task is not laid out for that arm."""
    if arm not in layouts:
        raise BadInput(f"the task '{task}' is not laid out for '{arm}'; it is for: {', '.join(layouts)}")
    return layouts[arm]


def body_pose(data: mujoco.MjData, body: int, name: str) -> Pose:
    """T_base_name. The arm's base frame is MuJoCo's world frame."""
    return Pose.from_parts("base", name, data.xmat[body].reshape(3, 3), data.xpos[body])


def touches(data: mujoco.MjData, geoms: ndarray, others: ndarray) -> bool:
    """Whether a geom of the first mask has a contact with one of the second."""
    pairs = data.contact.geom
    if len(pairs) == 0:
        return False
    return bool(((geoms[pairs[:, 0]] & others[pairs[:, 1]]) | (geoms[pairs[:, 1]] & others[pairs[:, 0]])).any())


def geoms_of(model: mujoco.MjModel, body: int) -> ndarray:
    """Which geoms belong to a body."""
    return model.geom_bodyid == body


def arm_geoms(model: mujoco.MjModel, prefix: str) -> ndarray:
    """Which geoms belong to the arm."""
    on_arm = np.array([model.body(number).name.startswith(prefix) for number in range(model.nbody)])
    return on_arm[model.geom_bodyid]


def solid_box(
    body: mujoco.MjsBody,
    half_m: tuple[float, float, float],
    at_m: tuple[float, float, float],
    rgba: tuple[float, float, float, float],
    group: int,
    yaw_rad: float = 0.0,
) -> mujoco.MjsGeom:
    """A box that is drawn and touches."""
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=half_m, pos=at_m, rgba=rgba, group=group)
    geom.quat = (math.cos(yaw_rad / 2), 0.0, 0.0, math.sin(yaw_rad / 2))
    geom.condim = 4
    return geom
