"""Hand-eye: the known answer comes back, bad motion and bad views are named, and real robots agree."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic

from calibration import calibrate_hand_eye, drift, hand_eye, next_view, result, views
from calibration.half_turn import HALF_TURN, half_turned
from calibration.hand_eye import Corners, HandEyeView, TooLittleMotion
from hardware.board import CharucoBoard, Chessboard
from hardware.camera_model import CameraModel
from hardware.errors import BadInput, GateFailed
from hardware.spatial import Pose, rotation_from_rotvec

DATA = Path(__file__).parents[2].parent / "shared" / "data"
BOARD = CharucoBoard()


@pytest.mark.parametrize("mounting", ["eye_in_hand", "eye_to_hand"])
@pytest.mark.parametrize("seed", range(5))
def test_the_camera_is_found_to_two_millimetres_and_a_fifth_of_a_degree(mounting, seed):
    solved = hand_eye.solve(synthetic.stops(15, BOARD, seed, mounting), mounting)
    away_m, turned_rad = solved.X.distance_to(synthetic.truth(mounting))
    assert away_m < 2e-3
    assert np.degrees(turned_rad) < 0.2
    assert solved.held_out_mm < 1.5
    assert away_m < 5e-3 * solved.deviation_mm  # the stated deviation is no idle number


def test_without_noise_it_is_exact_from_board_poses_alone():
    stops = [
        HandEyeView(view.name, view.T_base_tool, view.T_cam_board)
        for view in synthetic.stops(8, BOARD, 3, noise_px=0, robot_m=0)
    ]
    stops = [  # the robot's turning noise out as well
        HandEyeView(
            v.name, synthetic.T_BASE_BOARD @ v.T_cam_board.inverse() @ synthetic.T_TOOL_CAM.inverse(), v.T_cam_board
        )
        for v in stops
    ]
    away_m, turned_rad = hand_eye.solve(stops, "eye_in_hand").X.distance_to(synthetic.T_TOOL_CAM)
    assert away_m < 1e-7
    assert turned_rad < 1e-6


def test_a_view_with_a_wrong_robot_pose_is_named_and_does_not_matter():
    stops = synthetic.stops(14, BOARD, 1)
    knock = Pose.exp("tool", "tool", np.array([0.03, 0, 0, 0, 0.1, 0]))
    stops[4] = HandEyeView("stop 4", stops[4].T_base_tool @ knock, stops[4].T_cam_board, stops[4].corners)
    solved = hand_eye.solve(stops, "eye_in_hand")
    assert solved.outliers == ("stop 4",)
    assert solved.X.distance_to(synthetic.T_TOOL_CAM)[0] < 2e-3


def test_turns_about_one_axis_are_refused():
    rng, stops = np.random.default_rng(0), []
    first = synthetic.stops(1, BOARD, 0)[0]
    for number, angle in enumerate(np.linspace(-0.8, 0.8, 10)):
        turn = Pose.exp("tool", "tool", np.array([0.01 * rng.normal(), 0, 0, 0, 0, angle]))
        T_base_tool = first.T_base_tool @ turn
        T_cam_board = (T_base_tool @ synthetic.T_TOOL_CAM).inverse() @ synthetic.T_BASE_BOARD
        stops.append(HandEyeView(str(number), T_base_tool, T_cam_board))
    with pytest.raises(TooLittleMotion, match="one axis"):
        hand_eye.solve(stops, "eye_in_hand")
    still = [HandEyeView(str(n), first.T_base_tool, first.T_cam_board) for n in range(8)]
    with pytest.raises(TooLittleMotion, match="turned by"):
        hand_eye.solve(still, "eye_in_hand")
    with pytest.raises(BadInput, match="at least 5"):
        hand_eye.solve(stops[:3], "eye_in_hand")


@pytest.mark.parametrize("seed", range(4))
def test_half_turned_views_are_found(seed):
    stops = synthetic.stops(20, BOARD, seed)
    turned = np.random.default_rng(seed).random(20) < 0.4
    A, B = hand_eye.stacks(stops, "eye_in_hand")
    B = np.where(turned[:, None, None], B @ HALF_TURN, B)
    found = half_turned(A, B)
    assert (found == turned).all() or (found == ~turned).all()


def test_the_next_pose_helps_more_than_repeating_the_last():
    stops = synthetic.stops(6, BOARD, 2)
    solved = hand_eye.solve(stops, "eye_in_hand")
    T, why = next_view.of_hand_eye(solved, stops)
    A, _ = hand_eye.stacks(stops, "eye_in_hand")
    known = sum(next_view.view_information(a, solved.X.matrix, solved.Z.matrix) for a in A)

    def worst(a):
        more = known + next_view.view_information(a, solved.X.matrix, solved.Z.matrix)
        return np.linalg.eigvalsh(np.linalg.inv(more)[:6, :6])[-1]

    assert worst(T) < worst(A[-1])
    assert "turn the tool" in why


def rows(pose):
    return tuple(tuple(row) for row in pose.to_list())


def test_command_writes_a_result_that_its_check_accepts_and_a_knocked_camera_fails(tmp_path):
    for name, seed in (("first", 0), ("later", 7)):
        sights = calibrate_hand_eye.Sights(
            mounting="eye_in_hand",
            views=tuple(
                calibrate_hand_eye.Sight(T_base_tool=rows(v.T_base_tool), T_cam_board=rows(v.T_cam_board))
                for v in synthetic.stops(12, BOARD, seed)
            ),
        )
        (tmp_path / f"{name}.json").write_text(sights.model_dump_json())
    out = tmp_path / "hand_eye.json"
    assert (
        calibrate_hand_eye.calibrate(calibrate_hand_eye.CalibrateHandEye(views=tmp_path / "first.json", output=out))
        == 0
    )
    check = drift.CheckCalibration(result_file=out, views=tmp_path / "later.json")
    assert drift.measure(check) == 0
    stored = result.read(out)
    knocked = stored.answer.pose() @ Pose.exp("cam", "cam", np.array([0.01, 0, 0, 0, 0, 0.02]))
    result.write(out, stored.but(answer=result.StoredPose.of(knocked)))
    with pytest.raises(GateFailed, match="spread"):
        drift.measure(check)


# ── real robots ─────────────────────────────────────────────────────────────────────────────────────────────────

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not beside the checkout")


def matrix_of(file):
    T = np.array([float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", file.read_text())]).reshape(4, 4)
    T[:3, 3] /= 1000
    u, _, vt = np.linalg.svd(T[:3, :3])
    T[:3, :3] = u @ vt
    return T


def doosan_stops():
    folder, stops = DATA / "handeye_eye_in_hand", []
    grid = np.array([[0.03 * c, 0.03 * r, 0] for r in range(1, 5) for c in range(1, 7)])
    for file in sorted((folder / "poses").glob("pose_*.txt")):
        with np.load(folder / "poses" / f"board{file.stem}.npz") as stored:
            R, t = rotation_from_rotvec(stored["rvec"].ravel()), stored["tvec"].ravel()
        T_cam_board = Pose.from_parts("cam", "board", R, t)
        corners = Corners.of_pose(T_cam_board, grid, 899.0)
        stops.append(HandEyeView(file.stem, Pose("base", "tool", matrix_of(file)), T_cam_board, corners))
    return stops


@needs_data
def test_a_doosan_with_the_camera_in_its_hand():
    solved = hand_eye.solve(doosan_stops(), "eye_in_hand")
    assert solved.spread_mm <= 1.5
    assert np.linalg.norm(1000 * solved.X.translation_m - [-17.5, 32.1, -12]) <= 1.5


@needs_data
def test_the_check_rejects_a_transform_measured_with_a_ruler(tmp_path):
    stops = doosan_stops()
    solved = hand_eye.solve(stops, "eye_in_hand")
    ruler = Pose("tool", "cam", matrix_of(DATA / "handeye_eye_in_hand" / "handeye_T_tool_cam.txt"))
    stored = result.HandEyeResult(
        made=result.now(),
        board=BOARD,
        mounting="eye_in_hand",
        answer=result.StoredPose.of(ruler),
        board_pose=result.StoredPose.of(solved.Z),
        held_out_mm=solved.held_out_mm,
        held_out_deg=solved.held_out_deg,
        spread_mm=solved.spread_mm,
        rms_px=None,
        deviation_mm=1.0,
        deviation_deg=0.1,
    )
    file, sights = tmp_path / "ruler.json", tmp_path / "views.json"
    result.write(file, stored)
    sights.write_text(
        calibrate_hand_eye.Sights(
            mounting="eye_in_hand",
            views=tuple(
                calibrate_hand_eye.Sight(T_base_tool=rows(s.T_base_tool), T_cam_board=rows(s.T_cam_board))
                for s in stops
            ),
        ).model_dump_json()
    )
    check = drift.CheckCalibration(result_file=file, views=sights)
    with pytest.raises(GateFailed, match=r"11[23]\.?"):
        drift.measure(check)
    result.write(file, stored.but(answer=result.StoredPose.of(solved.X)))
    assert drift.measure(check) == 0


def forward_kinematics(links, q_rad):
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


@needs_data
@pytest.mark.slow
def test_a_ur3_before_a_standing_camera_whose_board_is_taken_upside_down():
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
            stops.append(
                HandEyeView(file.stem, Pose("base", "tool", forward_kinematics(links, q_rad)), T_cam_board, corners)
            )
    solved = hand_eye.solve(stops, "eye_to_hand", ambiguous_board=True)
    assert len(stops) == 40
    assert len(solved.turned) >= 10
    assert solved.spread_mm <= 15
    published = json.loads((folder / "tf_base_to_camera.json").read_text())["T_base_to_camera"]["cam1"][
        "translation_m"
    ]
    assert np.linalg.norm(solved.X.translation_m - published) < 0.03
