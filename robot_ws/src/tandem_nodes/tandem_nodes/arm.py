"""The arm: `joint_command` in, through the limits, to the driver; `joint_states` and `joint_command_sent` out.

Lifecycle: from its start it reads and publishes; activated it also moves. A driver that is lost ends the process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from hardware import arm_loop
from hardware.execution.deadline import DeadlineLoop
from hardware.ports import DeviceLost
from tandem_nodes import diagnostics, joints, parameters, process, qos

TRANSITION_S = 2.0


class ArmNode(LifecycleNode):
    """The only process that talks to the arm."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("arm")
        self._end = end
        cell = parameters.read_cell(self)
        self._loop = arm_loop.connect(cell)
        self._states = self.create_publisher(JointState, "joint_states", qos.STREAM)
        self._sent = self.create_publisher(JointState, "joint_command_sent", qos.STREAM)
        self._stopped = self.create_publisher(Bool, "emergency_stop_active", qos.LATCHED)
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self.create_subscription(JointState, "joint_command", self._command, qos.NEWEST)
        self.create_service(SetBool, "emergency_stop", self._emergency_stop)
        self.create_timer(1.0, self._diagnose)
        self._clock = DeadlineLoop(cell.rate_hz, self._tick)
        self._clock.start()
        self.trigger_configure()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._loop.start()
        if self._loop.wait(lambda phase: phase != "idle", TRANSITION_S):
            return super().on_activate(state)
        self.get_logger().error(str(self._loop.fault or "the arm's loop does not run"))
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._loop.stop()
        at_rest = self._loop.wait(lambda phase: phase == "idle", TRANSITION_S)
        return super().on_deactivate(state) if at_rest else TransitionCallbackReturn.FAILURE

    def close(self) -> None:
        self._loop.stop()
        self._loop.wait(lambda phase: phase == "idle", TRANSITION_S)
        self._clock.stop()
        self._loop.close()

    def _command(self, message: JointState) -> None:
        self._loop.offer(joints.command(message))

    def _tick(self, now_ns: int) -> None:
        try:
            cycle = self._loop.tick(now_ns)
        except DeviceLost as lost:
            self.get_logger().error(str(lost))
            self._end(lost.exit_code)
            return
        self._states.publish(joints.measured(cycle))
        if (sent := joints.sent(cycle)) is not None:
            self._sent.publish(sent)

    def _emergency_stop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (self._loop.emergency_stop if request.data else self._loop.reset_emergency_stop)()
        self._stopped.publish(Bool(data=request.data))
        response.success, response.message = True, "stopped" if request.data else "released"
        return response

    def _diagnose(self) -> None:
        if not self._clock.is_alive:
            self._end(1)
        values = {"phase": self._loop.phase, **self._loop.limiter.counts}
        problem = "emergency stop" if self._loop.phase == "stopped" else ""
        self._diagnostics.publish(diagnostics.message("arm", values, problem))


def main() -> int:
    return process.run(ArmNode, fifo=20)


if __name__ == "__main__":
    sys.exit(main())
