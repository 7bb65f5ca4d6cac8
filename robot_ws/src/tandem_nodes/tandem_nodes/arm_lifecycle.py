"""Brings the arm node to a lifecycle state, from any other node's own thread."""

from __future__ import annotations

from typing import Literal

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from std_msgs.msg import Bool

from hardware.errors import TandemError
from tandem_nodes import qos

SERVICE_S = 10.0
TRANSITIONS = {"active": Transition.TRANSITION_ACTIVATE, "inactive": Transition.TRANSITION_DEACTIVATE}


class ArmRefused(TandemError):
    """The arm node does not answer, or its limits do not let it start from where it stands."""

    exit_code = 4


class ArmLifecycle:
    """The owner spins in another thread."""

    def __init__(self, node: Node) -> None:
        self._change = node.create_client(ChangeState, "arm/change_state")
        self._get = node.create_client(GetState, "arm/get_state")
        self._emergency = False
        node.create_subscription(Bool, "emergency_stop_active", self._hear, qos.LATCHED)

    def reach(self, state: Literal["active", "inactive"]) -> None:
        """Raises `ArmRefused`. An arm that was stopped in an emergency is left alone."""
        if self._emergency or self.state() == state:
            return
        transition = Transition(id=TRANSITIONS[state])
        answer = self._change.call(ChangeState.Request(transition=transition), SERVICE_S)
        if answer is None or not answer.success:
            raise ArmRefused(f"the arm does not become {state}", "its log says why")

    def state(self) -> str:
        if not self._get.wait_for_service(SERVICE_S):
            raise ArmRefused("there is no arm node", "start the arm first")
        answer = self._get.call(GetState.Request(), SERVICE_S)
        if answer is None:
            raise ArmRefused("the arm node does not answer")
        return answer.current_state.label

    def _hear(self, message: Bool) -> None:
        self._emergency = message.data
