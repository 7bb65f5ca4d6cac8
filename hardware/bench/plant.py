# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The simulated robot cell in one process: joint commands in, readings and pictures out, time as told.

It stands in for the real side: it has its own physics (`PlantPhysics`), command delay, encoder steps, camera latency
and noise. Stamps are the cell's own time, from 0 on, unless the caller maps them (`clock`). One thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.bench import workcell
from hardware.bench.live_camera import Exposure, LiveCameraView
from hardware.bench.plant_config import CameraName, PlantConfig
from hardware.bench.scene import ARM_PREFIX
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.bench.tasks.task import body_pose, on_table
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, JointReading
from hardware.spatial import Pose

SETTLE_S = 0.1
"""After a start, before the first reading: the object comes to rest on the table."""
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True, eq=False)
class PlantState:
    """Everything that decides what the plant does next."""

    now_ns: int
    physics: Float[ndarray, " S"]
    memory: ndarray
    pending: tuple[tuple[int, ndarray], ...]


class Plant:
    """The cell of one config. `reset` may be called at any time; the cell's time goes on."""

    def __init__(self, config: PlantConfig) -> None:
        self.config = config
        self.cell = workcell.build(config)
        self.clock: Callable[[int], int] = lambda ns: ns
        """From the cell's time to the stamps of readings and pictures; the server maps to its monotonic clock."""
        self.now_ns = self._asked_ns = 0
        self._step_ns = round(config.physics.timestep_s * NANOSECONDS_PER_SECOND)
        self._delay_ns = round(config.physics.command_delay_s * NANOSECONDS_PER_SECOND)
        self._data = mujoco.MjData(self.cell.model)
        self._pending: deque[tuple[int, ndarray]] = deque()
        self._exposures: dict[CameraName, deque[Exposure]] = {name: deque(maxlen=8) for name in config.cameras}
        self._views: dict[CameraName, LiveCameraView] = {}
        self._find_joints()
        self.reset()

    @property
    def names(self) -> tuple[str, ...]:
        """The arm's joints, without the gripper."""
        return self.cell.arm.joints

    @property
    def lower_rad(self) -> Float[ndarray, " J"]:
        return self._range_rad[:, 0]

    @property
    def upper_rad(self) -> Float[ndarray, " J"]:
        return self._range_rad[:, 1]

    def advance(self, dt_s: float) -> None:
        """Runs the physics on until the cell's time is `dt_s` later, in whole steps (the rest is not lost)."""
        self.advance_to(self._asked_ns + round(dt_s * NANOSECONDS_PER_SECOND))

    def advance_to(self, now_ns: int) -> None:
        """Runs the physics on until the cell's time is `now_ns` or less than a step short of it."""
        self._asked_ns = max(now_ns, self._asked_ns)
        model, data, task = self.cell.model, self._data, self.cell.task
        while self.now_ns + self._step_ns <= self._asked_ns:
            while self._pending and self._pending[0][0] <= self.now_ns:
                data.ctrl[:] = self._pending.popleft()[1]
            mujoco.mj_step(model, data)
            task.advance(data)
            self.now_ns += self._step_ns
            self._open_shutters()

    def command(self, q_rad: Float[ndarray, " J"], gripper_open: float | None = None) -> Float[ndarray, " J"]:
        """Gives the servos new goals, which they get after the delay; returns the goals as the servos round them.

        Raises `ValueError` on a wrong shape or a number that is not finite; then nothing is sent.
        """
        if q_rad.shape != (len(self.names),) or not np.isfinite(q_rad).all():
            raise ValueError(f"a command has {len(self.names)} finite angles, not {q_rad.tolist()}")
        if gripper_open is not None and not np.isfinite(gripper_open):
            raise ValueError("the gripper's opening must be a finite number")
        goal = self._newest_goal().copy()
        step = self.cell.arm.encoder_step_rad
        sent = np.clip(np.rint(q_rad / step) * step, self.lower_rad, self.upper_rad)
        goal[self._actuators] = sent
        if gripper_open is not None:
            closed, opened = self.cell.arm.gripper_ctrl
            goal[self._gripper_actuator] = closed + min(max(gripper_open, 0.0), 1.0) * (opened - closed)
        self._pending.append((self.now_ns + self._delay_ns, goal))
        return sent

    def command_gripper(self, gripper_open: float) -> float:
        """Asks for an opening and leaves the arm's goals alone; returns it clipped to 0 … 1."""
        self.command(self._newest_goal()[self._actuators], gripper_open)
        return min(max(gripper_open, 0.0), 1.0)

    def hold(self) -> None:
        """The arm's goals become where it is; the gripper keeps its grip."""
        self.command(self._data.qpos[self._q_at])

    def reading(self) -> JointReading:
        step = self.cell.arm.encoder_step_rad
        data = self._data
        return JointReading(
            stamp_ns=self.clock(self.now_ns),
            names=self.names,
            q_rad=np.rint(data.qpos[self._q_at] / step) * step,
            dq_rad_s=data.qvel[self._dq_at].copy(),
            effort_nm=data.actuator_force[self._actuators].copy(),
        )

    def gripper(self) -> float:
        """The opening, 0 closed … 1 open."""
        closed, opened = self.cell.arm.gripper_rad
        return float(np.clip((self._data.qpos[self._gripper_at] - closed) / (opened - closed), 0.0, 1.0))

    def exposure(self, camera: CameraName) -> Exposure | None:
        """The newest one whose picture the camera has finished by now, or None before the first."""
        latency_ns = round(self.config.cameras[camera].latency_s * NANOSECONDS_PER_SECOND)
        done = [one for one in self._exposures[camera] if one.stamp_ns + latency_ns <= self.now_ns]
        return done[-1] if done else None

    def newest_exposure(self, camera: CameraName) -> Exposure | None:
        """The newest one, whether or not its picture can be had already."""
        return self._exposures[camera][-1] if self._exposures[camera] else None

    def still(self) -> Exposure:
        """The cell as it is now, belonging to no camera's series."""
        return self._expose(0)

    def image(self, camera: CameraName) -> CameraImage | None:
        """The newest picture that the camera has finished, drawn now (10 … 20 ms). None before the first."""
        exposure = self.exposure(camera)
        if exposure is None:
            return None
        return CameraImage(self.clock(exposure.stamp_ns), self._draw(camera, exposure))

    def glance(self, camera: CameraName) -> UInt8[ndarray, "H W 3"]:
        """What the camera would see now, without latency; for reports and for comparing with a twin."""
        return self._draw(camera, self.still())

    def reset(self, start: TaskStart | None = None, seed: int | None = None) -> TaskStart:
        """A new episode: the arm at home with an open gripper, the object at `start` (drawn if None)."""
        model, data = self.cell.model, self._data
        mujoco.mj_resetData(model, data)
        self._pending.clear()
        for exposures in self._exposures.values():
            exposures.clear()
        data.qpos[self._q_at] = self.cell.arm.home_rad
        data.ctrl[self._actuators] = self.cell.arm.home_rad
        data.ctrl[self._gripper_actuator] = self.cell.arm.gripper_ctrl[1]
        data.qpos[self._gripper_at] = self.cell.arm.gripper_rad[1]
        start = self.place(start, seed)
        for _ in range(round(SETTLE_S / self.config.physics.timestep_s)):
            mujoco.mj_step(model, data)
        return start

    def place(self, start: TaskStart | None = None, seed: int | None = None) -> TaskStart:
        """A new episode with the arm where it is: as a person would, only the things are put at their start."""
        task = self.cell.task
        drawn = self.config.seed if seed is None else seed
        chosen = self.draw_start(self.config.starts, drawn) if start is None else start
        for number, thing in enumerate(self.cell.things):
            home = chosen if number == 0 else task.layout.goal
            pose = on_table(thing.name, home, thing.size_m[2] / 2 + 0.0005)
            at = self.cell.model.joint(thing.name).qposadr[0]
            self._data.qpos[at : at + 7] = np.concatenate([pose.translation_m, pose.quat_wxyz])
            speed_at = self.cell.model.joint(thing.name).dofadr[0]
            self._data.qvel[speed_at : speed_at + 6] = 0.0
        task.begin()
        mujoco.mj_forward(self.cell.model, self._data)
        return chosen

    def draw_start(self, distribution: Distribution, seed: int) -> TaskStart:
        """A start of the task; the same seed gives the same one."""
        return self.cell.task.layout.draw(distribution, np.random.default_rng([self.config.seed, seed]))

    def success(self) -> bool:
        """By the truth, for evaluation only."""
        return self.cell.task.success(self._data)

    def progress(self) -> float:
        """0 … 1 by the truth, for evaluation only."""
        return self.cell.task.progress(self._data)

    def truth(self) -> dict[str, Pose]:
        """T_base_x of the free bodies and of the task's landmarks, for evaluation and for the scripts only."""
        data, model = self._data, self.cell.model
        bodies = {thing.name: body_pose(data, model.body(thing.name).id, thing.name) for thing in self.cell.things}
        return bodies | self.cell.task.landmarks()

    def state(self) -> PlantState:
        size = mujoco.mj_stateSize(self.cell.model, _STATE)
        physics = np.empty(size)
        mujoco.mj_getState(self.cell.model, self._data, physics, _STATE)
        return PlantState(self.now_ns, physics, self.cell.task.memory(), tuple(self._pending))

    def restore(self, state: PlantState) -> None:
        """Goes on from there exactly as then (pictures of exposures before are gone)."""
        mujoco.mj_setState(self.cell.model, self._data, state.physics, _STATE)
        self.now_ns = self._asked_ns = state.now_ns
        self._pending = deque(state.pending)
        self.cell.task.recall(state.memory)
        for exposures in self._exposures.values():
            exposures.clear()
        mujoco.mj_forward(self.cell.model, self._data)

    def close(self) -> None:
        """Frees the renderers. Safe to call twice."""
        while self._views:
            self._views.popitem()[1].close()

    def _find_joints(self) -> None:
        model, arm = self.cell.model, self.cell.arm
        joints = [model.joint(ARM_PREFIX + name) for name in arm.joints]
        self._q_at = np.array([joint.qposadr[0] for joint in joints])
        self._dq_at = np.array([joint.dofadr[0] for joint in joints])
        self._range_rad = np.array([joint.range for joint in joints])
        self._gripper_at = model.joint(ARM_PREFIX + arm.gripper_joint).qposadr[0]
        self._actuators = np.array([model.actuator(ARM_PREFIX + name).id for name in arm.joints])
        self._gripper_actuator = model.actuator(f"{ARM_PREFIX}gripper").id

    def _newest_goal(self) -> ndarray:
        return self._pending[-1][1] if self._pending else self._data.ctrl

    def _open_shutters(self) -> None:
        for name, settings in self.config.cameras.items():
            number = int(self.now_ns * settings.rate_hz // NANOSECONDS_PER_SECOND)
            exposures = self._exposures[name]
            if not exposures or exposures[-1].number != number:
                exposures.append(self._expose(number))

    def _expose(self, number: int) -> Exposure:
        return Exposure(number, self.now_ns, self._data.qpos.copy(), self.cell.task.decals())

    def _draw(self, camera: CameraName, exposure: Exposure) -> UInt8[ndarray, "H W 3"]:
        if camera not in self._views:
            self._views[camera] = LiveCameraView(self.cell, camera, self.config.cameras[camera], self.config.seed)
        return self._views[camera].rgb(exposure)
