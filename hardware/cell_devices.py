"""What each kind of arm and camera needs to be opened; no vendor's SDK is imported here.

One class per `kind`; `hardware.devices` maps the kind to the driver's module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from hardware.camera_model import CameraModel
from hardware.config import Config

BenchTask = Literal["pick_place", "peg_insertion", "wiping"]


class BenchArm(Config):
    """The simulated arm of the bench; it answers as a real one does, with delay and noise."""

    kind: Literal["bench"] = "bench"
    model: Literal["so101", "panda"] = "so101"


class So101Arm(Config):
    """An SO-101 follower on its USB serial bus, through LeRobot."""

    kind: Literal["so101"] = "so101"
    port: str = "/dev/ttyACM0"
    id: str = "follower"
    """LeRobot's name of this arm: it finds the arm's own calibration file by it."""
    calibration_folder: Path | None = None
    """None: LeRobot's own place, where `lerobot-calibrate` puts it."""
    read_rate_hz: PositiveFloat = 100.0
    hottest_c: PositiveFloat = 65.0
    """A servo that is hotter stops the arm. The servo itself switches off at 70 °C."""
    gripper_torque_limit: float = Field(default=0.5, gt=0, le=1)
    """Share of the servo's full torque that the jaw may press with."""


class TrajectoryController(Config):
    """A `joint_trajectory_controller`: each command is a trajectory of one point, `reach_s` ahead."""

    kind: Literal["trajectory"] = "trajectory"
    name: str = "joint_trajectory_controller"
    reach_s: PositiveFloat = 0.02
    by_action: bool = False
    """Through `follow_joint_trajectory`, which needs `control_msgs`; by topic otherwise."""


class ForwardController(Config):
    """A `forward_command_controller` or `position_controllers`: each command is an array of positions."""

    kind: Literal["forward"] = "forward"
    name: str = "forward_position_controller"


class Ros2ControlGripper(Config):
    """A gripper of one joint behind a forward position controller."""

    controller: str = "gripper_position_controller"
    joint: str
    closed_position: float
    """The joint's position with the jaws closed, in its own unit (rad or m)."""
    open_position: float

    @model_validator(mode="after")
    def _opens(self) -> Ros2ControlGripper:
        if self.closed_position == self.open_position:
            raise ValueError("closed_position and open_position must differ")
        return self


class Ros2ControlArm(Config):
    """Any arm whose driver is a ros2_control hardware interface: its controllers are driven, its states read."""

    kind: Literal["ros2_control"] = "ros2_control"
    joints: tuple[str, ...] = Field(min_length=1)
    """In the order of the cell's limits."""
    controller: Annotated[TrajectoryController | ForwardController, Field(discriminator="kind")] = (
        TrajectoryController()
    )
    state_topic: str = "/joint_states"
    stale_state_s: PositiveFloat = 0.2
    """Joint states that are older mean that the controller manager is gone."""
    gripper: Ros2ControlGripper | None = None


ArmConfig = Annotated[BenchArm | So101Arm | Ros2ControlArm, Field(discriminator="kind")]


class BenchCamera(Config):
    """A camera of the bench, drawn by MuJoCo's own renderer, with noise and latency."""

    kind: Literal["bench"] = "bench"
    width_px: PositiveInt = 320
    height_px: PositiveInt = 240
    rate_hz: PositiveFloat = 10.0
    intrinsics: CameraModel | None = None
    """None: the plant's own, which are exact."""


class OpenCvCamera(Config):
    """A V4L2 camera by number or path, or a video file that stands in for one."""

    kind: Literal["opencv"] = "opencv"
    source: int | str = 0
    width_px: PositiveInt = 640
    height_px: PositiveInt = 480
    rate_hz: PositiveFloat = 30.0
    fourcc: str | None = Field(default="MJPG", pattern="^.{4}$")
    """Uncompressed pictures of two cameras do not fit on one USB 2 bus."""
    exposure_100us: PositiveInt | None = None
    """V4L2's `exposure_time_absolute`; None leaves automatic exposure on."""
    latency_s: float = Field(default=0.0, ge=0)
    """Measured from exposure to delivery; taken off the stamp."""
    loop: bool = False
    """A video file begins anew at its end; otherwise the camera is lost there."""
    intrinsics: CameraModel | None = None


class RealsenseCamera(Config):
    """A RealSense by its serial number; colour only. Needs the extra `realsense`."""

    kind: Literal["realsense"] = "realsense"
    serial: str
    width_px: PositiveInt = 640
    height_px: PositiveInt = 480
    rate_hz: PositiveFloat = 30.0
    intrinsics: CameraModel | None = None
    """None: the device's own."""


CameraConfig = Annotated[BenchCamera | OpenCvCamera | RealsenseCamera, Field(discriminator="kind")]


class ScriptedPolicy(Config):
    """The bench's demonstrator: it reads the truth, so it is labelled `scripted` and never counts as a policy."""

    kind: Literal["scripted"] = "scripted"
    rate_hz: PositiveFloat = 20.0
    horizon: PositiveInt = 20
    """Steps per chunk."""
    replan_steps: PositiveInt = 8
    """Steps executed before the next chunk is asked for."""
    aim_error: NonNegativeFloat = 0.0
    """As a share of a person's: 1 aims wrong at first and corrects, and now and then misses and tries again. What is
    recorded for a policy to learn from should have such corrections in it."""


class ServerPolicy(Config):
    """A policy behind the websocket server (`tandem vla serve`, or openpi's own)."""

    kind: Literal["server"] = "server"
    host: str = "127.0.0.1"
    port: int = Field(default=8765, gt=0, lt=65536)
    token_file: Path | None = None
    """Holds the token that a server beyond loopback asks for."""
    rate_hz: PositiveFloat = 20.0
    horizon: PositiveInt = 16
    replan_steps: PositiveInt = 8
    """Half a chunk, as rollouts have it (`Interface.replan_steps`)."""
    timeout_s: PositiveFloat = 2.0


class NoPolicy(Config):
    """A person alone drives: demonstrations by hand."""

    kind: Literal["none"] = "none"
    rate_hz: PositiveFloat = 20.0
    horizon: PositiveInt = 1
    replan_steps: PositiveInt = 1


PolicyConfig = Annotated[ScriptedPolicy | ServerPolicy | NoPolicy, Field(discriminator="kind")]
