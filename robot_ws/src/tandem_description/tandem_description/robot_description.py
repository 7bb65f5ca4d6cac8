"""Publishes an arm's URDF once, latched, on `robot_description`, where RViz and robot_state_publisher look for it."""

from __future__ import annotations

import contextlib
import sys

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from hardware.bench.arm_models import ARMS
from hardware.errors import BadInput
from hardware.urdf import urdf


class RobotDescriptionNode(Node):
    """The models come from their wheels; the meshes are named where they lie on this machine."""

    def __init__(self) -> None:
        super().__init__("robot_description")
        described = ParameterDescriptor(description=f"One of {', '.join(ARMS)}.", read_only=True)
        model = str(self.declare_parameter("model", "so101", described).value)
        arm = next((arm for arm in ARMS.values() if arm.name == model), None)
        if arm is None:
            raise BadInput(f"no arm model '{model}'; have: {', '.join(ARMS)}")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = self.create_publisher(String, "robot_description", latched)
        publisher.publish(String(data=urdf(arm.spec(), model)))


def main() -> int:
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(RobotDescriptionNode())
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
