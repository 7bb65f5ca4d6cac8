"""Joint states, sent commands and pictures of a running episode → the recording.

An episode that was under way when the recorder was killed stays readable, and goes on as one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from hardware.announcement import Announcement
from hardware.dataset.frame_grid import Alignment
from hardware.dataset.recording import Recording, RecordingConfig, RecordingFailed
from hardware.episode import Source
from tandem_nodes import announcements, diagnostics, images, joints, parameters, process, qos

SOURCES: dict[str, Source] = {"policy": "policy", "human": "human", "scripted": "scripted", "twin": "twin"}


class RecorderNode(Node):
    """Writes between `running` and `judged`."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("recorder")
        self._end = end
        self._cell = parameters.read_cell(self)
        self._store = Path(parameters.text(self, "store", "The folder of episodes that it appends to."))
        self._recording: Recording | None = None
        self._source: Source = "scripted" if self._cell.policy.kind == "scripted" else "policy"
        self._written = 0
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.LATCHED)
        self.create_subscription(JointState, "joint_states", self._joints, qos.STREAM)
        self.create_subscription(JointState, "joint_command_sent", self._sent, qos.STREAM)
        for name in self._cell.cameras:
            self.create_subscription(Image, f"{name}/image_raw", partial(self._image, name), qos.IMAGES_IN)
        self.create_timer(1.0, self._diagnose)

    def close(self) -> None:
        if self._recording is not None:
            self._recording.finish()

    def _announced(self, message: String) -> None:
        announcement = announcements.from_message(message)
        if announcement.is_running and self._recording is None:
            self._recording = self._new(announcement)
        elif not announcement.is_running and self._recording is not None:
            self._recording.finish(announcement.success)
            self._recording, self._written = None, self._written + 1

    def _new(self, announcement: Announcement) -> Recording:
        config = RecordingConfig(alignment=Alignment(rate_hz=self._cell.recording.rate_hz))
        names, action_names = self._cell.action_names, self._cell.action_names
        return Recording(
            self._store,
            announcement.task,
            tuple(self._cell.cameras),
            names,
            action_names,
            self._cell.name,
            config=config,
        )

    def _joints(self, message: JointState) -> None:
        if self._recording is not None:
            reading, gripper = joints.reading(message)
            q_rad = reading.q_rad if gripper is None else np.append(reading.q_rad, gripper)
            self._guard(self._recording.joint, reading.stamp_ns, q_rad)

    def _sent(self, message: JointState) -> None:
        if self._recording is not None:
            sent = joints.command(message)
            self._source = SOURCES.get(sent.source, self._source)  # a hold belongs to who was in control
            action = sent.q_rad if sent.gripper_open is None else np.append(sent.q_rad, sent.gripper_open)
            self._guard(self._recording.sent, sent.stamp_ns, action, self._source)

    def _image(self, camera: str, message: Image) -> None:
        if self._recording is not None:
            image = images.from_message(message)
            self._guard(self._recording.image, camera, image.stamp_ns, image.rgb)

    def _guard(self, write: Callable[..., bool], *values: object) -> None:
        try:
            write(*values)
        except RecordingFailed as failed:
            self.get_logger().error(str(failed))
            self._end(failed.exit_code)

    def _diagnose(self) -> None:
        values: dict[str, object] = {"episodes": self._written, "recording": self._recording is not None}
        lost = {} if self._recording is None else self._recording.pressure().lost
        problem = f"lost measurements: {lost}" if any(lost.values()) else ""
        self._diagnostics.publish(diagnostics.message("recorder", values | lost, problem))


def main() -> int:
    return process.run(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
