"""The ros2_control driver against a small real controller in a process of its own, in a ROS domain of its own."""

import contextlib
import importlib.util
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: uv sync --extra ros, or source a ROS 2")

from hardware import cell as cells
from hardware import devices, ros_environment
from hardware.arms import ros2_control
from hardware.cell_devices import ForwardController, Ros2ControlArm, Ros2ControlGripper, TrajectoryController
from hardware.errors import BadInput
from hardware.ports import TIMEOUT_S, Arm, DeviceLost, Gripper

pytestmark = [  # of the lark wheel, which ROS's message generator imports
    pytest.mark.filterwarnings("ignore:module 'sre_parse' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:module 'sre_constants' is deprecated:DeprecationWarning"),
]

JOINTS = ("lift", "bend", "turn")
SOON_S = 5.0


class Controller:
    """The other process."""

    def __init__(self, kind: str) -> None:
        words = [sys.executable, str(Path(__file__).with_name("small_controller.py")), kind, *JOINTS]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("READY")

    def tell(self, words: str) -> None:
        assert self._process.stdin is not None
        print(words, file=self._process.stdin, flush=True)
        self._expect("DONE")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word


@pytest.fixture(autouse=True)
def _own_domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_environment.free_domain()))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setattr(ros2_control, "CONNECT_S", 15.0)


def cell_of(kind: str, **changes):
    shipped = cells.load("ros2_control")
    name = "arm_controller"
    limits = [shipped.limits.joints[0].but(name=joint) for joint in JOINTS]
    arm = Ros2ControlArm(
        joints=JOINTS,
        controller=TrajectoryController(name=name) if kind == "trajectory" else ForwardController(name=name),
        gripper=Ros2ControlGripper(
            controller="gripper_position_controller", joint="finger_joint", closed_position=0.8, open_position=0.0
        ),
        stale_state_s=1.0,
    )
    return shipped.but(arm=arm.but(**changes), limits=shipped.limits.but(joints=limits))


@contextlib.contextmanager
def running(kind: str, **changes):
    controller = Controller(kind)
    try:
        arm, gripper = devices.open_arm(cell_of(kind, **changes))
        try:
            yield controller, arm, gripper
        finally:
            arm.close()
    finally:
        controller.end()


def until(condition, within_s: float = SOON_S) -> bool:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.01)
    return False


def fault_of(read) -> DeviceLost:
    end_s = time.monotonic() + SOON_S
    while time.monotonic() < end_s:
        try:
            read()
        except DeviceLost as lost:
            return lost
        time.sleep(0.01)
    raise AssertionError("no fault was reported")


@pytest.mark.parametrize("kind", ["trajectory", "forward"])
def test_what_is_sent_is_reached_and_read_back(kind):
    with running(kind) as (_, arm, gripper):
        assert isinstance(arm, Arm)
        assert isinstance(gripper, Gripper)
        assert arm.names == JOINTS
        asked = np.array([0.3, -0.2, 0.1])
        np.testing.assert_array_equal(arm.send(asked), asked)
        assert until(lambda: np.allclose(arm.read().q_rad, asked, atol=1e-6))
        reading = arm.read()
        assert reading.dq_rad_s.shape == (3,)
        assert reading.effort_nm is None
        assert gripper.send(7.0) == 1.0
        assert until(lambda: gripper.read()[1] == pytest.approx(1.0))
        assert gripper.send(0.25) == 0.25  # 0.8 − 0.25 · 0.8 = 0.6
        assert until(lambda: gripper.read()[1] == pytest.approx(0.25))
        took_s = []
        for step in range(50):
            began_s = time.perf_counter()
            arm.read()
            arm.send(asked + 0.001 * step)
            took_s.append(time.perf_counter() - began_s)
        assert np.median(took_s) < TIMEOUT_S
        for bad in (np.zeros(2), np.array([0.0, math.nan, 0.0])):
            with pytest.raises(ValueError, match="finite angles"):
                arm.send(bad)


