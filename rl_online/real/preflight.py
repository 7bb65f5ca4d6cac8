# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A chunk before it goes to the robot: its path through the twin's collision model in, a refusal or None out.

The arm is moved along the commanded angles, with the object left out; what is looked for is the arm pressed into
something that stands fixed, or into itself, deeper than allowed. It is geometry, not physics, and takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.bench import workcell
from hardware.bench.scene import ARM_PREFIX
from hardware.bench.tasks.task import arm_geoms
from rl_online.worlds.open_world import WorldChoice, plant_config
from twin.sim.open import open_simulator
from twin.sim.protocol import Start

DEEPEST_M = 0.006
"""Demonstrations press their targets into the table a little; see `tests/rl_online/real/test_beside.py`."""
STEP_RAD = 0.06
"""Between two postures that are looked at."""


@dataclass(frozen=True)
class Collision:
    """The deepest one of a path."""

    step: int
    """Row of the chunk."""
    depth_m: float
    what: tuple[str, str]

    def __str__(self) -> str:
        return f"step {self.step}: {self.what[0]} {1e3 * self.depth_m:.1f} mm into {self.what[1]}"


class Preflight:
    """`qpos_of` turns joint angles and the gripper's opening into the model's positions, movable things far away."""

    def __init__(
        self,
        model: mujoco.MjModel,
        qpos_of: Callable[[Float[ndarray, " J"], float], Float[ndarray, " Q"]],
        robot: Bool[ndarray, " G"],
        label: str,
        deepest_m: float = DEEPEST_M,
    ) -> None:
        self._model, self._qpos_of, self._robot, self.label = model, qpos_of, robot, label
        self._deepest_m = deepest_m
        self._data = mujoco.MjData(model)
        self._movable = np.array([model.body_dofnum[body] == 6 for body in model.geom_bodyid]) & ~robot

    def collision(self, q_rad: Float[ndarray, " J"], chunk: Float[ndarray, "T D"]) -> Collision | None:
        """From where the arm is along the rows (joints, then the gripper). None: nothing too deep."""
        worst: Collision | None = None
        before = np.append(q_rad, chunk[0, -1])
        for number, row in enumerate(chunk):
            parts = max(1, int(np.ceil(np.abs(row[:-1] - before[:-1]).max() / STEP_RAD)))
            for part in range(1, parts + 1):
                at = before + (row - before) * part / parts
                depth_m, what = self._deepest(at)
                if depth_m > max(self._deepest_m, 0.0 if worst is None else worst.depth_m):
                    worst = Collision(number, depth_m, what)
            before = row
        return worst

    def _deepest(self, at: Float[ndarray, " D"]) -> tuple[float, tuple[str, str]]:
        model, data = self._model, self._data
        data.qpos[:] = self._qpos_of(at[:-1], float(at[-1]))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        pairs = data.contact.geom
        if len(pairs) == 0:
            return 0.0, ("", "")
        counts = self._robot[pairs].any(axis=1) & ~self._movable[pairs].any(axis=1)
        depth_m = np.where(counts, -data.contact.dist, 0.0)
        number = int(depth_m.argmax())
        ordered = sorted(pairs[number].tolist(), key=lambda geom: not self._robot[geom])
        names = [model.body(model.geom_bodyid[geom]).name or "the surroundings" for geom in ordered]
        return float(depth_m[number]), (names[0], names[1])


def open_preflight(choice: WorldChoice) -> Preflight:
    """Of a twin; without a bundle, of the bench's own model, which then stands in for one."""
    return _of_bench(choice) if choice.bundle is None else _of_twin(choice)


def _of_bench(choice: WorldChoice) -> Preflight:
    cell = workcell.build(plant_config(choice))
    model, arm = cell.model, cell.arm
    at = [model.joint(ARM_PREFIX + name).qposadr[0] for name in arm.joints]
    gripper = model.joint(ARM_PREFIX + arm.gripper_joint).qposadr[0]
    resting = np.array(model.qpos0)

    def qpos_of(q_rad: ndarray, gripper_open: float) -> ndarray:
        qpos = resting.copy()
        qpos[at] = q_rad
        closed, opened = arm.gripper_rad
        qpos[gripper] = closed + float(np.clip(gripper_open, 0, 1)) * (opened - closed)
        return qpos

    return Preflight(model, qpos_of, arm_geoms(model, ARM_PREFIX), "the bench's model, in place of a twin")


def _of_twin(choice: WorldChoice) -> Preflight:
    from twin.sim.mujoco import MujocoSim

    assert choice.bundle is not None
    simulator = open_simulator(choice.bundle, "mujoco", 1, 1, choice.rate_hz)
    assert isinstance(simulator, MujocoSim)
    layout = simulator.layout

    def qpos_of(q_rad: ndarray, gripper_open: float) -> ndarray:
        return layout.qpos(Start(q_rad=q_rad, gripper_open=float(np.clip(gripper_open, 0, 1))))

    return Preflight(simulator.model, qpos_of, layout.robot_geoms, f"twin {choice.bundle}")
