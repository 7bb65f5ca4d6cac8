"""What the cell's topics say, laid on the page's desk."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float32, String
from trajectory_msgs.msg import JointTrajectory

from hardware.cell import CellConfig
from hardware.page.desk import Desk
from hardware.page.server import PageServer
from tandem_nodes import announcements, chunks, diagnostics, images, joints, object_poses, qos
from tandem_nodes.page_parameters import SCORE


class DeskTopics:
    """The subscriptions of the `gui` node. Called in the spinning thread."""

    def __init__(self, node: Node, cell: CellConfig, desk: Desk, server: PageServer) -> None:
        self._desk, self._server = desk, server
        node.create_subscription(JointTrajectory, "action_chunk", self._chunk, qos.NEWEST)
        node.create_subscription(JointState, "joint_states", self._joints, qos.NEWEST)
        node.create_subscription(JointState, "joint_command_sent", self._sent, qos.NEWEST)
        node.create_subscription(String, "control_source", self._source, qos.LATCHED)
        node.create_subscription(Bool, "emergency_stop_active", self._stopped, qos.LATCHED)
        node.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        node.create_subscription(diagnostics.DiagnosticArray, diagnostics.TOPIC, self._diagnosed, 10)
        for name in cell.cameras:
            node.create_subscription(Image, f"{name}/image_raw", partial(self._image, name), qos.IMAGES_IN)
        node.create_subscription(PoseStamped, object_poses.TOPIC, self._found, qos.NEWEST)
        node.create_subscription(Float32, SCORE, self._scored, qos.NEWEST)

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