def test_states_are_read_by_name_in_any_order_and_stamped_by_the_machines_clock():
    with running("forward") as (controller, arm, _):
        arm.send(np.array([0.3, -0.2, 0.1]))
        assert until(lambda: np.allclose(arm.read().q_rad, [0.3, -0.2, 0.1]))
        controller.tell("shuffle")
        time.sleep(0.1)
        for _ in range(20):
            reading = arm.read()
            np.testing.assert_allclose(reading.q_rad, [0.3, -0.2, 0.1])
            assert 0 <= time.monotonic_ns() - reading.stamp_ns < 1_000_000_000
            time.sleep(0.01)


def test_stop_commands_where_the_joints_are():
    with running("trajectory", controller=TrajectoryController(name="arm_controller", reach_s=2.0)) as (_, arm, _):
        arm.send(np.array([1.0, 0.0, 0.0]))
        assert until(lambda: arm.read().q_rad[0] > 0.1)
        arm.stop()
        time.sleep(0.3)
        held = arm.read().q_rad[0]
        assert held < 0.9
        time.sleep(0.3)
        assert arm.read().q_rad[0] == pytest.approx(held, abs=0.02)


def test_states_that_stop_are_a_lost_arm_and_come_back():
    with running("forward") as (controller, arm, gripper):
        controller.tell("silent")
        assert "is silent for 1." in str(fault_of(arm.read))
        with pytest.raises(DeviceLost):
            arm.send(np.zeros(3))
        with pytest.raises(DeviceLost):
            gripper.read()
        arm.stop()
        controller.tell("speak")
        assert until(lambda: not isinstance(_outcome(arm.read), DeviceLost))


def test_a_joint_that_measures_nothing_is_a_lost_arm():
    with running("forward") as (controller, arm, _):
        controller.tell("nan bend")
        assert "silent" in str(fault_of(arm.read))


def test_a_controller_that_is_switched_off_is_named():
    with running("forward") as (controller, arm, _):
        controller.tell("leave")
        assert "controller 'arm_controller' is not there" in str(fault_of(lambda: arm.send(np.zeros(3))))


def test_a_killed_controller_manager_is_a_lost_arm():
    with running("forward") as (controller, arm, _):
        controller.end()
        assert fault_of(arm.read)


def test_without_a_robot_the_choice_of_topic_and_domain_is_in_doubt(monkeypatch):
    monkeypatch.setattr(ros2_control, "CONNECT_S", 0.2)
    with pytest.raises(DeviceLost, match="does not report lift, bend, turn, finger_joint; it reports: nothing"):
        devices.open_arm(cell_of("forward"))


def test_a_joint_that_is_not_there_is_named_with_those_that_are(monkeypatch):
    monkeypatch.setattr(ros2_control, "CONNECT_S", 3.0)
    controller = Controller("forward")
    gripper = Ros2ControlGripper(
        controller="gripper_position_controller", joint="thumb", closed_position=0.0, open_position=1.0
    )
    try:
        with pytest.raises(DeviceLost, match="not report thumb; it reports: bend, finger_joint, lift, turn"):
            devices.open_arm(cell_of("forward", gripper=gripper))
    finally:
        controller.end()


@pytest.mark.skipif(importlib.util.find_spec("control_msgs") is not None, reason="control_msgs is installed")
def test_the_action_without_its_messages_says_what_to_install():
    with pytest.raises(BadInput, match="control_msgs"):
        devices.open_arm(cell_of("trajectory", controller=TrajectoryController(by_action=True)))


def test_a_command_is_one_point_from_its_arrival_on():
    message = ros2_control.trajectory(["a", "b"], [0.5, -0.5], 0.02)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
    [point] = message.points
    assert list(point.positions) == [0.5, -0.5]
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 20_000_000)
    assert not list(point.velocities)


def _outcome(call):
    try:
        return call()
    except DeviceLost as lost:
        return lost
