"""A gamepad with a dead-man button → where a person wants the joints. Sticks turn joints while the button is held.

Releasing the button, or silence of the gamepad, gives control back: nothing else does, and nothing else takes over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, NonNegativeInt, PositiveFloat

from hardware.config import Config
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import JointReading

LONGEST_STEP_S = 0.1
"""After a longer pause between two questions the target does not leap."""


class JoyConfig(Config):
    """Numbers of axes and buttons as the `joy` driver counts them; these are an Xbox pad's."""

    dead_man_button: NonNegativeInt = 4
    """The left shoulder."""
    open_button: NonNegativeInt = 1
    close_button: NonNegativeInt = 0
    joint_axes: tuple[NonNegativeInt, ...] = (0, 1, 4, 7, 3, 6)
    """The axis of each joint of the arm, in order; joints beyond stay still."""
    speed_rad_s: PositiveFloat = 0.8
    """At full deflection."""
    gripper_speed_hz: PositiveFloat = 1.0
    dead_zone: float = Field(default=0.08, ge=0, lt=1)
    silent_s: PositiveFloat = 0.25
    """A gamepad that has said nothing for so long has released its button."""


@dataclass(frozen=True, eq=False)
class Wish:
    """What the one who intervenes wants now."""

    q_rad: Float[ndarray, " J"]
    gripper_open: float | None
    dq_rad_s: Float[ndarray, " J"] | None = None
    """How fast `q_rad` moves; None: not known."""


@dataclass(frozen=True)
class Pad:
    """The newest state of the gamepad."""

    stamp_ns: int
    axes: tuple[float, ...]
    buttons: tuple[int, ...]


class JoyJog:
    """One thread. The target starts where the arm is when the button is pressed, and moves with the sticks."""

    source = "human"

    def __init__(self, config: JoyConfig) -> None:
        self._config = config
        self._pad: Pad | None = None
        self._target: Wish | None = None
        self._last_ns = 0

    def hear(self, pad: Pad) -> None:
        self._pad = pad

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None:
        """None: nobody intervenes. Ask at a steady rate."""
        pad = self._pad
        if pad is None or not self._is_held(pad, now_ns):
            self._target = None
            return None
        if self._target is None:
            self._target, self._last_ns = Wish(reading.q_rad.copy(), gripper_open), now_ns
        dt_s = min((now_ns - self._last_ns) / NANOSECONDS_PER_SECOND, LONGEST_STEP_S)
        self._last_ns = now_ns
        speeds = self._speeds(pad, len(reading.names))
        q_rad = self._target.q_rad + speeds * dt_s
        opening = self._target.gripper_open
        if opening is not None:
            way = _pressed(pad, self._config.open_button) - _pressed(pad, self._config.close_button)
            opening = min(max(opening + way * self._config.gripper_speed_hz * dt_s, 0.0), 1.0)
        self._target = Wish(q_rad, opening, speeds)
        return self._target

    def _is_held(self, pad: Pad, now_ns: int) -> bool:
        age_s = (now_ns - pad.stamp_ns) / NANOSECONDS_PER_SECOND
        return age_s < self._config.silent_s and bool(_pressed(pad, self._config.dead_man_button))

    def _speeds(self, pad: Pad, joints: int) -> Float[ndarray, " J"]:
        speeds = np.zeros(joints)
        for joint, axis in enumerate(self._config.joint_axes[:joints]):
            tilt = pad.axes[axis] if axis < len(pad.axes) else 0.0
            if np.isfinite(tilt) and abs(tilt) > self._config.dead_zone:
                speeds[joint] = np.clip(tilt, -1.0, 1.0) * self._config.speed_rad_s
        return speeds


def _pressed(pad: Pad, button: int) -> int:
    return int(button < len(pad.buttons) and pad.buttons[button] == 1)
