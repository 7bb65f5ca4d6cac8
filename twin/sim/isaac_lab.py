# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A twin in Isaac Lab 3.0 without Kit, Newton underneath: a bundle in, `Simulator` over a process of its own out.

Isaac Lab's pins fight ours, so it lives in an environment of its own (benchmarks/envs/isaac_lab, or wherever
TANDEM_ISAAC_LAB points) and is spoken to through pipes: `isaac_lab_worker` has the wire. It loads the bundle's
OpenUSD scene, cloned N times, on `cpu` or (TANDEM_ISAAC_DEVICE) `cuda:0`. On a CPU it ran here (0.3 s a control step
of one environment, after a minute of compiling): with two clones each arm's tool is where MuJoCo has it, to 0.1 mm.
On CUDA it did not. OvPhysX, Isaac Lab's other engine, is NVIDIA's: whoever has read its licence may change the worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput, TandemError
from hardware.spatial import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from twin.export import mjcf, usd
from twin.export.usd_robot import servo_of
from twin.sim import isaac_lab_worker as wire
from twin.sim.layout import Layout, physics_steps
from twin.sim.pixels import SplatPixels
from twin.sim.protocol import CONTROL_HZ, SimState, Start, checked_action, checked_envs, checked_starts
from twin.sim.scene import SimScene

log = logging.getLogger(__name__)

ENVIRONMENT, DEVICE = "TANDEM_ISAAC_LAB", "TANDEM_ISAAC_DEVICE"
DEFAULT_ENVIRONMENT = Path(__file__).parents[2] / "benchmarks" / "envs" / "isaac_lab" / ".venv"
CLOSE_S = 20.0


class IsaacLabFailed(TandemError):
    """Isaac Lab's process ended, or says that it could not do what it was told."""


