"""What a person holds down → where the joints are to go: each heartbeat moves the target on, by joint or by tool.

The target starts where the arm was last sent, so taking over makes no jump, and never runs ahead of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import Field, PositiveFloat

from hardware.config import Config
from hardware.joy_jog import Wish
from hardware.messages import NANOSECONDS_PER_SECOND

Mode = Literal["joint", "tool"]
TOOL_AXES = ("x", "y", "z", "roll", "pitch", "yaw")
"""Along the base's axes (x forward, y left, z up), and about the tool's own roll axis and the base's y and z."""
END_RAD = 0.03
"""So near to an end of its range a joint counts as being there."""
FIRST_STEP_S = 0.025
"""The first heartbeat after a rest has no predecessor: it moves for as long as they are usually apart."""


class JogConfig(Config):
    """Speeds at full deflection and the speed slider at 1."""

    joint_rad_s: PositiveFloat = 0.8
    tool_m_s: PositiveFloat = 0.12
    tool_rad_s: PositiveFloat = 0.9
    gripper_hz: PositiveFloat = 1.0
    ease_s: PositiveFloat = 0.12
    """From rest to full speed. An arm that has to catch up with a target that leapt off is faster than asked."""
    longest_step_s: PositiveFloat = 0.1
    """After a longer pause between two heartbeats the target does not leap."""
    leash_rad: PositiveFloat = 0.2
    """How far the target may be ahead of what the limits let through."""
    turn_weight_m_rad: float = Field(default=0.06, gt=0)
    """What keeping the tool's direction is worth against its path, for an arm that cannot have both."""
    damping_m: float = Field(default=0.01, gt=0)
    """Near a singular posture, joints stay slow instead of following exactly."""


@runtime_checkable
class ToolKinematics(Protocol):
    """What tool mode needs of `hardware.kinematics.Kinematics`."""

    def jacobian(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, "6 J"]: ...


