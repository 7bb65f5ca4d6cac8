"""The real calibration sets that may lie beside the checkout, as the commands take them: stops, streams, photos."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from calibration import calibrate_hand_eye, calibrate_time, result, views
from calibration.hand_eye import Corners, HandEye, HandEyeView
from calibration.time_offset import PoseStream
from hardware.board import CharucoBoard, Chessboard
from hardware.camera_model import CameraModel
from hardware.spatial import Pose, rotation_from_rotvec

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not beside the checkout")
CHESSBOARD_FOCAL_PX = 535.915733961632
"""OpenCV's own, of the left photos."""
DOOSAN_MM = (-17.5, 32.1, -12.0)
"""T_tool_cam's translation, in which Tsai, Park and Horaud agree."""


def chessboard_photos(folder: Path) -> Path:
    """OpenCV's 13 left photos, linked into a folder of their own."""
    folder.mkdir()
    for file in sorted((DATA / "chessboard_stereo").glob("left[0-9]*.jpg")):
        (folder / file.name).symlink_to(file)
    return folder


def matrix_of(file: Path) -> np.ndarray:
    """4 × 4 from a text file in millimetres; its rotation made orthonormal."""
    T = np.array([float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", file.read_text())]).reshape(4, 4)
    T[:3, 3] /= 1000
    u, _, vt = np.linalg.svd(T[:3, :3])
    T[:3, :3] = u @ vt
    return T


def doosan_stops() -> list[HandEyeView]:
    folder, stops = DATA / "handeye_eye_in_hand", []
    grid = np.array([[0.03 * c, 0.03 * r, 0] for r in range(1, 5) for c in range(1, 7)])
    for file in sorted((folder / "poses").glob("pose_*.txt")):
        with np.load(folder / "poses" / f"board{file.stem}.npz") as stored:
            R, t = rotation_from_rotvec(stored["rvec"].ravel()), stored["tvec"].ravel()
        T_cam_board = Pose.from_parts("cam", "board", R, t)
        corners = Corners.of_pose(T_cam_board, grid, 899.0)
        stops.append(HandEyeView(file.stem, Pose("base", "tool", matrix_of(file)), T_cam_board, corners))
    return stops


def doosan_ruler() -> Pose:
    """The published T_tool_cam, whose translation was measured with a ruler."""
    return Pose("tool", "cam", matrix_of(DATA / "handeye_eye_in_hand" / "handeye_T_tool_cam.txt"))


def as_sights(stops: list[HandEyeView]) -> calibrate_hand_eye.Sights:
    """What `tandem calibrate check --views` reads."""
    rows = [
        {"T_base_tool": stop.T_base_tool.to_list(), "T_cam_board": stop.T_cam_board.to_list()} for stop in stops
    ]
    return calibrate_hand_eye.Sights.model_validate({"mounting": "eye_in_hand", "views": rows})


def stored(solved: HandEye, X: Pose, board: CharucoBoard) -> result.HandEyeResult:
    """A result file that claims `X`, with the residuals of `solved`."""
    return result.HandEyeResult(
        made=result.now(),
        board=board,
        mounting="eye_in_hand",
        answer=result.StoredPose.of(X),
        board_pose=result.StoredPose.of(solved.Z),
        held_out_mm=solved.held_out_mm,
        held_out_deg=solved.held_out_deg,
        spread_mm=solved.spread_mm,
        rms_px=None,
        deviation_mm=1.0,
        deviation_deg=0.1,
    )


def forward_kinematics(links: list[dict[str, float]], q_rad: np.ndarray) -> np.ndarray:
    """Standard Denavit-Hartenberg."""
    T = np.eye(4)
    for link, q in zip(links, q_rad, strict=True):
        theta, alpha = q + link["theta_offset"], link["alpha"]
        ct, st, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        T = T @ np.array(
            [
                [ct, -st * ca, st * sa, link["a"] * ct],
                [st, ct * ca, -ct * sa, link["a"] * st],
                [0, sa, ca, link["d"]],
                [0, 0, 0, 1],
            ]
        )
    return T


def ur3_stops() -> list[HandEyeView]:
    """A board that looks the same upside down, carried before a standing camera: 40 pictures."""
    folder, board = DATA / "handeye_eye_to_hand", Chessboard(squares_x=10, squares_y=8, square_m=0.02)
    links = json.loads((folder / "robot_model_dh_nominal_ur3a.json").read_text())["joints"]
    given = json.loads((folder / "intrinsics_cam1.json").read_text())
    k1, k2, p1, p2, k3 = given["distortion"]["coefficients"]
    lens = {name: given["intrinsics_K"][key] for name, key in (("fx_px", "fx"), ("fy_px", "fy"))}
    centre = {"cx_px": given["intrinsics_K"]["cx"] + 0.5, "cy_px": given["intrinsics_K"]["cy"] + 0.5}
    camera = CameraModel(width_px=1920, height_px=1080, **lens, **centre, k1=k1, k2=k2, p1=p1, p2=p2, k3=k3)
    stops = []
    for stop in json.loads((folder / "dataset_ur3a_joint_images_40poses.json").read_text())["poses"]:
        file = folder / "images" / f"img{stop['pose_id']}_cam1.jpg"
        found, _ = views.look(board, [file])
        if found:
            here = camera.scaled(found[0].width_px / camera.width_px)
            T_cam_board, corners = calibrate_hand_eye.board_pose(here, board, found[0].detection)
            q_rad = np.radians(list(stop["joint_angles_deg"].values()))
            T_base_tool = Pose("base", "tool", forward_kinematics(links, q_rad))
            stops.append(HandEyeView(file.stem, T_base_tool, T_cam_board, corners))
    return stops


def ur3_published_m() -> np.ndarray:
    """Where the camera stands by its owners, good to 1 to 3 cm."""
    file = DATA / "handeye_eye_to_hand" / "tf_base_to_camera.json"
    return np.array(json.loads(file.read_text())["T_base_to_camera"]["cam1"]["translation_m"])


def eth_streams(late_s: float, part: tuple[float, float] = (0.0, 1.0)) -> tuple[PoseStream, PoseStream]:
    """A robot's and a camera's poses, recorded; the camera's clock put `late_s` further behind on purpose.

    `part`: from and to, as shares of the recording.
    """
    folder = DATA / "pose_streams"
    robot = calibrate_time.read_stream(folder / "robot_arm_complete_bag_color_and_ir_base_link_sr300_hinge.csv")
    target = calibrate_time.read_stream(folder / "robot_arm_complete_bag_color_and_ir_target_ir.csv")
    start_s, end_s = robot.stamps_s[[0, -1]]
    low_s, high_s = (start_s + share * (end_s - start_s) for share in part)
    used = (target.stamps_s >= low_s) & (target.stamps_s <= high_s)
    return (
        PoseStream(robot.stamps_s - start_s, robot.Ts),
        PoseStream(target.stamps_s[used] - start_s - late_s, np.linalg.inv(target.Ts[used])),
    )
