"""Quality of service of each kind of topic: publishers are reliable, subscribers of images take what comes."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Commands and states: an old one is worth nothing."""

STREAM = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
"""What the recorder must not miss: half a second of a 100 Hz topic."""

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""What holds until it changes; who comes late gets it too."""

EVERY_CHANGE = QoSProfile(
    depth=20, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""Subscribers of a latched topic of which no change may be missed; the publisher waits for them."""

IMAGES = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
IMAGES_IN = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
