"""Chunks of actions in; observations, step rewards and outcomes out, of N environments on any `World`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from rl_online.learning.presets import Rewards
from rl_online.worlds.world import World, pose_columns, pose_values
from vla.policy import GRIPPER, Interface, ObservationBatch

log = logging.getLogger(__name__)

LOST_M = 0.75
"""An object further than this from the arm's foot, or this far below the table, cannot be fetched: the episode ends."""
FALLEN_M = -0.1


@dataclass(frozen=True, eq=False)
class ChunkOutcome:
    """What came of one chunk in each of M environments."""

    rewards: Float[ndarray, "M T"]
    """Per environment step; 0 on steps that were not executed."""
    terminated: Bool[ndarray, "M T"]
    """True on the step that ended the task, by success or for good."""
    executed: Int[ndarray, " M"]
    success: Bool[ndarray, " M"]
    over: Bool[ndarray, " M"]
    """The episode has ended: terminated, or out of time."""
    timed_out: Bool[ndarray, " M"]


class ChunkEnv:
    """Observations are as an `Interface` wants them. Environments that are not named in a call stand still."""

    def __init__(
        self, world: World, interface: Interface, rewards: Rewards, gamma: float, execute_steps: int | None = None
    ) -> None:
        """`execute_steps`: at most so many of a chunk are done; None: as cells do, the interface's `replan_steps`."""
        self.world, self.interface, self.rewards, self.gamma = world, interface, rewards, gamma
        self.execute_steps = interface.replan_steps if execute_steps is None else execute_steps
        self.limit_steps = round(world.sheet.time_limit_s * world.rate_hz)
        self._require_fit()
        self._steps = np.zeros(world.n_envs, np.int64)

    @property
    def n_envs(self) -> int:
        return self.world.n_envs

    def reset(self, starts: Sequence[TaskStart], envs: Sequence[int] | None = None) -> None:
        chosen = list(range(self.n_envs)) if envs is None else list(envs)
        self.world.reset(starts, chosen)
        self._steps[chosen] = 0

    def observe(self, envs: Sequence[int] | None = None) -> ObservationBatch:
        chosen = list(range(self.n_envs)) if envs is None else list(envs)
        images = {
            camera: np.stack([self.world.picture(camera, env) for env in chosen])
            for camera in self.interface.cameras
        }
        instruction = (self.world.sheet.instruction,) * len(chosen) if self.interface.language else ()
        return ObservationBatch(self.states()[chosen], images, instruction)

    def states(self) -> Float[ndarray, "N S"]:
        """All columns that the interface names, in its order."""
        return self.all_states()[:, [self.columns.index(name) for name in self.interface.state_names]]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that can be asked for as state."""
        return (*self.world.joint_names, GRIPPER, *pose_columns(self.world.sheet.object_name))

    def all_states(self) -> Float[ndarray, "N S"]:
        now = self.world.moment()
        parts = [now.q_rad, now.gripper_open[:, None], pose_values(now.Ts_base_object)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def run(self, actions: Float[ndarray, "M T D"], envs: Sequence[int] | None = None) -> ChunkOutcome:
        """Does `execute_steps` of each chunk, fewer where its episode ends: joint targets in rad, gripper's opening."""
        chosen = np.arange(self.n_envs) if envs is None else np.asarray(envs, np.int64)
        rows, horizon = len(chosen), actions.shape[1]
        if rows != len(actions) or not np.isfinite(actions).all():
            raise BadInput(f"{len(actions)} chunks for {rows} environments, all of finite numbers, are wanted")
        rewards, terminated = np.zeros((rows, horizon)), np.zeros((rows, horizon), bool)
        executed, success = np.zeros(rows, np.int64), np.zeros(rows, bool)
        running = np.ones(rows, bool)
        before = self.world.moment().progress[chosen]
        for step in range(min(horizon, self.execute_steps)):
            going = np.flatnonzero(running)
            if len(going) == 0:
                break
            self.world.step(actions[going, step], chosen[going].tolist())
            self._steps[chosen[going]] += 1
            now = self.world.moment()
            won, lost = now.success[chosen], gone(now.Ts_base_object[chosen]) & ~now.success[chosen]
            earned = self._rewards(won, lost, before, now.progress[chosen])
            rewards[going, step] = earned[going]
            terminated[going, step] = (won | lost)[going]
            success[going] = won[going]
            executed[going] += 1
            running &= ~(won | lost) & (self._steps[chosen] < self.limit_steps)
            before = now.progress[chosen]
        timed_out = (self._steps[chosen] >= self.limit_steps) & ~terminated.any(axis=1)
        return ChunkOutcome(rewards, terminated, executed, success, ~running, timed_out)

    def close(self) -> None:
        self.world.close()

    def _rewards(
        self, won: Bool[ndarray, " M"], lost: Bool[ndarray, " M"], before: ndarray, after: ndarray
    ) -> Float[ndarray, " M"]:
        """The outcome's, and the potential-based process reward γΦ(s′) − Φ(s), with Φ = 0 after the end."""
        outcome = np.where(won, self.rewards.success, np.where(lost, self.rewards.failure, self.rewards.step))
        follows = np.where(won | lost, 0.0, after)
        return outcome + self.rewards.progress * (self.gamma * follows - before)

    def _require_fit(self) -> None:
        interface, world = self.interface, self.world
        unknown = [name for name in interface.state_names if name not in self.columns]
        if unknown:
            raise BadInput(f"the policy reads '{unknown[0]}'; {world.label} has: {', '.join(self.columns)}")
        names = (*world.joint_names, GRIPPER)
        if interface.action_names != names or interface.space != "joint_pos_rad":
            raise BadInput(
                f"the policy commands {interface.space} of {', '.join(interface.action_names)}; {world.label} takes "
                f"joint_pos_rad of {', '.join(names)}"
            )
        missing = [camera for camera in interface.cameras if camera not in world.camera_names]
        if missing:
            raise BadInput(f"no camera '{missing[0]}' in {world.label}; have: {', '.join(world.camera_names)}")
        if interface.rate_hz != world.rate_hz:
            raise BadInput(f"the policy acts at {interface.rate_hz:g} Hz, {world.label} at {world.rate_hz:g} Hz")


def gone(Ts_base_object: Float[ndarray, "M 4 4"]) -> Bool[ndarray, " M"]:
    """Out of reach for good."""
    at = Ts_base_object[:, :3, 3]
    return (np.linalg.norm(at[:, :2], axis=1) > LOST_M) | (at[:, 2] < FALLEN_M)
