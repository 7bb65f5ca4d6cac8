"""Looks for the object while a person puts it in place; `object_pose` out. Another node may publish that instead."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String

from hardware import config
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from hardware.ports import CameraImage
from tandem_nodes import announcements, images, object_poses, parameters, process, qos

PAUSE_S = 0.4
"""Between two looks: a look takes a quarter of a second of one core."""


class ResetGuideNode(Node):
    """Looks in a thread of its own, at the newest picture, and not at all while an episode runs."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("reset_guide")
        self._end = end
        guide = config.read(Guide, Path(parameters.text(self, "guide", "The file of which starts come next.")))
        finder = guide.finder()
        if finder is None:
            raise BadInput("the guide has no colours, so nothing can be looked for", "tandem rl guide writes them")
        self._finder, self._z_m = finder, guide.centre_z_m
        self._newest: CameraImage | None = None
        self._is_free = False
        self._found = self.create_publisher(PoseStamped, object_poses.TOPIC, qos.NEWEST)
        self.create_subscription(Image, f"{guide.camera}/image_raw", self._image, qos.IMAGES_IN)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="look")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _image(self, message: Image) -> None:
        if self._is_free:
            self._newest = images.from_message(message)

    def _announced(self, message: String) -> None:
        self._is_free = announcements.from_message(message).stage == "free"

    def _look(self) -> None:
        try:
            while not self._closing.wait(PAUSE_S):
                image, self._newest = self._newest, None
                sighting = self._finder.find(image.rgb) if image is not None else None
                if image is not None and sighting is not None:
                    self._found.publish(object_poses.to_message(image.stamp_ns, sighting.start, self._z_m))
        except Exception as error:
            self.get_logger().error(f"{type(error).__name__}: {error}")
            self._end(1)


def main() -> int:
    return process.run(ResetGuideNode)


if __name__ == "__main__":
    sys.exit(main())
