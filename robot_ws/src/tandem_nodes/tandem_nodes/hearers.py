"""Waits for who must hear a topic: discovery takes a second on a busy machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher

LONGEST_S = 30.0
"""Who is not there by then has crashed, and the supervisor says so."""


def wait_for(node: Node, publisher: Publisher, names: Sequence[str], closing: threading.Event) -> None:
    """Until the nodes of these names would all get what is published next. Goes on without, with a warning, when one
    does not come: an episode that begins before its recorder listens lacks its first frames.
    """
    until_s = time.monotonic() + LONGEST_S
    while missing := unheard(node, publisher, names):
        if time.monotonic() > until_s:
            node.get_logger().warning(f"nothing heard of {', '.join(missing)}: going on without")
            return
        if closing.wait(0.05):
            return


def unheard(node: Node, publisher: Publisher, names: Sequence[str]) -> list[str]:
    """Those that are not there, or to whom nothing would go out yet."""
    there = {info.node_name for info in node.get_subscriptions_info_by_topic(publisher.topic_name)}
    missing = [name for name in names if name not in there]
    return missing or list(names)[publisher.get_subscription_count() :]
