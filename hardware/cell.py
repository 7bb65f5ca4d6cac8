"""The cell file: arm, cameras, limits and who decides. A name or a path in, a `CellConfig` out.

A person writes `hardware/cells/<name>.yaml`; every process of the cell reads the same resolved copy of it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from hardware import config
from hardware.bench.tasks.start import Distribution
from hardware.cell_devices import (
    ArmConfig,
    BenchArm,
    BenchCamera,
    BenchTask,
    CameraConfig,
    PolicyConfig,
    Ros2ControlArm,
    ScriptedPolicy,
)
from hardware.config import Config
from hardware.errors import BadInput
from hardware.joy_jog import JoyConfig
from hardware.limits import LimitsConfig
from hardware.teleop_config import LeaderConfig, SpaceMouseConfig

CELLS = Path(__file__).parent / "cells"
GRIPPER = "gripper"
"""The name of the last column of an action and of the last joint in `joint_states`."""


class BenchPlant(Config):
    """The simulated robot side of a bench cell."""

    task: BenchTask = "pick_place"
    starts: Distribution = "id"
    """Where its episodes begin: in the region of demonstrations, or outside."""
    seed: int = 0
    speed: PositiveFloat = 1.0
    """Simulated seconds per second. `CellConfig.sped_up` scales what belongs with it."""
    socket: Path | None = None
    """Where the plant's process listens; `tandem up` puts it into its run folder."""


class RecordConfig(Config):
    rate_hz: PositiveFloat = 20.0
    """Of the frames: each takes the joints, the action and the pictures that were newest at its stamp."""


class CellConfig(Config):
    """One robot cell. Frames: the arm's base, z up; metres, radians, seconds."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    """Also the ROS namespace of its nodes."""
    arm: ArmConfig
    cameras: dict[str, CameraConfig] = Field(default_factory=dict)
    limits: LimitsConfig
    rate_hz: PositiveFloat = 100.0
    """Of the executor and of the arm's command loop."""
    watchdog_s: PositiveFloat = 0.1
    """Without a fresh command for this long the arm comes to a safe hold."""
    gripper_speed_hz: PositiveFloat = 4.0
    """Full openings per second, where there is a gripper."""
    task: str
    """What the person wants, in words: the instruction that the policy reads and the dataset keeps."""
    episode_s: PositiveFloat = 30.0
    """An episode that takes longer is stopped and has failed."""
    home_rad: tuple[float, ...] | None = None
    """Where an episode begins; None: wherever the arm is."""
    policy: PolicyConfig = ScriptedPolicy()
    recording: RecordConfig = RecordConfig()
    joy: JoyConfig = JoyConfig()
    leader: LeaderConfig = LeaderConfig()
    spacemouse: SpaceMouseConfig = SpaceMouseConfig()
    bench: BenchPlant | None = None
    max_restarts: PositiveInt = 5
    """Of one process per minute, before the whole cell is stopped."""

    @model_validator(mode="after")
    def _fits_together(self) -> CellConfig:
        devices = [self.arm, *self.cameras.values()]
        on_bench = [device for device in devices if isinstance(device, BenchArm | BenchCamera)]
        if on_bench and len(on_bench) != len(devices):
            raise ValueError("devices of the bench and real ones cannot share a cell")
        if bool(on_bench) != (self.bench is not None):
            raise ValueError("'bench' is there exactly when the devices are of kind 'bench'")
        if isinstance(self.policy, ScriptedPolicy) and self.bench is None:
            raise ValueError("policy 'scripted' reads the truth, which only the bench has; use kind 'server'")
        if isinstance(self.arm, Ros2ControlArm) and self.arm.joints != self.limits.names:
            raise ValueError(f"arm.joints {self.arm.joints} and the limits' joints {self.limits.names} differ")
        if self.home_rad is not None and len(self.home_rad) != len(self.limits.names):
            raise ValueError(f"home_rad has {len(self.home_rad)} numbers for {len(self.limits.names)} joints")
        if GRIPPER in self.limits.names:
            raise ValueError(f"'{GRIPPER}' is the gripper's name, not a joint's")
        return self

    @property
    def has_gripper(self) -> bool:
        return not isinstance(self.arm, Ros2ControlArm) or self.arm.gripper is not None

    @property
    def plant_name(self) -> str:
        """What a link to the bench's plant needs: the path of its socket, or the name that it has by default."""
        socket = None if self.bench is None else self.bench.socket
        return self.name if socket is None else str(socket)

    @property
    def action_names(self) -> tuple[str, ...]:
        """The columns of an action: the arm's joints, then the gripper where there is one."""
        return self.limits.names + ((GRIPPER,) if self.has_gripper else ())

    def sped_up(self, factor: float) -> CellConfig:
        """The same bench cell on a clock that runs `factor` times as fast, so that episodes take less time.

        Limits and the policy's steps are scaled with the clock; the command loop and the cameras, which cost
        computing time, are not, so each of their steps covers more.
        """
        if self.bench is None:
            raise BadInput("only the bench can run faster than the clock", "leave --speed at 1")
        joints = [
            joint.but(
                velocity_rad_s=joint.velocity_rad_s * factor,
                acceleration_rad_s2=joint.acceleration_rad_s2 * factor**2,
                jerk_rad_s3=joint.jerk_rad_s3 * factor**3,
            )
            for joint in self.limits.joints
        ]
        return self.but(
            bench=self.bench.but(speed=self.bench.speed * factor),
            limits=self.limits.but(joints=joints),
            policy=self.policy.but(rate_hz=self.policy.rate_hz * factor),
            gripper_speed_hz=self.gripper_speed_hz * factor,
            episode_s=self.episode_s / factor,
        )


def load(name_or_path: str | Path) -> CellConfig:
    """A cell that ships (`bench`) or one's own file (`./mine.yaml`). Raises `BadInput` with the choices."""
    return config.read(CellConfig, file_of(name_or_path))


def file_of(name_or_path: str | Path) -> Path:
    file = Path(name_or_path)
    if file.suffix:
        return file
    file = CELLS / f"{name_or_path}.yaml"
    if not file.is_file():
        raise BadInput(
            f"no cell '{name_or_path}'; have: {', '.join(shipped())}", "a path that ends in .yaml is read as a file"
        )
    return file


def shipped() -> list[str]:
    return sorted(file.stem for file in CELLS.glob("*.yaml"))
