"""What the simulated cell is made of: task, arm, cameras, and physics that are its own and not the twin's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from hardware.bench.arm_models import ArmName
from hardware.bench.tasks.start import Distribution
from hardware.config import Config

TaskName = Literal["pick_place", "peg_insertion", "wiping"]
CameraName = Literal["cam_front", "cam_wrist"]


class PlantPhysics(Config):
    """What a twin does not know and has to find out, or to be robust against."""

    stiffness: PositiveFloat = 0.85
    """Servo stiffness as a share of the arm model's own."""
    damping: PositiveFloat = 1.15
    """Servo and joint damping as a share of the arm model's own."""
    joint_friction: NonNegativeFloat = 1.3
    """Dry friction of the joints as a share of the arm model's own."""
    object_mass: PositiveFloat = 1.12
    """Mass of what is handled, as a share of what its size suggests."""
    object_friction: PositiveFloat = 0.85
    """Sliding friction of what is handled, as a share of what its material suggests."""
    jaw_friction: PositiveFloat = 1.4
    """Sliding friction of the gripper's pads."""
    command_delay_s: NonNegativeFloat = 0.02
    """From a command's arrival to the servos."""
    timestep_s: PositiveFloat = 0.002


class LiveCamera(Config):
    """One camera of the cell."""

    width_px: PositiveInt = 640
    height_px: PositiveInt = 480
    rate_hz: PositiveFloat = 30.0
    latency_s: NonNegativeFloat = 0.035
    """From the start of the exposure until the picture can be had."""
    noise: NonNegativeFloat = 2.0
    """Deviation of a mid-grey pixel, of 255."""


class PlantConfig(Config):
    """A whole simulated cell. The same config and seed give the same motion and the same pictures."""

    task: TaskName = "pick_place"
    starts: Distribution = "id"
    """The regions that a reset draws from which is not told its start."""
    arm_model: ArmName = "so101"
    seed: int = Field(default=0, ge=0)
    physics: PlantPhysics = PlantPhysics()
    cameras: dict[CameraName, LiveCamera] = {"cam_front": LiveCamera(), "cam_wrist": LiveCamera()}
    light: PositiveFloat = 0.94
    """Brightness of the lamps, as a share of when the cell was filmed."""
    lamp_turn_rad: float = 0.35
    """How far the sun has moved since the cell was filmed: the lamps turn about the vertical."""
