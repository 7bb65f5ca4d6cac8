"""A SpaceMouse in a person's hand → where the joints are to go, while its left button is held."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from hardware.joy_jog import Pad, Wish
from hardware.page.jog import TOOL_AXES, Jog
from hardware.ports import DeviceLost, JointReading
from hardware.spacemouse import LEFT, RIGHT, Deflected
from hardware.teleop_config import SpaceMouseConfig


@runtime_checkable
class Mouse(Protocol):
    def newest(self) -> Deflected:
        """Raises `DeviceLost`."""
        ...


class SpaceMouseJog:
    """One thread."""

    source = "human"

    def __init__(self, config: SpaceMouseConfig, jog: Jog, mouse: Mouse) -> None:
        self._config, self._jog, self._mouse = config, jog, mouse
        self._is_held = False
        self._opens = True
        self._was_right = False

    def hear(self, pad: Pad) -> None:
        """The mouse has its own buttons."""

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None:
        """None: the left button is released, or the mouse is gone."""
        try:
            held = self._mouse.newest()
        except DeviceLost:
            held = Deflected()
        if not held.buttons & LEFT:
            self._is_held = False
            self._jog.forget()
            return None
        if not self._is_held:
            self._is_held = True
            self._jog.begin(reading.q_rad, gripper_open)
            self._opens, self._was_right = (gripper_open or 0.0) > 0.5, bool(held.buttons & RIGHT)
        if held.buttons & RIGHT and not self._was_right:
            self._opens = not self._opens
        self._was_right = bool(held.buttons & RIGHT)
        axes = {name: self._beyond_dead_zone(getattr(held, name)) for name in TOOL_AXES}
        gripper = 1.0 if self._opens else -1.0
        return self._jog.move(now_ns, "tool", axes, gripper, self._config.speed, reading.q_rad)

    def _beyond_dead_zone(self, value: float) -> float:
        zone = self._config.dead_zone
        return 0.0 if abs(value) <= zone else (value - zone * (1 if value > 0 else -1)) / (1 - zone)
