# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A twin in MuJoCo on the CPU: one `MjData` for each environment, stepped by threads outside Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput, TandemError
from twin.export import mjcf
from twin.sim.layout import Layout, physics_steps
from twin.sim.pixels import SplatPixels, open_pixels
from twin.sim.protocol import CONTROL_HZ, SimState, Start, checked_action, checked_envs, checked_starts
from twin.sim.scene import SimScene
from twin.threads import CHUNKS_PER_THREAD, thread_count

_BLOWN_UP = [int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQVEL)]
_BLOWN_UP += [int(mujoco.mjtWarning.mjWARN_BADQACC)]


class Diverged(TandemError):
    """The physics of an environment blew up."""


class MujocoSim:
    """See `Simulator`. Environments share nothing but the model, so neither N nor threads change a state."""

    engine = "mujoco"

    def __init__(
        self,
        scene: SimScene,
        n_envs: int = 1,
        threads: int | None = None,
        control_hz: float = CONTROL_HZ,
        timestep_s: float = mjcf.STEP_S,
    ) -> None:
        if n_envs < 1:
            raise BadInput(f"{n_envs} environments", "give at least one")
        self._substeps, step_s = physics_steps(control_hz, timestep_s)
        self.scene, self.n_envs, self.control_hz = scene, n_envs, control_hz
        self.model = scene.compile(step_s)
        self.layout = Layout(scene, self.model)
        self.joint_names, self.object_names = scene.hand.joints, scene.object_names
        self.camera_names = tuple(scene.cameras)
        self._datas = [mujoco.MjData(self.model) for _ in range(n_envs)]
        self._threads = max(1, min(thread_count() if threads is None else threads, n_envs))
        self._pool = ThreadPoolExecutor(self._threads, "mujoco") if self._threads > 1 else None
        self._qpos, self._qvel = np.zeros((n_envs, self.model.nq)), np.zeros((n_envs, self.model.nv))
        self.Ts_world_body: Float[ndarray, "N B 4 4"] = np.tile(np.eye(4), (n_envs, self.model.nbody, 1, 1))
        self._touching, self._penetration_m = np.zeros(n_envs, bool), np.zeros(n_envs)
        self._time_s = np.zeros(n_envs)
        self._pixels: SplatPixels | None = None
        self.reset([Start()] * n_envs)

    def reset(self, starts: Sequence[Start], envs: Sequence[int] | None = None) -> SimState:
        chosen = checked_envs(envs, self.n_envs)
        checked_starts(starts, chosen, len(self.joint_names), self.object_names)
        for env, start in zip(chosen, starts, strict=True):
            data = self._datas[env]
            mujoco.mj_resetData(self.model, data)
            data.qpos[:], data.qvel[:] = self.layout.qpos(start), self.layout.qvel(start)
            action = np.append(self.layout.q_rad(start), start.gripper_open)
            data.ctrl[:] = self.layout.ctrl(action[None])[0]
        self._all(self._read, chosen)
        return self.state()

    def step(self, action: Float[ndarray, "N D"]) -> SimState:
        ctrl = self.layout.ctrl(checked_action(action, self.n_envs, len(self.joint_names)))

        def advance(env: int) -> None:
            data = self._datas[env]
            data.ctrl[:] = ctrl[env]
            mujoco.mj_step(self.model, data, self._substeps)
            if data.warning.number[_BLOWN_UP].any():
                raise Diverged(
                    f"environment {env} diverged at {self._time_s[env]:.2f} s", "reset it; check the start"
                )
            self._read(env)

        self._all(advance, list(range(self.n_envs)))
        return self.state()

    def state(self) -> SimState:
        return self.layout.state(
            self._time_s, self._qpos, self._qvel, self.Ts_world_body, self._touching, self._penetration_m
        )

    def render(
        self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None
    ) -> UInt8[ndarray, "M H W 3"]:
        if self._pixels is None:
            self._pixels = open_pixels(self.scene, self.model)
        chosen = checked_envs(envs, self.n_envs)
        return self._pixels.render(camera, width_px, height_px, self.Ts_world_body[chosen])

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._threads = 1

    def _read(self, env: int) -> None:
        """Body poses and contacts that belong to the positions after the step, not before its last part."""
        data = self._datas[env]
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_collision(self.model, data)
        self._time_s[env], self._qpos[env], self._qvel[env] = data.time, data.qpos, data.qvel
        self.Ts_world_body[env, :, :3, :3] = data.xmat.reshape(-1, 3, 3)
        self.Ts_world_body[env, :, :3, 3] = data.xpos
        contact = data.contact
        robot = self.layout.robot_geoms[contact.geom]
        depth_m = -contact.dist[robot[:, 0] != robot[:, 1]]
        self._touching[env] = bool((depth_m >= 0).any())
        self._penetration_m[env] = depth_m.max(initial=0.0)

    def _all(self, work: Callable[[int], None], envs: Sequence[int]) -> None:
        """`work` on every environment; in threads where there are several of both."""
        if self._pool is None or len(envs) < 2:
            for env in envs:
                work(env)
            return
        chunks = min(len(envs), self._threads * CHUNKS_PER_THREAD)

        def some(chunk: int) -> None:
            for env in envs[chunk::chunks]:
                work(env)

        for done in [self._pool.submit(some, chunk) for chunk in range(chunks)]:
            done.result()
