"""A small ros2_control in a process of its own: joints that move, their states, and controllers that take commands.

`python small_controller.py trajectory|forward [joint …]`. It says READY, then obeys lines on its standard input:
`silent` (no more states), `speak`, `nan JOINT`, `shuffle`, `leave` (the controllers are switched off).
"""

from __future__ import annotations

import math
import sys
import threading
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

RATE_HZ = 100.0
FINGER = "finger_joint"


class SmallController(Node):
    """A trajectory is followed on a straight line to its last point, as JTC does without velocities."""

    def __init__(self, kind: str, joints: list[str]) -> None:
        super().__init__("small_controller")
        self.position = dict.fromkeys([*joints, FINGER], 0.0)
        self.goal = dict(self.position)
        self.until_s = dict.fromkeys(self.position, 0.0)
        self.joints = joints
        self.silent = self.shuffled = False
        self.broken: set[str] = set()
        self.refused = 0
        self.states = self.create_publisher(JointState, "/joint_states", 10)
        self.commands = (
            self.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self.follow, 10)
            if kind == "trajectory"
            else self.create_subscription(Float64MultiArray, "/arm_controller/commands", self.jump, 10)
        )
        self.create_subscription(Float64MultiArray, "/gripper_position_controller/commands", self.grip, 10)
        self.create_timer(1 / RATE_HZ, self.step)

    def follow(self, message: JointTrajectory) -> None:
        point = message.points[-1]
        if set(message.joint_names) != set(self.joints) or any(point.velocities):
            self.refused += 1
            return
        reach_s = point.time_from_start.sec + point.time_from_start.nanosec * 1e-9
        for name, position in zip(message.joint_names, point.positions, strict=True):
            self.goal[name], self.until_s[name] = position, time.monotonic() + reach_s

    def jump(self, message: Float64MultiArray) -> None:
        self.goal.update(zip(self.joints, message.data, strict=True))

    def grip(self, message: Float64MultiArray) -> None:
        self.goal[FINGER] = message.data[0]

    def step(self) -> None:
        before = dict(self.position)
        for name, goal in self.goal.items():
            left_s = self.until_s[name] - time.monotonic()
            share = min(1.0, 1 / RATE_HZ / left_s) if left_s > 0 else 1.0
            self.position[name] += (goal - self.position[name]) * share
        if self.silent:
            return
        names = list(self.position)
        if self.shuffled:
            names.reverse()
        message = JointState(name=names)
        message.header.stamp = self.get_clock().now().to_msg()
        message.position = [math.nan if name in self.broken else self.position[name] for name in names]
        message.velocity = [(self.position[name] - before[name]) * RATE_HZ for name in names]
        self.states.publish(message)

    def obey(self, words: list[str]) -> None:
        if words[0] in ("silent", "speak"):
            self.silent = words[0] == "silent"
        elif words[0] == "nan":
            self.broken.add(words[1])
        elif words[0] == "shuffle":
            self.shuffled = True
        elif words[0] == "leave":
            self.destroy_subscription(self.commands)


def main() -> None:
    rclpy.init()
    node = SmallController(sys.argv[1], sys.argv[2:])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    print("READY", flush=True)
    for line in sys.stdin:
        node.obey(line.split())
        print("DONE", flush=True)
    executor.shutdown()
    thread.join(2)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
