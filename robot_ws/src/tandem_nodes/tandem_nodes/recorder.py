"""Joint states, sent commands and pictures of a running episode → the store of episodes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from hardware.dataset.manifest import SeenObject
from hardware.dataset.recording import RecordingFailed
from hardware.episode_writer import EpisodeWriter
from tandem_nodes import announcements, diagnostics, images, joints, object_poses, parameters, process, qos


class RecorderNode(Node):
    """Writes between `running` and `judged`. A disk that fails ends the process, and so holds the policy."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("recorder")
        self._end = end
        cell = parameters.read_cell(self)
        store = parameters.text(self, "store", "The folder of episodes that it appends to.")
        self._writer = EpisodeWriter(cell, Path(store))
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self.create_subscription(JointState, "joint_states", self._joints, qos.STREAM)
        self.create_subscription(JointState, "joint_command_sent", self._sent, qos.STREAM)
        self.create_subscription(PoseStamped, object_poses.TOPIC, self._seen, qos.NEWEST)
        for name in cell.cameras:
            self.create_subscription(Image, f"{name}/image_raw", partial(self._image, name), qos.IMAGES_IN)
        self.create_timer(1.0, self._diagnose)

    def close(self) -> None:
        self._guard(self._writer.close)

    def _announced(self, message: String) -> None:
        self._guard(self._writer.announced, announcements.from_message(message))

    def _joints(self, message: JointState) -> None:
        self._guard(self._writer.joints, *joints.reading(message))

    def _sent(self, message: JointState) -> None:
        self._guard(self._writer.sent, joints.command(message))

    def _image(self, camera: str, message: Image) -> None:
        self._guard(self._writer.image, camera, images.from_message(message))

    def _seen(self, message: PoseStamped) -> None:
        stamp_ns, at = object_poses.from_message(message)
        self._writer.seen(stamp_ns, SeenObject(**at.model_dump(), z_m=message.pose.position.z))

    def _guard(self, write: Callable[..., None], *values: object) -> None:
        try:
            write(*values)
        except RecordingFailed as failed:
            self.get_logger().error(str(failed))
            self._end(failed.exit_code)

    def _diagnose(self) -> None:
        lost = self._writer.lost
        values = {"episodes": self._writer.written, "recording": self._writer.is_recording, **lost}
        problem = f"lost measurements: {lost}" if any(lost.values()) else ""
        self._diagnostics.publish(diagnostics.message("recorder", values, problem))


def main() -> int:
    return process.run(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
