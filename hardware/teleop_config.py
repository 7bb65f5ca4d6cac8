"""Devices that a person moves an arm with, as the cell file has them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat

from hardware.config import Config


class LeaderConfig(Config):
    """An SO-101 leader. It drives an SO-101 only: joint by joint."""

    port: str = "/dev/ttyACM1"
    id: str = "leader"
    """LeRobot's name of this arm: it finds the arm's own calibration file by it."""
    calibration_folder: Path | None = None
    """None: LeRobot's own place, where `lerobot-calibrate` puts it."""
    silent_s: PositiveFloat = 0.1
    """A dead-man (gamepad, pedal or page) that has said nothing for so long is released."""


class SpaceMouseConfig(Config):
    """A 3Dconnexion SpaceMouse. The left button is the dead-man; the right one opens and closes the gripper."""

    speed: float = Field(default=0.6, gt=0, le=1)
    """Of the tool, as a share of the jog's fastest."""
    dead_zone: float = Field(default=0.06, ge=0, lt=1)
    path: str | None = None
    """Of the HID device; None: the first SpaceMouse that is found."""
