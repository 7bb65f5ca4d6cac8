"""A simulated twin as an environment of `tandem vla eval --env twin`: any policy that a cell could run is tried there.

Tasks are `<task>/id` and `<task>/ood`, as far as the task has such starts. A policy sees what a cell would show it:
joints, gripper, pictures and words, and no object's pose (`tandem rl mine` tries one that is told poses).
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk, Observation
from rl_online.demos import draw
from rl_online.starts.regions import PartName
from rl_online.worlds.open_world import WorldChoice, open_twin
from rl_online.worlds.tasks import TaskChoice, arm_of, task_in_twin
from rl_online.worlds.world import World
from vla.environments.environment import Ask
from vla.policy import GRIPPER, Interface

TRIAL_SEED = 1_000_000
"""Starts of trials are drawn from here on; demonstrations use small seeds."""


class TwinTrials:
    """One twin, one task. Success is measured from poses, as `rl_online.worlds.outcome` says."""

    def __init__(self, world: World, name: str, interface: Interface, seed: int) -> None:
        """Raises `BadInput` for a policy of another arm or kind of action, or that reads what no cell tells."""
        require_fits(interface, world)
        self.world, self._name, self._interface, self._seed = world, name, interface, seed

    @property
    def tasks(self) -> tuple[str, ...]:
        parts = {part for part, _ in self.world.sheet.parts}
        return tuple(f"{self._name}/{part}" for part in get_args(PartName) if part in parts)

    def trial(self, task: str, number: int, ask: Ask) -> bool:
        part = next(known for known in get_args(PartName) if task == f"{self._name}/{known}")
        world, sheet, rate_hz = self.world, self.world.sheet, self.world.rate_hz
        start = draw(sheet.parts, part, np.random.default_rng([TRIAL_SEED, self._seed, number]))
        world.reset([start], [0])
        done, steps = 0, round(sheet.time_limit_s * rate_hz)
        while done < steps:
            chunk = ask(self._observation(round(done / rate_hz * NANOSECONDS_PER_SECOND)))
            for action in self._actions(chunk)[: min(self._interface.replan_steps, steps - done)]:
                world.step(action[None], [0])
                done += 1
                if world.moment().success[0]:
                    return True
        return False

    def close(self) -> None:
        self.world.close()

    def _observation(self, stamp_ns: int) -> Observation:
        now = self.world.moment()
        images = {camera: self.world.picture(camera, 0) for camera in self._interface.cameras}
        return Observation(
            stamp_ns=stamp_ns,
            joint_names=self.world.joint_names,
            q_rad=now.q_rad[0].astype(float),
            images=images,
            image_stamps_ns=dict.fromkeys(images, stamp_ns),
            gripper_open=float(now.gripper_open[0]),
            instruction=self.world.sheet.instruction,
        )

    def _actions(self, chunk: ActionChunk) -> np.ndarray:
        """(T, J + 1): joint targets, then the gripper's opening."""
        return chunk.values[:, [chunk.names.index(name) for name in (*self.world.joint_names, GRIPPER)]]


def require_fits(interface: Interface, world: World) -> None:
    """Raises `BadInput` that says what the twin has."""
    wanted, have = set(interface.action_names), {*world.joint_names, GRIPPER}
    if interface.space != "joint_pos_rad" or wanted != have:
        raise BadInput(
            f"the policy commands {interface.space} of {', '.join(sorted(wanted))}; {world.label} takes "
            f"joint_pos_rad of {', '.join(sorted(have))}"
        )
    told = [name for name in interface.state_names if name not in have]
    if told:
        raise BadInput(f"the policy reads '{told[0]}', which no cell tells", "tandem rl mine tries it in a twin")
    missing = [camera for camera in interface.cameras if camera not in world.camera_names]
    if missing:
        have_cameras = ", ".join(world.camera_names) or "none"
        raise BadInput(
            f"no camera '{missing[0]}' in {world.label}; have: {have_cameras}",
            "tandem twin cameras places the cell's",
        )


def open_trials(interface: Interface, seed: int, bundle: Path, task: TaskChoice) -> TwinTrials:
    """At the policy's rate. Raises `BadInput` for a twin without that task's object, and what does not fit."""
    arm = arm_of(interface.action_names)
    choice = WorldChoice(bundle=bundle, task=task, arm=arm, rate_hz=interface.rate_hz)
    name = task.stem if isinstance(task, Path) else task
    return TwinTrials(open_twin(choice, bundle, task_in_twin(task, arm)), name, interface, seed)