class Jog:
    """Of one arm; one thread. `begin` at each first heartbeat with a held key, then `move` at every one."""

    def __init__(
        self,
        names: tuple[str, ...],
        lower_rad: Float[ndarray, " J"],
        upper_rad: Float[ndarray, " J"],
        kinematics: ToolKinematics | None = None,
        config: JogConfig | None = None,
    ) -> None:
        self.config = config or JogConfig()
        self.names = names
        self.at_end: tuple[str, ...] = ()
        """Joints that are wanted beyond their range."""
        self._lower_rad, self._upper_rad = lower_rad, upper_rad
        self._kinematics = kinematics
        self._target: Wish | None = None
        self._moved_ns: int | None = None
        self._speeds_rad_s = np.zeros(len(names))

    @property
    def modes(self) -> tuple[Mode, ...]:
        return ("tool", "joint") if self._kinematics is not None else ("joint",)

    @property
    def target(self) -> Wish | None:
        return self._target

    def begin(self, q_rad: Float[ndarray, " J"], gripper_open: float | None) -> None:
        """From where the arm was last sent."""
        self._target, self._moved_ns = Wish(q_rad.copy(), gripper_open), None
        self._speeds_rad_s = np.zeros(len(self.names))

    def forget(self) -> None:
        self._target, self._moved_ns, self.at_end = None, None, ()

    def move(
        self,
        now_ns: int,
        mode: Mode,
        axes: Mapping[str, float],
        gripper: float,
        speed: float,
        sent_rad: Float[ndarray, " J"],
    ) -> Wish:
        """The target at `now_ns`. `axes` are deflections −1 … 1; `gripper` opens above zero; `speed` 0 … 1."""
        if self._target is None:
            raise ValueError("begin comes before move")
        passed_s = FIRST_STEP_S if self._moved_ns is None else (now_ns - self._moved_ns) / NANOSECONDS_PER_SECOND
        dt_s = min(max(passed_s, 0.0), self.config.longest_step_s)
        self._moved_ns = now_ns
        speeds = self._eased(self._asked(mode, axes) * min(max(speed, 0.0), 1.0), dt_s)
        opening = self._target.gripper_open
        if opening is not None:
            opening = min(max(opening + _deflection(gripper) * self.config.gripper_hz * dt_s, 0.0), 1.0)
        asked_rad = self._target.q_rad + speeds * dt_s
        q_rad = self._within(asked_rad, sent_rad)
        self._target = Wish(q_rad, opening, np.where(q_rad == asked_rad, speeds, 0.0))
        return self._target

    def _eased(self, asked_rad_s: Float[ndarray, " J"], dt_s: float) -> Float[ndarray, " J"]:
        """All joints change their speeds in proportion, so that the tool changes its direction straight."""
        change = asked_rad_s - self._speeds_rad_s
        most = self.config.joint_rad_s * dt_s / self.config.ease_s
        self._speeds_rad_s = self._speeds_rad_s + change * min(1.0, most / max(np.abs(change).max(), 1e-9))
        return self._speeds_rad_s

    def _asked(self, mode: Mode, axes: Mapping[str, float]) -> Float[ndarray, " J"]:
        if mode == "joint" or self._kinematics is None:
            return self.config.joint_rad_s * np.array([_deflection(axes.get(name, 0.0)) for name in self.names])
        assert self._target is not None
        way = np.array([_deflection(axes.get(name, 0.0)) for name in TOOL_AXES])
        return self._tool_speeds(self._kinematics.jacobian(self._target.q_rad), way)

    def _tool_speeds(self, jacobian: Float[ndarray, "6 J"], way: Float[ndarray, 6]) -> Float[ndarray, " J"]:
        """Damped least squares. The roll axis is the last joint's; all joints slow down together at their speed.

        A joint that stands at an end of its range is left out where it would have to go beyond: the others go on along
        the tool's path as well as they can.
        """
        roll_axis = jacobian[3:, -1] / max(float(np.linalg.norm(jacobian[3:, -1])), 1e-9)
        turn = way[3] * roll_axis + np.array([0.0, way[4], way[5]])
        twist = np.concatenate([way[:3] * self.config.tool_m_s, turn * self.config.tool_rad_s])
        weight = np.array([1.0] * 3 + [self.config.turn_weight_m_rad] * 3)
        weighted = weight[:, None] * jacobian
        free = np.ones(jacobian.shape[1], bool)
        speeds = np.zeros(len(free))
        for _ in free:
            columns = weighted[:, free]
            square = columns.T @ columns + self.config.damping_m**2 * np.eye(columns.shape[1])
            speeds = np.zeros(len(free))
            speeds[free] = np.linalg.solve(square, columns.T @ (weight * twist))
            beyond = self._is_beyond(speeds)
            if not beyond.any():
                break
            free &= ~beyond
        return speeds / max(1.0, float(np.abs(speeds).max(initial=0.0)) / self.config.joint_rad_s)

    def _is_beyond(self, speeds: Float[ndarray, " J"]) -> Bool[ndarray, " J"]:
        """Which joints stand at an end of their range and would go on."""
        assert self._target is not None
        q_rad = self._target.q_rad
        up, down = speeds > 0, speeds < 0
        return (up & (q_rad > self._upper_rad - END_RAD)) | (down & (q_rad < self._lower_rad + END_RAD))

    def _within(self, q_rad: Float[ndarray, " J"], sent_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        leash = self.config.leash_rad
        inside = np.clip(q_rad, self._lower_rad, self._upper_rad)
        self.at_end = tuple(name for name, out in zip(self.names, inside != q_rad, strict=True) if out)
        return np.clip(inside, sent_rad - leash, sent_rad + leash)


def _deflection(value: float) -> float:
    """Anything that is no number is no deflection."""
    return min(max(value, -1.0), 1.0) if np.isfinite(value) else 0.0