class IsaacLabSim:
    """See `Simulator`. `touching` and `penetration_m` come from MuJoCo's geometry at Isaac Lab's poses."""

    engine = "isaac_lab"
    maker = "Isaac Lab"
    """Whose process it is, in words to a person."""

    def __init__(
        self,
        scene: SimScene,
        n_envs: int = 1,
        control_hz: float = CONTROL_HZ,
        timestep_s: float = mjcf.STEP_S,
        command: Sequence[str] | None = None,
    ) -> None:
        """`command`: starts the worker; without, the environment's own. Raises `BadInput` where there is none."""
        if n_envs < 1:
            raise BadInput(f"{n_envs} environments", "give at least one")
        if scene.hand.arm is None:
            raise BadInput(f"{self.maker} needs a twin with a robot", "use the engine mujoco")
        started = self._command() if command is None else command
        self._substeps, self._step_s = physics_steps(control_hz, timestep_s)
        self.scene, self.n_envs, self.control_hz = scene, n_envs, control_hz
        self.model = scene.compile(self._step_s)
        self.layout = Layout(scene, self.model)
        self.joint_names, self.object_names = scene.hand.joints, scene.object_names
        self.camera_names = tuple(scene.cameras)
        self._driven = driven(self.model)
        self._data = mujoco.MjData(self.model)
        self._pixels: SplatPixels | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-isaac-")
        stage = self._write_stage(Path(self._folder.name))
        self._worker = subprocess.Popen([*started], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._answer = self._ask(self._opening(stage), {})
            self.reset([Start()] * n_envs)
        except BaseException:
            self.close()
            raise

    def reset(self, starts: Sequence[Start], envs: Sequence[int] | None = None) -> SimState:
        chosen = checked_envs(envs, self.n_envs)
        checked_starts(starts, chosen, len(self.joint_names), self.object_names)
        qpos = np.stack([self.layout.qpos(start) for start in starts]) if starts else np.zeros((0, self.model.nq))
        things = np.stack([qpos[:, at : at + 7] for at in self.layout.object_q_at], axis=1)
        joints = qpos[:, [self.model.jnt_qposadr[joint] for joint, _ in self._driven]]
        qvel = np.stack([self.layout.qvel(start) for start in starts]) if starts else np.zeros((0, self.model.nv))
        speeds = np.stack([qvel[:, at : at + 3] for at in self.layout.object_dq_at], axis=1)
        told = {"q": joints, "objects": things, "speeds": speeds}
        self._answer = self._ask({"op": "reset", "envs": chosen}, told)
        return self.state()

    def step(self, action: Float[ndarray, "N D"]) -> SimState:
        ctrl = self.layout.ctrl(checked_action(action, self.n_envs, len(self.joint_names)))
        self._answer = self._ask({"op": "step"}, {"goals": ctrl[:, [servo for _, servo in self._driven]]})
        return self.state()

    def state(self) -> SimState:
        qpos, qvel = self._positions()
        bodies = np.tile(np.eye(4), (self.n_envs, self.model.nbody, 1, 1))
        touching, deepest_m = np.zeros(self.n_envs, bool), np.zeros(self.n_envs)
        for env in range(self.n_envs):
            self._data.qpos[:] = qpos[env]
            mujoco.mj_kinematics(self.model, self._data)
            mujoco.mj_collision(self.model, self._data)
            bodies[env, :, :3, :3] = self._data.xmat.reshape(-1, 3, 3)
            bodies[env, :, :3, 3] = self._data.xpos
            robot = self.layout.robot_geoms[self._data.contact.geom]
            depth_m = -self._data.contact.dist[robot[:, 0] != robot[:, 1]]
            touching[env], deepest_m[env] = bool((depth_m >= 0).any()), depth_m.max(initial=0.0)
        return self.layout.state(self._answer["time_s"], qpos, qvel, bodies, touching, deepest_m)

    def render(
        self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None
    ) -> UInt8[ndarray, "M H W 3"]:
        """By our rasteriser, from Isaac Lab's poses."""
        if self._pixels is None:
            self._pixels = SplatPixels(self.scene, self.model)
        qpos, _ = self._positions()
        bodies = []
        for env in checked_envs(envs, self.n_envs):
            self._data.qpos[:] = qpos[env]
            mujoco.mj_kinematics(self.model, self._data)
            T = np.tile(np.eye(4), (self.model.nbody, 1, 1))
            T[:, :3, :3], T[:, :3, 3] = self._data.xmat.reshape(-1, 3, 3), self._data.xpos
            bodies.append(T)
        return self._pixels.render(camera, width_px, height_px, np.stack(bodies))

    def close(self) -> None:
        if self._worker.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._worker.stdin.close()
        try:
            self._worker.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        if self._worker.stdout is not None:
            self._worker.stdout.close()
        self._folder.cleanup()

    def _command(self) -> list[str]:
        return worker_command()

    def _write_stage(self, folder: Path) -> Path:
        """What the process opens."""
        usd.write(self.scene.bundle, folder / "scene.usda")
        return folder / "scene.usda"

    def _positions(self) -> tuple[Float[ndarray, "N Q"], Float[ndarray, "N V"]]:
        """What Isaac Lab said, as MuJoCo's qpos and qvel (speeds of things are not asked for)."""
        qpos = np.tile(self.layout.qpos(Start()), (self.n_envs, 1))
        qvel = np.zeros((self.n_envs, self.model.nv))
        for column, (joint, _) in enumerate(self._driven):
            qpos[:, self.model.jnt_qposadr[joint]] = self._answer["q"][:, column]
            qvel[:, self.model.jnt_dofadr[joint]] = self._answer["dq"][:, column]
        for number, at in enumerate(self.layout.object_q_at):
            rotation = rotation_from_quat_wxyz(self._answer["objects"][:, number, 3:])
            qpos[:, at : at + 3] = self._answer["objects"][:, number, :3]
            qpos[:, at + 3 : at + 7] = quat_wxyz_from_rotation(rotation)
        return qpos, qvel

    def _opening(self, stage: Path) -> wire.Message:
        return {
            "op": "open",
            "usd": str(stage),
            "n_envs": self.n_envs,
            "device": os.environ.get(DEVICE, "cpu"),
            "step_s": self._step_s,
            "substeps": self._substeps,
            "objects": list(self.object_names),
            "tool_body": mjcf.ARM_PREFIX + self.scene.hand.tool_body,
            "servos": servo_settings(self.model, self._driven),
        }

    def _ask(self, head: wire.Message, arrays: dict[str, ndarray]) -> dict[str, ndarray]:
        """Raises `IsaacLabFailed` with what the other side says."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        try:
            wire.write_message(self._worker.stdin, head, arrays)
            answer = wire.read_message(self._worker.stdout)
        except (OSError, ValueError) as error:
            raise IsaacLabFailed(f"{self.maker}'s process broke off: {error}", "see its words above") from error
        if answer is None:
            raise IsaacLabFailed(f"{self.maker}'s process ended at '{head['op']}'", "see its words above")
        said, found = answer
        if not said["ok"]:
            raise IsaacLabFailed(f"{self.maker}, at '{head['op']}': {said['error']}")
        return found


def open_scene(scene: SimScene, n_envs: int, control_hz: float) -> IsaacLabSim:
    """As `open_simulator` opens engines that live in environments of their own."""
    return IsaacLabSim(scene, n_envs, control_hz)


def driven(model: mujoco.MjModel) -> list[tuple[int, int]]:
    """(joint, servo) of every arm joint that a servo drives, gripper included, in the servos' order."""
    joints = mujoco.mjtTrn.mjTRN_JOINT
    return [(int(model.actuator_trnid[n, 0]), n) for n in range(model.nu) if model.actuator_trntype[n] == joints]


def servo_settings(model: mujoco.MjModel, servos: Sequence[tuple[int, int]]) -> dict[str, dict[str, float]]:
    """USD joint (named by the body that it carries) → what Isaac Lab's implicit actuators take.

    `passive` is the part of `damping` that is the joint's own: the servo's limit of force does not cap it.
    """
    found = {}
    for joint, _ in servos:
        stiffness, damping, most_nm = servo_of(model, joint)
        dof = int(model.jnt_dofadr[joint])
        found[f"joint_{model.body(int(model.jnt_bodyid[joint])).name}"] = {
            "stiffness": stiffness,
            "damping": damping,
            "passive": float(model.dof_damping[dof]),
            "armature": float(model.dof_armature[dof]),
            "friction": float(model.dof_frictionloss[dof]),
            "effort": most_nm or 1e6,
        }
    return found


def worker_command() -> list[str]:
    """Raises `BadInput` where the environment is not there."""
    folder = Path(os.environ.get(ENVIRONMENT, DEFAULT_ENVIRONMENT))
    python = folder / "bin" / "python"
    if not python.exists():
        raise BadInput(
            f"the engine 'isaac_lab' needs an environment of its own; there is none in {folder}",
            f"make it as benchmarks/envs/isaac_lab/README.md says, or set {ENVIRONMENT} to one",
        )
    return [str(python), "-P", str(Path(wire.__file__))]
