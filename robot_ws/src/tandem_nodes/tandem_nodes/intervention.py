"""Who takes over, and what they want: `joy` or the truth in, `intervention` and `intervention_command` out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.joy_jog import Pad
from hardware.ports import JointReading
from tandem_nodes import announcements, interveners, joints, parameters, process, qos

RATE_HZ = 50.0


class InterventionNode(Node):
    """Asks in a thread of its own, since planning a correction takes its time."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("intervention")
        self._end = end
        cell = parameters.read_cell(self)
        kind = parameters.text(self, "kind", "Who may intervene: joy, leader, spacemouse or scripted.", "joy")
        self._who = interveners.choose(kind, cell)
        self._state: tuple[JointReading, float | None] | None = None
        self._announcement = Announcement()
        self._acts = False
        self._taken = self.create_publisher(String, "intervention", qos.LATCHED)
        self._taken.publish(String(data=""))  # who was in charge before a crash is not any more
        self._commands = self.create_publisher(JointState, "intervention_command", qos.NEWEST)
        self.create_subscription(JointState, "joint_states", self._joints, qos.NEWEST)
        self.create_subscription(Joy, "joy", self._joy, qos.NEWEST)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="intervention")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._who.close()

    def _joints(self, message: JointState) -> None:
        self._state = joints.reading(message)

    def _joy(self, message: Joy) -> None:
        self._who.hear(Pad(time.monotonic_ns(), tuple(message.axes), tuple(message.buttons)))

    def _announced(self, message: String) -> None:
        self._announcement = announcements.from_message(message)

    def _watch(self) -> None:
        begun_ns = -1
        try:
            while not self._closing.wait(1 / RATE_HZ):
                said, state = self._announcement, self._state
                knows = (
                    said.backward_by is None or self._who.source == "human"
                )  # the stand-in: the way forward alone
                may_act = said.is_running and knows
                if may_act and said.since_ns != begun_ns:
                    begun_ns = said.since_ns
                    self._who.begin()
                if may_act and state is not None and state[0].stamp_ns > said.since_ns:
                    self._step(*state)
                else:
                    self._take(False)
        except Exception as error:
            self.get_logger().error(f"{type(error).__name__}: {error}")
            self._end(1)

    def _step(self, reading: JointReading, gripper_open: float | None) -> None:
        wish = self._who.wish(time.monotonic_ns(), reading, gripper_open)
        self._take(wish is not None)
        if wish is not None:
            now_ns, source = time.monotonic_ns(), self._who.source
            command = JointCommand(now_ns, reading.names, wish.q_rad, wish.dq_rad_s, wish.gripper_open, source)
            self._commands.publish(joints.from_command(command))

    def _take(self, acts: bool) -> None:
        if acts != self._acts:
            self._acts = acts
            self._taken.publish(String(data=self._who.source if acts else ""))


def main() -> int:
    return process.run(InterventionNode)


if __name__ == "__main__":
    sys.exit(main())
