"""Any arm behind ros2_control: its joint states in, and commands to the controllers that its own bringup has started.

A `joint_trajectory_controller` gets each command as a trajectory of one point, by topic, or by its action where
`control_msgs` is installed; a forward position controller gets an array of positions. The gripper, where there is
one, is a joint behind a forward controller of its own. The driver has its own ROS context and thread, so that it
works inside a node as well as without one. Positions are passed on as they are: rounding and limits of the hardware
interface are not visible from here.

Topics are tested against a small controller node; the action needs `control_msgs`, which has no wheel: it was not
run here.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from builtin_interfaces.msg import Duration, Time
from jaxtyping import Float
from numpy import ndarray
from rclpy import init as init_ros
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hardware.cell import CellConfig
from hardware.cell_devices import ForwardController, Ros2ControlArm, Ros2ControlGripper, TrajectoryController
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import DeviceLost, JointReading

CONNECT_S = 5.0
"""For discovery, and for a controller manager that has just been started."""

OTHER_CLOCK_S = 1.0
"""A state that is older or newer than this as it arrives was stamped by another clock (a simulator's)."""

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
STATES = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Hears reliable and best-effort broadcasters alike."""


@dataclass(frozen=True)
class Measured:
    """One joint, as a broadcaster last reported it."""

    stamp_ns: int
    position: float
    velocity: float | None
    effort: float | None


@runtime_checkable
class Commander(Protocol):
    """One controller's way of taking positions."""

    def command(self, positions: Sequence[float]) -> None: ...

    def trouble(self) -> str:
        """Why commands do not arrive, or nothing."""
        ...


class TrajectoryTopic:
    """`<controller>/joint_trajectory`: one point, to be reached `reach_s` from its arrival on."""

    def __init__(self, node: Node, config: TrajectoryController, joints: Sequence[str]) -> None:
        self._config, self._joints = config, list(joints)
        self._publisher = node.create_publisher(JointTrajectory, f"/{config.name}/joint_trajectory", NEWEST)

    def command(self, positions: Sequence[float]) -> None:
        self._publisher.publish(trajectory(self._joints, positions, self._config.reach_s))

    def trouble(self) -> str:
        return _unheard(self._publisher, self._config.name)


class TrajectoryAction:
    """`<controller>/follow_joint_trajectory`: each command is a goal that replaces the one before."""

    def __init__(self, node: Node, config: TrajectoryController, joints: Sequence[str]) -> None:
        """Raises `BadInput` without `control_msgs`."""
        try:
            from control_msgs.action import FollowJointTrajectory  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise BadInput(
                "controller.by_action needs control_msgs, which is not installed",
                "apt install ros-jazzy-control-msgs, or by_action: false",
            ) from error
        from rclpy.action.client import ActionClient

        self._config, self._joints = config, list(joints)
        self._kind: Any = FollowJointTrajectory
        self._client: Any = ActionClient(node, FollowJointTrajectory, f"/{config.name}/follow_joint_trajectory")
        self._refused = ""

    def command(self, positions: Sequence[float]) -> None:
        goal = self._kind.Goal(trajectory=trajectory(self._joints, positions, self._config.reach_s))
        self._client.send_goal_async(goal).add_done_callback(self._answered)

    def _answered(self, answer: Any) -> None:
        accepted = answer.exception() is None and answer.result().accepted
        self._refused = "" if accepted else f"controller '{self._config.name}' refuses goals"

    def trouble(self) -> str:
        if not self._client.server_is_ready():
            return f"controller '{self._config.name}' does not answer its action"
        return self._refused


class Forward:
    """`<controller>/commands`: an array of positions."""

    def __init__(self, node: Node, controller: str) -> None:
        self._name = controller
        self._publisher = node.create_publisher(Float64MultiArray, f"/{controller}/commands", NEWEST)

    def command(self, positions: Sequence[float]) -> None:
        self._publisher.publish(Float64MultiArray(data=list(positions)))

    def trouble(self) -> str:
        return _unheard(self._publisher, self._name)


class Ros2Control:
    """A node of its own in a thread of its own; it knows the newest state of every joint on the state topic."""

    def __init__(self, state_topic: str, stale_state_s: float) -> None:
        self._stale_state_s = stale_state_s
        self._topic = state_topic
        self._joints: dict[str, Measured] = {}
        self._lock = threading.Lock()
        self._context = Context()
        init_ros(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        try:
            self.node = Node("tandem_ros2_control", context=self._context, use_global_arguments=False)
        except BaseException:
            self._context.try_shutdown()
            raise
        self.node.create_subscription(JointState, state_topic, self._hear, STATES)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ros2_control", daemon=True)
        self._thread.start()

    def newest(self, names: Sequence[str]) -> list[Measured]:
        """Raises `DeviceLost` when a joint is not reported, or not any more."""
        with self._lock:
            found = [self._joints.get(name) for name in names]
            heard = sorted(self._joints)
        measured = [joint for joint in found if joint is not None]
        if len(measured) < len(names):
            missing = [name for name, joint in zip(names, found, strict=True) if joint is None]
            have = ", ".join(heard) or "nothing"
            raise DeviceLost(
                f"{self._topic} does not report {', '.join(missing)}; it reports: {have}",
                "is the robot's bringup running, in this ROS domain? ros2 topic echo /joint_states --once",
            )
        age_s = (time.monotonic_ns() - min(joint.stamp_ns for joint in measured)) / NANOSECONDS_PER_SECOND
        if age_s > self._stale_state_s:
            raise DeviceLost(
                f"{self._topic} is silent for {age_s:.2f} s", "the controller manager has stopped: see its log"
            )
        return measured

    def close(self) -> None:
        if not self._context.ok():
            return
        self._executor.shutdown()
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _hear(self, message: JointState) -> None:
        """Any number of joints in any order; what is not finite is not measured."""
        stamp_ns = _monotonic_ns(message.header.stamp)
        velocities, efforts = list(message.velocity), list(message.effort)
        count = len(message.name)
        if len(message.position) != count:
            return
        with self._lock:
            for index, name in enumerate(message.name):
                position = float(message.position[index])
                if math.isfinite(position):
                    velocity = _finite(velocities[index]) if len(velocities) == count else None
                    effort = _finite(efforts[index]) if len(efforts) == count else None
                    self._joints[name] = Measured(stamp_ns, position, velocity, effort)


class Ros2ControlDriver:
    """An `Arm` of the joints that the cell file names, in its order. Revolute joints only: positions are radians."""

    def __init__(self, link: Ros2Control, joints: Sequence[str], commander: Commander) -> None:
        self._link, self._commander = link, commander
        self.names: tuple[str, ...] = tuple(joints)

    def read(self) -> JointReading:
        joints = self._link.newest(self.names)
        return JointReading(
            stamp_ns=min(joint.stamp_ns for joint in joints),
            names=self.names,
            q_rad=np.array([joint.position for joint in joints]),
            dq_rad_s=_all([joint.velocity for joint in joints]),
            effort_nm=_all([joint.effort for joint in joints]),
        )

    def send(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        if q_rad.shape != (len(self.names),) or not np.isfinite(q_rad).all():
            raise ValueError(f"{len(self.names)} finite angles are needed, not {q_rad.tolist()}")
        self._link.newest(self.names)
        trouble = self._commander.trouble()
        if trouble:
            raise DeviceLost(trouble, "ros2 control list_controllers shows which are active")
        self._commander.command(q_rad.tolist())
        return q_rad.copy()

    def stop(self) -> None:
        """Commands the positions that the joints have; without their states nothing, for that could be a jump."""
        with contextlib.suppress(DeviceLost):
            self._commander.command([joint.position for joint in self._link.newest(self.names)])

    def close(self) -> None:
        """The controllers hold what they were last sent."""
        self.stop()
        self._link.close()


class Ros2ControlGripperDriver:
    """A `Gripper` of one joint behind a forward controller."""

    def __init__(self, link: Ros2Control, config: Ros2ControlGripper, commander: Commander) -> None:
        self._link, self._config, self._commander = link, config, commander

    def read(self) -> tuple[int, float]:
        [joint] = self._link.newest([self._config.joint])
        return joint.stamp_ns, (joint.position - self._config.closed_position) / self._stroke

    def send(self, opening: float) -> float:
        if not math.isfinite(opening):
            raise ValueError(f"an opening of {opening}")
        trouble = self._commander.trouble()
        if trouble:
            raise DeviceLost(trouble, "ros2 control list_controllers shows which are active")
        sent = min(max(opening, 0.0), 1.0)
        self._commander.command([self._config.closed_position + sent * self._stroke])
        return sent

    def stop(self) -> None:
        """The controller keeps its last goal, and so the grip; there is nothing to send."""

    def close(self) -> None:
        """Nothing to free: the link is the arm's."""

    @property
    def _stroke(self) -> float:
        return self._config.open_position - self._config.closed_position


def connect(cell: CellConfig) -> tuple[Ros2ControlDriver, Ros2ControlGripperDriver | None]:
    """Waits for the joint states and the controllers. Raises `DeviceLost` when they do not come, and `BadInput`."""
    config = cell.arm
    if not isinstance(config, Ros2ControlArm):
        raise BadInput(f"the arm of cell '{cell.name}' is of kind '{config.kind}', not 'ros2_control'")
    link = Ros2Control(config.state_topic, config.stale_state_s)
    try:
        commanders: dict[str, Commander] = {"arm": _commander(link.node, config)}
        joints = list(config.joints)
        if config.gripper is not None:
            commanders["gripper"] = Forward(link.node, config.gripper.controller)
            joints.append(config.gripper.joint)
        _wait(link, joints, commanders)
    except BaseException:
        link.close()
        raise
    arm = Ros2ControlDriver(link, config.joints, commanders["arm"])
    if config.gripper is None:
        return arm, None
    return arm, Ros2ControlGripperDriver(link, config.gripper, commanders["gripper"])


def _commander(node: Node, config: Ros2ControlArm) -> Commander:
    controller = config.controller
    if isinstance(controller, ForwardController):
        return Forward(node, controller.name)
    kind = TrajectoryAction if controller.by_action else TrajectoryTopic
    return kind(node, controller, config.joints)


def _wait(link: Ros2Control, joints: Sequence[str], commanders: Mapping[str, Commander]) -> None:
    until_s = time.monotonic() + CONNECT_S
    while True:
        try:
            link.newest(joints)
            trouble = next(filter(None, (commander.trouble() for commander in commanders.values())), "")
            if not trouble:
                return
            lost = DeviceLost(trouble, "ros2 control list_controllers shows which are active")
        except DeviceLost as error:
            lost = error
        if time.monotonic() > until_s:
            raise lost
        time.sleep(0.02)


def trajectory(joints: list[str], positions: Sequence[float], reach_s: float) -> JointTrajectory:
    """One point, from its arrival on (the stamp is zero). No velocity: a controller refuses to end with one."""
    seconds, nanoseconds = divmod(round(reach_s * NANOSECONDS_PER_SECOND), NANOSECONDS_PER_SECOND)
    point = JointTrajectoryPoint(
        positions=list(positions), time_from_start=Duration(sec=seconds, nanosec=nanoseconds)
    )
    return JointTrajectory(joint_names=joints, points=[point])


def _unheard(publisher: Any, controller: str) -> str:
    return "" if publisher.get_subscription_count() else f"controller '{controller}' is not there"


def _monotonic_ns(stamp: Time) -> int:
    """When a state was measured, on this machine's monotonic clock; its arrival where the stamp cannot be that."""
    now_ns = time.monotonic_ns()
    age_ns = time.time_ns() - (stamp.sec * NANOSECONDS_PER_SECOND + stamp.nanosec)
    return now_ns - age_ns if 0 <= age_ns < OTHER_CLOCK_S * NANOSECONDS_PER_SECOND else now_ns


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _all(values: Sequence[float | None]) -> Float[ndarray, " J"] | None:
    known = [value for value in values if value is not None]
    return np.array(known) if len(known) == len(values) else None
