"""`trajectory_msgs/JointTrajectory` ↔ `ActionChunk`: point i is due `(i + 1) / rate` after the header's stamp.

The stamp is that of the observation which the chunk answers.
"""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk
from tandem_nodes import stamps

_UNEVEN_NS = 1_000


def to_message(chunk: ActionChunk) -> JointTrajectory:
    if chunk.space != "joint_pos_rad":
        raise ValueError(f"a JointTrajectory holds joint positions, not '{chunk.space}'")
    message = JointTrajectory(joint_names=list(chunk.names))
    message.header.stamp = stamps.to_ros(chunk.start_ns)
    for step, row in enumerate(chunk.values):
        seconds, nanoseconds = divmod(chunk.due_ns(step) - chunk.start_ns, NANOSECONDS_PER_SECOND)
        due = Duration(sec=seconds, nanosec=nanoseconds)
        message.points.append(JointTrajectoryPoint(positions=array("d", row.tolist()), time_from_start=due))
    return message


def from_message(message: JointTrajectory) -> ActionChunk:
    """Raises `ValueError` when the points are not evenly spaced from the stamp, or are not all there."""
    due_ns = [p.time_from_start.sec * NANOSECONDS_PER_SECOND + p.time_from_start.nanosec for p in message.points]
    if not due_ns or due_ns[-1] <= 0:
        raise ValueError("a chunk needs points with time_from_start above zero")
    rate_hz = len(due_ns) * NANOSECONDS_PER_SECOND / due_ns[-1]
    for step, due in enumerate(due_ns):
        if abs(due - (step + 1) * NANOSECONDS_PER_SECOND / rate_hz) > _UNEVEN_NS:
            raise ValueError(f"point {step} is due after {due} ns, but the points must be evenly spaced")
    if any(len(point.positions) != len(message.joint_names) for point in message.points):
        raise ValueError(f"every point needs {len(message.joint_names)} positions")
    values = np.array([point.positions for point in message.points])
    start_ns = stamps.from_ros(message.header.stamp)
    return ActionChunk(start_ns, rate_hz, "joint_pos_rad", tuple(message.joint_names), values)
