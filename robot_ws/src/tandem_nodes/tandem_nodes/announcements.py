"""`Announcement` ↔ the latched `std_msgs/String` on `episode`: JSON, its moment in ROS time."""

from __future__ import annotations

from std_msgs.msg import String

from hardware.announcement import Announcement
from tandem_nodes import stamps

TOPIC = "episode"


def to_message(announcement: Announcement) -> String:
    system = announcement.but(since_ns=announcement.since_ns + stamps.offset_ns())
    return String(data=system.model_dump_json())


def from_message(message: String) -> Announcement:
    """Raises `ValueError` when it is not an announcement."""
    system = Announcement.model_validate_json(message.data)
    return system.but(since_ns=system.since_ns - stamps.offset_ns())
