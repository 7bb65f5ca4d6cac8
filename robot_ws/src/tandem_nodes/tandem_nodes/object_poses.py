"""`TaskStart` ↔ `geometry_msgs/PoseStamped` on `object_pose`: where vision finds an object, in the base frame."""

from __future__ import annotations

import math

from geometry_msgs.msg import PoseStamped

from hardware.bench.tasks.start import TaskStart
from tandem_nodes import stamps

TOPIC = "object_pose"
FRAME = "base"


def to_message(stamp_ns: int, start: TaskStart, z_m: float) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamps.to_ros(stamp_ns), FRAME
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = start.x_m, start.y_m, z_m
    turn.w, turn.z = math.cos(start.yaw_rad / 2), math.sin(start.yaw_rad / 2)
    return message


def from_message(message: PoseStamped) -> tuple[int, TaskStart]:
    """(stamp, the object's place and its turn about z)."""
    at, turn = message.pose.position, message.pose.orientation
    yaw_rad = math.atan2(2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y**2 + turn.z**2))
    return stamps.from_ros(message.header.stamp), TaskStart(x_m=at.x, y_m=at.y, yaw_rad=yaw_rad)
