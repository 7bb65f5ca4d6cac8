"""`sensor_msgs/JointState` ↔ readings and commands. The gripper's opening is the last joint, `gripper`.

Commands carry in `header.frame_id` who chose them (`CommandSource`): joint angles have no frame.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy import ndarray
from sensor_msgs.msg import JointState

from hardware.arm_loop import Cycle, JointCommand
from hardware.cell import GRIPPER
from hardware.ports import JointReading
from tandem_nodes import stamps


def command(message: JointState) -> JointCommand:
    """Keeps what is wrong about it (a missing value, a NaN): the limits are there to refuse it."""
    names, q_rad, dq_rad_s, gripper_open = _split(message)
    stamp_ns, source = stamps.from_ros(message.header.stamp), message.header.frame_id
    return JointCommand(stamp_ns, names, q_rad, dq_rad_s if dq_rad_s.size else None, gripper_open, source)


def from_command(command: JointCommand) -> JointState:
    message = _message(command.stamp_ns, command.names, command.q_rad, command.dq_rad_s, command.gripper_open)
    message.header.frame_id = command.source
    return message


def measured(cycle: Cycle) -> JointState:
    reading = cycle.reading
    return _message(reading.stamp_ns, reading.names, reading.q_rad, reading.dq_rad_s, cycle.gripper_open)


def sent(cycle: Cycle) -> JointState | None:
    """What the driver really sent in this cycle, where it sent anything."""
    if cycle.sent_rad is None:
        return None
    message = _message(cycle.stamp_ns, cycle.reading.names, cycle.sent_rad, None, cycle.sent_gripper)
    message.header.frame_id = cycle.source
    return message


def reading(message: JointState) -> tuple[JointReading, float | None]:
    """(arm, gripper's opening). Raises `ValueError` when the arrays do not fit the names or are not finite."""
    names, q_rad, dq_rad_s, gripper_open = _split(message)
    stamp_ns = stamps.from_ros(message.header.stamp)
    return JointReading(stamp_ns, names, q_rad, dq_rad_s if dq_rad_s.size else None), gripper_open


def _split(message: JointState) -> tuple[tuple[str, ...], ndarray, ndarray, float | None]:
    names = tuple(message.name)
    q_rad, dq_rad_s = np.array(message.position), np.array(message.velocity)
    if not names or names[-1] != GRIPPER:
        return names, q_rad, dq_rad_s, None
    arm = len(names) - 1
    gripper_open = float(q_rad[arm]) if q_rad.size == len(names) else float("nan")
    return names[:arm], q_rad[:arm], dq_rad_s[:arm], gripper_open


def _message(
    stamp_ns: int, names: tuple[str, ...], q_rad: ndarray, dq_rad_s: ndarray | None, gripper_open: float | None
) -> JointState:
    message = JointState()
    message.header.stamp = stamps.to_ros(stamp_ns)
    gripper = [] if gripper_open is None else [gripper_open]
    message.name = [*names, GRIPPER] if gripper else list(names)
    message.position = array("d", q_rad.tolist() + gripper)
    if dq_rad_s is not None:
        message.velocity = array("d", dq_rad_s.tolist() + [0.0] * len(gripper))
    return message
