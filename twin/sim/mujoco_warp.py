# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# MuJoCo's compiled module has no stubs; mujoco-warp is optional.
"""A twin in MuJoCo Warp: all environments in one batch on a CUDA device, or slowly on the CPU.

It solves the same model as MuJoCo in single precision. On CUDA one control step is recorded once as a graph and played
back. That path was not run here for want of a GPU; the CPU's was.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import mujoco_warp
import numpy as np
import warp
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput
from twin.export import mjcf
from twin.sim.layout import Layout, physics_steps
from twin.sim.pixels import SplatPixels, open_pixels
from twin.sim.protocol import CONTROL_HZ, SimState, Start, checked_action, checked_envs, checked_starts
from twin.sim.scene import SimScene

CONTACTS_PER_ENV, CONSTRAINTS_PER_ENV = 96, 512
"""Memory for each environment: an arm among a dozen things on a table needs a third of it."""


class MujocoWarpSim:
    """See `Simulator`."""

    engine = "mujoco_warp"

    def __init__(
        self,
        scene: SimScene,
        n_envs: int = 1,
        control_hz: float = CONTROL_HZ,
        timestep_s: float = mjcf.STEP_S,
        device: str | None = None,
    ) -> None:
        """`device`: cuda:0 … or cpu; without, CUDA where there is one."""
        if n_envs < 1:
            raise BadInput(f"{n_envs} environments", "give at least one")
        warp.config.quiet = True
        self.device = warp.get_device(device) if device is not None else warp.get_preferred_device()
        self._substeps, step_s = physics_steps(control_hz, timestep_s)
        self.scene, self.n_envs, self.control_hz = scene, n_envs, control_hz
        self.model = scene.compile(step_s)
        self.layout = Layout(scene, self.model)
        self.joint_names, self.object_names = scene.hand.joints, scene.object_names
        self.camera_names = tuple(scene.cameras)
        with warp.ScopedDevice(self.device):
            self._model = mujoco_warp.put_model(self.model)
            # boxes by MuJoCo's own routine, not by Warp's general one for convex shapes
            self._model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_NATIVECCD)
            self._data = mujoco_warp.put_data(
                self.model, self._resting(), n_envs, nconmax=CONTACTS_PER_ENV, njmax=CONSTRAINTS_PER_ENV
            )
        self._graph = None
        self._time_s = np.zeros(n_envs)
        self._pixels: SplatPixels | None = None
        self.reset([Start()] * n_envs)

    def reset(self, starts: Sequence[Start], envs: Sequence[int] | None = None) -> SimState:
        chosen = checked_envs(envs, self.n_envs)
        checked_starts(starts, chosen, len(self.joint_names), self.object_names)
        data = self._data
        arrays = {name: getattr(data, name).numpy() for name in ("qpos", "qvel", "ctrl", "qacc_warmstart")}
        for env, start in zip(chosen, starts, strict=True):
            arrays["qpos"][env] = self.layout.qpos(start)
            arrays["ctrl"][env] = self.layout.ctrl(np.append(self.layout.q_rad(start), start.gripper_open)[None])[0]
            arrays["qvel"][env], arrays["qacc_warmstart"][env] = self.layout.qvel(start), 0.0
            self._time_s[env] = 0.0
        for name, values in arrays.items():
            getattr(data, name).assign(values)
        self._look()
        return self.state()

    def step(self, action: Float[ndarray, "N D"]) -> SimState:
        ctrl = self.layout.ctrl(checked_action(action, self.n_envs, len(self.joint_names)))
        self._data.ctrl.assign(ctrl.astype(np.float32))
        if self.device.is_cuda:
            self._play()
        else:
            self._advance()
        self._time_s += 1 / self.control_hz
        self._look()
        return self.state()

    def state(self) -> SimState:
        qpos, qvel = (getattr(self._data, name).numpy().astype(np.float64) for name in ("qpos", "qvel"))
        touching, penetration_m = self._touch()
        return self.layout.state(self._time_s, qpos, qvel, self._Ts_world_body(), touching, penetration_m)

    def render(
        self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None
    ) -> UInt8[ndarray, "M H W 3"]:
        if self._pixels is None:
            self._pixels = open_pixels(self.scene, self.model)
        chosen = checked_envs(envs, self.n_envs)
        return self._pixels.render(camera, width_px, height_px, self._Ts_world_body()[chosen])

    def close(self) -> None:
        self._graph = None

    def _resting(self) -> mujoco.MjData:
        data = mujoco.MjData(self.model)
        data.qpos[:] = self.layout.qpos(Start())
        mujoco.mj_forward(self.model, data)
        return data

    def _advance(self) -> None:
        with warp.ScopedDevice(self.device):
            for _ in range(self._substeps):
                mujoco_warp.step(self._model, self._data)

    def _play(self) -> None:
        """The first step compiles the kernels, which a recording must not contain; the second is recorded."""
        if self._graph is None:
            self._advance()
            with warp.ScopedDevice(self.device), warp.ScopedCapture() as capture:
                self._advance()
            self._graph = capture.graph
        else:
            warp.capture_launch(self._graph)

    def _look(self) -> None:
        """Body poses and contacts of where everything is now."""
        with warp.ScopedDevice(self.device):
            mujoco_warp.kinematics(self._model, self._data)
            mujoco_warp.collision(self._model, self._data)

    def _Ts_world_body(self) -> Float[ndarray, "N B 4 4"]:
        Ts = np.tile(np.eye(4), (self.n_envs, self.model.nbody, 1, 1))
        Ts[..., :3, :3] = self._data.xmat.numpy().reshape(self.n_envs, -1, 3, 3)
        Ts[..., :3, 3] = self._data.xpos.numpy().reshape(self.n_envs, -1, 3)
        return Ts

    def _touch(self) -> tuple[ndarray, ndarray]:
        touching, penetration_m = np.zeros(self.n_envs, bool), np.zeros(self.n_envs)
        contact, count = self._data.contact, int(self._data.nacon.numpy()[0])
        robot = self.layout.robot_geoms[contact.geom.numpy()[:count]]
        depth_m, envs = -contact.dist.numpy()[:count], contact.worldid.numpy()[:count]
        ours = (robot[:, 0] != robot[:, 1]) & (depth_m >= 0)
        touching[envs[ours]] = True
        np.maximum.at(penetration_m, envs[ours], depth_m[ours])
        return touching, penetration_m
