"""A cell in, a person who takes over with a gamepad, a leader arm or a SpaceMouse out: what they hold, its device."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hardware import spacemouse
from hardware.cell import CellConfig
from hardware.errors import BadInput
from hardware.joy_jog import JoyJog, Pad, Wish
from hardware.page import arms
from hardware.page.jog import Jog
from hardware.ports import JointReading
from hardware.spacemouse_jog import SpaceMouseJog


class Hands(Protocol):
    """What `JoyJog`, `LeaderFollow` and `SpaceMouseJog` have in common."""

    def hear(self, pad: Pad) -> None: ...

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None: ...


class Device(Protocol):
    def close(self) -> None: ...


class Person:
    """Their dead-man alone decides."""

    source = "human"

    def __init__(self, hands: Hands, device: Device | None = None) -> None:
        self._hands, self._device = hands, device
        self.hear, self.wish = hands.hear, hands.wish

    def begin(self) -> None:
        """Nothing: an episode's beginning takes no dead-man's place."""

    def close(self) -> None:
        if self._device is not None:
            self._device.close()


def at_gamepad(cell: CellConfig) -> Person:
    return Person(JoyJog(cell.joy))


def with_leader(cell: CellConfig) -> Person:
    """Raises `DeviceLost`, and `BadInput` for an arm with other joints."""
    from hardware.arms.so101_leader import So101Leader  # LeRobot, which takes seconds
    from hardware.leader_follow import LeaderFollow

    if cell.limits.names != So101Leader.names:
        raise BadInput(f"an SO-101 leader has the joints {', '.join(So101Leader.names)}", "--intervention joy")
    leader = So101Leader(cell.leader)
    return Person(LeaderFollow(cell.leader, cell.joy, leader), leader)


def with_spacemouse(cell: CellConfig) -> Person:
    """Raises `BadInput` where there is none, or nobody knows the arm's kinematics."""
    model = arms.kinematics(cell)
    if model is None:
        raise BadInput(
            f"a SpaceMouse moves the tool, and the arm of '{cell.name}' has no model", "--intervention joy"
        )
    mouse = spacemouse.find(cell.spacemouse)
    joints = cell.limits.joints
    lower, upper = np.array([one.lower_rad for one in joints]), np.array([one.upper_rad for one in joints])
    return Person(SpaceMouseJog(cell.spacemouse, Jog(cell.limits.names, lower, upper, model), mouse), mouse)
