"""The page for the browser: what the cell's topics say goes to it, and what a person does there comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float32, String
from trajectory_msgs.msg import JointTrajectory

from hardware import config
from hardware.page import arms
from hardware.page.desk import Desk
from hardware.page.ghost import Guide
from hardware.page.guidance import Guidance
from hardware.page.resets import ResetLog
from hardware.page.server import PageServer
from tandem_nodes import (
    announcements,
    chunks,
    diagnostics,
    images,
    joints,
    object_poses,
    parameters,
    process,
    qos,
    stamps,
)
from tandem_nodes.page_parameters import SCORE, folders, scene, served
from tandem_nodes.page_robot import PageRobot


class GuiNode(Node):
    """The spinning thread hands messages over; the server's thread answers browsers and publishes commands."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("gui")
        cell = parameters.read_cell(self)
        drives = parameters.number(self, "drives", "1: the page may drive the arm; 0: it watches and stops.", 1)
        run = Path(
            parameters.text(self, "run", "The folder that the page's address and the resets are written to.")
        )
        guide = parameters.text(self, "guide", "The file of which starts come next; empty: there is none.")
        self._desk = Desk(
            cell,
            PageRobot(self, cell.joy.dead_man_button),
            arms.kinematics(cell),
            can_drive=bool(drives),
            follows=bool(parameters.number(self, "follows", "1: the page holds the dead-man of a leader arm.", 0)),
            guidance=Guidance(config.read(Guide, Path(guide)) if guide else None, ResetLog(run)),
        )
        shown = folders(self, guide)
        self._server = PageServer(self._desk, served(self), stamps.offset_ns(), shown, scene(self, shown))
        self.create_subscription(JointTrajectory, "action_chunk", self._chunk, qos.NEWEST)
        self.create_subscription(JointState, "joint_states", self._joints, qos.NEWEST)
        self.create_subscription(JointState, "joint_command_sent", self._sent, qos.NEWEST)
        self.create_subscription(String, "control_source", self._source, qos.LATCHED)
        self.create_subscription(Bool, "emergency_stop_active", self._stopped, qos.LATCHED)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self.create_subscription(diagnostics.DiagnosticArray, diagnostics.TOPIC, self._diagnosed, 10)
        for name in cell.cameras:
            self.create_subscription(Image, f"{name}/image_raw", partial(self._image, name), qos.IMAGES_IN)
        self.create_subscription(PoseStamped, object_poses.TOPIC, self._found, qos.NEWEST)
        self.create_subscription(Float32, SCORE, self._scored, qos.NEWEST)
        (run / "page.txt").write_text(self._server.link + "\n", encoding="utf-8")

    def close(self) -> None:
        self._server.close()

    def _chunk(self, message: JointTrajectory) -> None:
        with suppress(ValueError):  # the executor says what is wrong with it
            self._desk.preview.add(chunks.from_message(message))

    def _found(self, message: PoseStamped) -> None:
        self._desk.guidance.found = object_poses.from_message(message)

    def _scored(self, message: Float32) -> None:
        self._desk.score = time.monotonic_ns(), message.data

    def _joints(self, message: JointState) -> None:
        self._desk.reading = joints.reading(message)

    def _sent(self, message: JointState) -> None:
        self._desk.sent = joints.command(message)

    def _source(self, message: String) -> None:
        self._desk.source = message.data

    def _stopped(self, message: Bool) -> None:
        self._desk.stopped = message.data

    def _announced(self, message: String) -> None:
        self._desk.announcement = announcements.from_message(message)

    def _diagnosed(self, message: diagnostics.DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._desk.diagnosed(status.name, status.level == status.OK, status.message, values)

    def _image(self, camera: str, message: Image) -> None:
        self._server.pictures.put(camera, images.from_message(message))


def main() -> int:
    return process.run(GuiNode)


if __name__ == "__main__":
    sys.exit(main())
