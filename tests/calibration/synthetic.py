"""Robots, cameras and boards whose truth is known, with noise of known size."""

import numpy as np

from calibration.hand_eye import HandEyeView, Mounting
from calibration.views import BoardView
from hardware.board import Board, CharucoBoard
from hardware.camera_model import CameraModel
from hardware.spatial import Pose, rotation_from_rotvec

CAMERA = CameraModel(
    width_px=1280, height_px=720, fx_px=900.0, fy_px=900.0, cx_px=645.0, cy_px=362.0, k1=-0.12, k2=0.05, p1=1e-3
)
T_TOOL_CAM = Pose.exp("tool", "cam", np.array([-0.02, 0.03, 0.05, 0.1, -0.2, 1.5]))
T_BASE_BOARD = Pose.exp("base", "board", np.array([0.4, -0.1, 0.02, 0.02, -0.03, 0.4]))


def board_in_camera(rng: np.random.Generator, distance_m: float = 0.4, tilt_rad: float = 0.5) -> Pose:
    """T_cam_board: the board's face towards the camera, tilted and turned at random, half of its corners in view."""
    while True:
        pose = _board_in_camera(rng, distance_m, tilt_rad)
        _, inside = CAMERA.project(pose.apply(CharucoBoard().object_points(CharucoBoard().corner_ids)))
        if inside.mean() > 0.5:
            return pose


def _board_in_camera(rng: np.random.Generator, distance_m: float, tilt_rad: float) -> Pose:
    facing = rotation_from_rotvec(np.array([np.pi, 0.0, 0.0]))
    tilted = rotation_from_rotvec(np.append(rng.uniform(-tilt_rad, tilt_rad, 2), 0.0)) @ facing
    turned = tilted @ rotation_from_rotvec(np.array([0.0, 0.0, rng.uniform(-0.6, 0.6)]))
    at = np.append(rng.uniform(-0.05, 0.05, 2), distance_m + rng.uniform(-0.08, 0.08))
    return Pose.from_parts("cam", "board", turned, at)


def stops(
    count: int,
    board: Board,
    seed: int,
    mounting: Mounting = "eye_in_hand",
    noise_px: float = 0.3,
    robot_m: float = 2e-4,
) -> list[HandEyeView]:
    """Stops of a robot that repeats to `robot_m`, with the board's corners seen to `noise_px`."""
    from calibration.calibrate_hand_eye import board_pose

    rng, views = np.random.default_rng(seed), []
    T_base_cam = Pose.exp("base", "cam", np.array([0.8, 0.2, 0.5, 0.3, 2.5, 0.5]))
    T_tool_board = Pose.exp("tool", "board", np.array([0.01, 0.02, 0.04, 0.1, 0.2, 0.3]))
    for number in range(count):
        T_cam_board = board_in_camera(rng)
        if mounting == "eye_in_hand":
            T_base_tool = T_BASE_BOARD @ T_cam_board.inverse() @ T_TOOL_CAM.inverse()
        else:
            T_base_tool = T_base_cam @ T_cam_board @ T_tool_board.inverse()
        wobble = Pose.exp("tool", "tool", rng.normal(0, 1, 6) * np.repeat([robot_m, 2e-4], 3))
        seen = detection(board, T_cam_board, rng, noise_px)
        solved, corners = board_pose(CAMERA, board, seen.detection)
        views.append(HandEyeView(f"stop {number}", T_base_tool @ wobble, solved, corners))
    return views


def detection(
    board: Board, T_cam_board: Pose, rng: np.random.Generator, noise_px: float, name: str = ""
) -> BoardView:
    from calibration.boards import Detection

    pixels, inside = CAMERA.project(T_cam_board.apply(board.object_points(board.corner_ids)))
    ids = board.corner_ids[inside]
    found = Detection(ids, pixels[inside] + rng.normal(0, noise_px, (len(ids), 2)))
    return BoardView(name, CAMERA.width_px, CAMERA.height_px, found)


def truth(mounting: Mounting) -> Pose:
    """X: T_tool_cam or T_base_cam."""
    if mounting == "eye_in_hand":
        return T_TOOL_CAM
    return Pose.exp("base", "cam", np.array([0.8, 0.2, 0.5, 0.3, 2.5, 0.5]))
