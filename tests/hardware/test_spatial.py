"""Poses: the laws of a group, agreement with SciPy, and frames that must meet."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from hardware.errors import FrameError, TandemError
from hardware.spatial import (
    Pose,
    quat_wxyz_from_rotation,
    rotation_from_quat_wxyz,
    rotation_from_rotvec,
    rotvec_from_rotation,
    skew,
)

directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)
angles = st.floats(0, math.pi) | st.floats(0, 1e-4) | st.floats(math.pi - 1e-6, math.pi) | st.just(math.pi)
twists = st.builds(
    lambda v, axis, angle: np.array([*v, *(np.array(axis) / np.linalg.norm(axis) * angle)]),
    st.tuples(*[st.floats(-5, 5)] * 3),
    directions,
    angles,
)
poses = twists.map(lambda twist: Pose.exp("a", "b", twist))


def hat(twist: np.ndarray) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, :3], matrix[:3, 3] = skew(twist[3:]), twist[:3]
    return matrix


@given(twists)
def test_exp_is_the_matrix_exponential(twist):
    np.testing.assert_allclose(Pose.exp("a", "b", twist).matrix, expm(hat(twist)), atol=1e-10)


@given(twists)
def test_log_undoes_exp(twist):
    back = Pose.exp("a", "b", twist).log()
    half_turn = abs(np.linalg.norm(twist[3:]) - math.pi) < 1e-6  # there +ω and −ω are the same rotation
    if half_turn:
        np.testing.assert_allclose(Pose.exp("a", "b", back).matrix, expm(hat(twist)), atol=1e-6)
    else:
        np.testing.assert_allclose(back, twist, atol=1e-7)


@given(poses)
def test_exp_undoes_log_at_every_angle(pose):
    np.testing.assert_allclose(Pose.exp("a", "b", pose.log()).matrix, pose.matrix, atol=1e-8)
    assert np.linalg.norm(pose.log()[3:]) <= math.pi + 1e-12


@given(poses, poses, poses)
def test_poses_are_a_group(first, second, third):
    T_a_b, T_b_c, T_c_d = first, Pose("b", "c", second.matrix), Pose("c", "d", third.matrix)
    np.testing.assert_allclose(((T_a_b @ T_b_c) @ T_c_d).matrix, (T_a_b @ (T_b_c @ T_c_d)).matrix, atol=1e-12)
    np.testing.assert_allclose((T_a_b @ T_a_b.inverse()).matrix, np.eye(4), atol=1e-12)
    inverse = (T_a_b @ T_b_c).inverse()
    np.testing.assert_allclose(inverse.matrix, (T_b_c.inverse() @ T_a_b.inverse()).matrix, atol=1e-12)
    assert (inverse.parent, inverse.child) == ("c", "a")


@given(poses, st.lists(st.tuples(*[st.floats(-10, 10)] * 3), min_size=1, max_size=5))
def test_points_go_there_and_back(pose, points):
    points = np.array(points)
    np.testing.assert_allclose(pose.inverse().apply(pose.apply(points)), points, atol=1e-12)
    np.testing.assert_allclose(pose.apply(points)[0], pose.apply(points[0]), atol=1e-12)


@given(twists)
def test_rotations_and_quaternions_are_scipys(twist):
    theirs = Rotation.from_rotvec(twist[3:])
    np.testing.assert_allclose(rotation_from_rotvec(twist[3:]), theirs.as_matrix(), atol=1e-10)
    quat = quat_wxyz_from_rotation(theirs.as_matrix())
    assert quat[0] >= 0
    assert abs(quat @ theirs.as_quat()[[3, 0, 1, 2]]) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(rotation_from_quat_wxyz(quat), theirs.as_matrix(), atol=1e-12)
    turned_back = rotation_from_rotvec(rotvec_from_rotation(theirs.as_matrix()))
    np.testing.assert_allclose(turned_back, theirs.as_matrix(), atol=1e-9)


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 1e-3), st.floats(0.01, 100))
def test_the_length_of_a_quaternion_does_not_matter(quat, factor):
    quat = np.array(quat)
    np.testing.assert_allclose(rotation_from_quat_wxyz(quat * factor), rotation_from_quat_wxyz(quat), atol=1e-12)


def test_batches_of_rotations_are_the_single_ones():
    rotations = Rotation.random(12, rng=0).as_matrix().reshape(3, 4, 3, 3)
    quats = quat_wxyz_from_rotation(rotations)
    assert quats.shape == (3, 4, 4)
    np.testing.assert_allclose(quats[2, 1], quat_wxyz_from_rotation(rotations[2, 1]), atol=1e-14)
    np.testing.assert_allclose(rotation_from_quat_wxyz(quats), rotations, atol=1e-12)


def test_a_quarter_turn_by_hand():
    # 90° about z takes x to y and y to −x; half the angle: cos 45° = sin 45° = 0.7071.
    T_base_tool = Pose.from_quat_wxyz("base", "tool", [math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(T_base_tool.apply(np.array([1.0, 0, 0])), [1, 3, 3], atol=1e-15)
    np.testing.assert_allclose(T_base_tool.apply(np.array([0.0, 1, 0])), [0, 2, 3], atol=1e-15)
    np.testing.assert_allclose(T_base_tool.quat_wxyz, [math.sqrt(0.5), 0, 0, math.sqrt(0.5)], atol=1e-15)
    # The screw of a quarter turn of radius 1: the arc's chord is (1, 1) for a twist of length π/2 along x.
    chord = Pose.exp("base", "tool", np.array([math.pi / 2, 0, 0, 0, 0, math.pi / 2])).translation_m
    np.testing.assert_allclose(chord, [1, 1, 0], atol=1e-15)


@given(poses, twists)
def test_distance_is_what_lies_between(pose, twist):
    moved = Pose("a", "b", pose.matrix @ Pose.exp("b", "b", twist).matrix)
    metres, radians = pose.distance_to(moved)
    # An angle within rounding of π comes back up to √ε off.
    assert radians == pytest.approx(np.linalg.norm(twist[3:]), abs=1e-7)
    assert metres == pytest.approx(np.linalg.norm(Pose.exp("b", "b", twist).translation_m), abs=1e-9)


def test_frames_that_do_not_meet_are_refused():
    T_base_cam, T_tool_obj = Pose.identity("base", "cam"), Pose.identity("tool", "obj")
    with pytest.raises(FrameError, match="inner frames 'cam' and 'tool' differ") as stop:
        T_base_cam @ T_tool_obj
    assert isinstance(stop.value, TandemError)
    with pytest.raises(FrameError, match="not comparable"):
        T_base_cam.distance_to(T_tool_obj)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.0, 1, -1, 1]),  # a mirror
        np.diag([1.001, 1, 1, 1]),  # a stretch
        np.full((4, 4), np.nan),
        np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.1, 1]]),
    ],
)
def test_what_is_not_rigid_is_refused(matrix):
    with pytest.raises(ValueError, match="T_a_b"):
        Pose("a", "b", matrix)


def test_a_zero_quaternion_is_refused():
    with pytest.raises(ValueError, match="no direction"):
        rotation_from_quat_wxyz(np.zeros(4))


def test_a_pose_cannot_be_changed_behind_its_back():
    matrix = np.eye(4)
    pose = Pose("a", "b", matrix)
    matrix[0, 3] = 5
    assert pose == Pose.identity("a", "b")
    assert pose != Pose.identity("a", "c")
    assert pose != "a pose"
    with pytest.raises(ValueError, match="read-only"):
        pose.matrix[0, 3] = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(pose)


def test_the_contract_types_load_without_torch_or_any_driver():
    modules = "hardware.spatial, hardware.camera_model, hardware.messages, hardware.episode, hardware.limits"
    code = (
        f"import sys, {modules}\n"
        "heavy = {'torch', 'mujoco', 'cv2', 'numba', 'lerobot', 'open3d', 'rclpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
