"""Observations → `action_chunk`: one chunk every few executed steps, while an episode runs and every input is fresh."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from hardware.announcement import Announcement
from hardware.errors import TandemError
from hardware.observation_desk import ObservationDesk
from tandem_nodes import announcements, chunk_sources, chunks, diagnostics, images, joints, parameters, process, qos

AGAIN_S = 0.02


class PolicyNode(Node):
    """Asks in a thread of its own, so that a slow policy delays nobody."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("policy")
        self._cell = parameters.read_cell(self)
        self._desk = ObservationDesk(self._cell)
        self._source = chunk_sources.choose(self._cell)
        self._announcement = Announcement()
        self._trouble, self._asked = "", 0
        self._chunks = self.create_publisher(JointTrajectory, "action_chunk", qos.NEWEST)
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self.create_subscription(JointState, "joint_states", self._state, qos.NEWEST)
        for name in self._cell.cameras:
            self.create_subscription(Image, f"{name}/image_raw", partial(self._image, name), qos.IMAGES_IN)
        self.create_timer(1.0, self._diagnose)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._ask_again_and_again, name="policy")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._source.close()

    def _announced(self, message: String) -> None:
        self._announcement = announcements.from_message(message)

    def _state(self, message: JointState) -> None:
        self._desk.joints(*joints.reading(message))

    def _image(self, camera: str, message: Image) -> None:
        self._desk.image(camera, images.from_message(message))

    def _ask_again_and_again(self) -> None:
        pause_s = self._cell.policy.replan_steps / self._cell.policy.rate_hz
        begun_ns = -1
        while not self._closing.is_set():
            began_s, said = time.monotonic(), self._announcement
            try:
                if said.is_running and said.since_ns != begun_ns:
                    self._source.begin()
                    begun_ns = said.since_ns
                asked = said.is_running and self._ask(said)
                self._trouble = ""
            except TandemError as trouble:
                asked, self._trouble = False, trouble.problem
                self.get_logger().warning(trouble.problem, throttle_duration_sec=1.0)
            self._closing.wait(max(0.0, pause_s - (time.monotonic() - began_s)) if asked else AGAIN_S)

    def _ask(self, said: Announcement) -> bool:
        """True when a chunk went out; False when the observation is not complete and fresh yet."""
        observation = self._desk.observation(time.monotonic_ns(), said.since_ns, said.task)
        if observation is None:
            return False
        self._chunks.publish(chunks.to_message(self._source.ask(observation)))
        self._asked += 1
        return True

    def _diagnose(self) -> None:
        values = {"chunks": self._asked, "stale": ", ".join(self._desk.stale(time.monotonic_ns()))}
        self._diagnostics.publish(diagnostics.message("policy", values, self._trouble))


def main() -> int:
    return process.run(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
