"""What goes through ROS messages comes back as it was; what is wrong is refused, or kept to be refused."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="rclpy is not installed (uv sync --extra ros)")

from builtin_interfaces.msg import Duration
from sensor_msgs.msg import JointState
from tandem_nodes import announcements, chunks, diagnostics, images, joints, stamps
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hardware.announcement import Announcement
from hardware.arm_loop import Cycle, JointCommand
from hardware.camera_model import CameraModel
from hardware.messages import ActionChunk
from hardware.ports import CameraImage, JointReading

NAMES = ("shoulder", "elbow")
NOW_NS = time.monotonic_ns()
finite = st.floats(-100, 100)
soon = st.integers(NOW_NS, NOW_NS + 3_600_000_000_000)


@given(soon)
def test_a_stamp_comes_back_to_the_nanosecond(stamp_ns: int) -> None:
    assert stamps.from_ros(stamps.to_ros(stamp_ns)) == stamp_ns


def test_a_stamp_is_the_systems_time() -> None:
    now = stamps.to_ros(time.monotonic_ns())
    assert abs(now.sec + now.nanosec * 1e-9 - time.time()) < 0.01


@given(soon, st.lists(finite, min_size=2, max_size=2), st.none() | st.floats(0, 1), st.booleans())
def test_a_command_survives_with_its_source(
    stamp_ns: int, values: list[float], gripper: float | None, has_velocity: bool
) -> None:
    q_rad = np.array(values)
    sent = JointCommand(stamp_ns, NAMES, q_rad, -q_rad if has_velocity else None, gripper, "human")
    got = joints.command(joints.from_command(sent))
    assert (got.stamp_ns, got.names, got.gripper_open, got.source) == (stamp_ns, NAMES, gripper, "human")
    np.testing.assert_array_equal(got.q_rad, q_rad)
    assert (got.dq_rad_s is None) != has_velocity


def test_a_command_with_a_missing_value_keeps_its_fault_for_the_limits() -> None:
    message = JointState(name=["shoulder", "elbow", "gripper"], position=[1.0, 2.0])
    got = joints.command(message)
    assert got.names == NAMES
    assert got.gripper_open is not None
    assert math.isnan(got.gripper_open)


def test_a_cycle_is_two_messages_and_none_is_sent_while_nothing_is() -> None:
    reading = JointReading(NOW_NS, NAMES, np.array([0.1, 0.2]), np.array([0.3, 0.4]))
    idle = Cycle(NOW_NS, "idle", reading, 0.5)
    assert joints.sent(idle) is None
    got, gripper = joints.reading(joints.measured(idle))
    assert (got.stamp_ns, got.names, gripper) == (NOW_NS, NAMES, 0.5)
    np.testing.assert_array_equal(got.dq_rad_s, reading.dq_rad_s)
    active = Cycle(NOW_NS, "active", reading, 0.5, np.array([0.11, 0.21]), 0.6, "policy")
    message = joints.sent(active)
    assert message is not None
    assert list(message.position) == [0.11, 0.21, 0.6]


@given(
    soon,
    st.integers(1, 40),
    st.sampled_from([5.0, 10.0, 20.0, 30.0, 50.0, 60.0, 100.0]),
)
@settings(deadline=None)
def test_a_chunk_survives_and_its_rows_are_due_when_they_were(start_ns: int, steps: int, rate_hz: float) -> None:
    values = np.arange(2.0 * steps).reshape(steps, 2)
    sent = ActionChunk(start_ns, rate_hz, "joint_pos_rad", NAMES, values)
    got = chunks.from_message(chunks.to_message(sent))
    assert (got.start_ns, got.names) == (start_ns, NAMES)
    assert [got.due_ns(step) for step in range(steps)] == pytest.approx(
        [sent.due_ns(step) for step in range(steps)], abs=1000
    )
    np.testing.assert_array_equal(got.values, values)


def test_an_uneven_or_incomplete_chunk_is_refused() -> None:
    def point(due_ns: int, *positions: float) -> JointTrajectoryPoint:
        return JointTrajectoryPoint(positions=list(positions), time_from_start=Duration(nanosec=due_ns))

    uneven = JointTrajectory(joint_names=["a"], points=[point(100_000_000, 0.0), point(150_000_000, 0.0)])
    with pytest.raises(ValueError, match="evenly spaced"):
        chunks.from_message(uneven)
    with pytest.raises(ValueError, match="every point needs 2 positions"):
        chunks.from_message(JointTrajectory(joint_names=["a", "b"], points=[point(100_000_000, 0.0)]))
    with pytest.raises(ValueError, match="needs points"):
        chunks.from_message(JointTrajectory(joint_names=["a"]))


def test_a_picture_survives_and_its_frame_is_the_cameras() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    message = images.to_message(CameraImage(NOW_NS, rgb), "cam_front")
    assert (message.header.frame_id, message.step) == ("cam_front", 192)
    got = images.from_message(message)
    assert got.stamp_ns == NOW_NS
    np.testing.assert_array_equal(got.rgb, rgb)


def test_a_picture_that_is_not_whole_rgb8_is_refused() -> None:
    message = images.to_message(CameraImage(NOW_NS, np.zeros((2, 2, 3), np.uint8)), "cam")
    message.encoding = "bgr8"
    with pytest.raises(ValueError, match="must be rgb8"):
        images.from_message(message)
    message.encoding, message.data = "rgb8", bytes(5)
    with pytest.raises(ValueError, match="reshape"):
        images.from_message(message)


def test_camera_info_has_opencvs_principal_point_half_a_pixel_off_ours() -> None:
    model = CameraModel(width_px=64, height_px=48, fx_px=50, fy_px=51, cx_px=32, cy_px=24, k1=0.1)
    image = images.to_message(CameraImage(NOW_NS, np.zeros((48, 64, 3), np.uint8)), "cam")
    info = images.camera_info(model, image)
    assert list(info.k) == [50, 0, 31.5, 0, 51, 23.5, 0, 0, 1]
    assert (info.d[0], info.distortion_model, info.header.stamp) == (0.1, "plumb_bob", image.header.stamp)


def test_an_announcement_survives_and_nonsense_is_refused() -> None:
    said = Announcement(stage="judged", episode=3, task="put it there", since_ns=NOW_NS, success=True)
    message = announcements.to_message(said)
    assert announcements.from_message(message) == said
    message.data = '{"stage": "dancing"}'
    with pytest.raises(ValueError, match="stage"):
        announcements.from_message(message)


def test_a_diagnosis_warns_exactly_when_there_is_a_problem() -> None:
    good, bad = diagnostics.message("arm", {"jerk": 3}), diagnostics.message("arm", {}, "emergency stop")
    assert (good.status[0].message, good.status[0].values[0].value) == ("ok", "3")
    assert bad.status[0].level > good.status[0].level
