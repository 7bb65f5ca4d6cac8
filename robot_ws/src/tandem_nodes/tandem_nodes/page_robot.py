"""What a person does at the page → the cell's topics and its emergency stop."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool

from hardware.arm_loop import JointCommand
from hardware.episode_request import EpisodeRequest, What
from tandem_nodes import joints, qos

REQUESTS = "episode_request"


class PageRobot:
    """Called from the server's thread; nothing here waits."""

    def __init__(self, node: Node, dead_man_button: int) -> None:
        self._taken = node.create_publisher(String, "intervention", qos.LATCHED)
        self._commands = node.create_publisher(JointState, "intervention_command", qos.NEWEST)
        self._requests = node.create_publisher(String, REQUESTS, qos.NEWEST)
        self._joy = node.create_publisher(Joy, "joy", qos.NEWEST)
        self._held = Joy(buttons=[0] * dead_man_button + [1])
        self._stop = node.create_client(SetBool, "emergency_stop")

    def intervene(self, takes_over: bool) -> None:
        self._taken.publish(String(data="human" if takes_over else ""))

    def command(self, command: JointCommand) -> None:
        self._commands.publish(joints.from_command(command))

    def hold_dead_man(self) -> None:
        self._joy.publish(self._held)

    def emergency_stop(self, active: bool) -> None:
        self._stop.call_async(SetBool.Request(data=active))

    def ask_episode(self, what: What) -> None:
        self._requests.publish(String(data=EpisodeRequest(what=what).model_dump_json()))
