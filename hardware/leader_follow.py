"""A leader arm that a person bends → where the follower's joints are to go, while a dead-man is held.

It works like a clutch: the follower takes over the leader's motion, not its posture, so that nothing leaps when the
dead-man is pressed, however differently the two arms stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

from hardware.arms.so101_leader import Bent
from hardware.joy_jog import JoyConfig, Pad, Wish
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import DeviceLost, JointReading
from hardware.teleop_config import LeaderConfig


@runtime_checkable
class LeaderArm(Protocol):
    def newest(self) -> Bent:
        """Raises `DeviceLost`."""
        ...


@dataclass(frozen=True, eq=False)
class Engaged:
    """How both stood when the dead-man was pressed."""

    leader: Bent
    q_rad: Float[ndarray, " J"]
    gripper_open: float | None


class LeaderFollow:
    """One thread."""

    source = "human"

    def __init__(self, config: LeaderConfig, joy: JoyConfig, leader: LeaderArm) -> None:
        self._config, self._joy, self._leader = config, joy, leader
        self._pad: Pad | None = None
        self._engaged: Engaged | None = None

    def hear(self, pad: Pad) -> None:
        """Of a gamepad, a pedal or the page: only its dead-man button counts."""
        self._pad = pad

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None:
        """None: the dead-man is released, or the leader is lost; it must then be pressed anew."""
        if not self._is_held(now_ns):
            self._engaged = None
            return None
        try:
            leader = self._leader.newest()
        except DeviceLost:
            self._engaged, self._pad = None, None
            return None
        if self._engaged is None:
            self._engaged = Engaged(leader, reading.q_rad.copy(), gripper_open)
        engaged = self._engaged
        opening = engaged.gripper_open
        if opening is not None:
            opening = min(max(opening + leader.gripper_open - engaged.leader.gripper_open, 0.0), 1.0)
        return Wish(engaged.q_rad + leader.q_rad - engaged.leader.q_rad, opening)

    def _is_held(self, now_ns: int) -> bool:
        pad, button = self._pad, self._joy.dead_man_button
        if pad is None or (now_ns - pad.stamp_ns) / NANOSECONDS_PER_SECOND > self._config.silent_s:
            return False
        return button < len(pad.buttons) and pad.buttons[button] == 1
