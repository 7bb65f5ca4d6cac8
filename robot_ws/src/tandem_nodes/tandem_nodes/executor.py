"""Chunks and a person's commands → `joint_command` at a fixed rate. No images in this process.

The control thread has the process's deadlines to itself; the spinning thread only hands messages over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from hardware import lifeline
from hardware.execution.deadline import DeadlineLoop
from hardware.execution_loop import ExecutionLoop
from tandem_nodes import announcements, chunks, diagnostics, joints, parameters, process, qos


class ExecutorNode(Node):
    """The only one that publishes `joint_command`."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("executor")
        self._end = end
        cell = parameters.read_cell(self)
        run = Path(parameters.text(self, "run", "The folder of logs and results."))
        self._loop = ExecutionLoop(cell, run / "control")
        self._source = ""
        self._commands = self.create_publisher(JointState, "joint_command", qos.NEWEST)
        self._sources = self.create_publisher(String, "control_source", qos.LATCHED)
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self.create_subscription(JointState, "joint_states", self._state, qos.NEWEST)
        self.create_subscription(JointTrajectory, "action_chunk", self._chunk, qos.NEWEST)
        self.create_subscription(String, announcements.TOPIC, self._announced, qos.EVERY_CHANGE)
        self.create_subscription(Bool, "emergency_stop_active", self._emergency, qos.LATCHED)
        self.create_subscription(String, "intervention", self._intervention, qos.LATCHED)
        self.create_subscription(JointState, "intervention_command", self._person, qos.NEWEST)
        self.create_timer(1.0, self._diagnose)
        self._lifeline = lifeline.listen(self._loop.lost)
        self._clock = DeadlineLoop(cell.rate_hz, self._tick, self._loop.failed, self._loop.ticked)
        self._clock.start()

    def close(self) -> None:
        self._clock.stop()
        if self._lifeline is not None:
            self._lifeline.close()
        self._loop.close()

    def _tick(self, now_ns: int) -> None:
        command = self._loop.tick(now_ns)
        if command is None:
            return
        self._commands.publish(joints.from_command(command))
        source = "hold" if command.source == "brake" else command.source
        if source != self._source:
            self._source = source
            self._sources.publish(String(data=source))

    def _state(self, message: JointState) -> None:
        self._loop.reading(*joints.reading(message))

    def _chunk(self, message: JointTrajectory) -> None:
        try:
            self._loop.offer(chunks.from_message(message))
        except ValueError as error:
            self.get_logger().warning(f"a chunk is refused: {error}", throttle_duration_sec=1.0)

    def _announced(self, message: String) -> None:
        self._loop.announced(announcements.from_message(message))

    def _emergency(self, message: Bool) -> None:
        self._loop.emergency(message.data)

    def _intervention(self, message: String) -> None:
        self._loop.intervene(message.data)

    def _person(self, message: JointState) -> None:
        self._loop.person(joints.command(message))

    def _diagnose(self) -> None:
        if not self._clock.is_alive:
            self._end(1)
        values = {"missed": self._clock.missed, **self._loop.status}
        problem = f"missing: {', '.join(self._loop.missing)}" if self._loop.missing else ""
        self._diagnostics.publish(diagnostics.message("executor", values, problem))


def main() -> int:
    return process.run(ExecutorNode, fifo=20)


if __name__ == "__main__":
    sys.exit(main())
