"""Hand-eye: the known answer comes back, bad motion and bad views are named, and real robots agree."""

import numpy as np
import pytest
import synthetic
from real_sets import (
    DOOSAN_MM,
    as_sights,
    doosan_ruler,
    doosan_stops,
    needs_data,
    stored,
    ur3_published_m,
    ur3_stops,
)

from calibration import calibrate_hand_eye, drift, hand_eye, next_view, result
from calibration.half_turn import HALF_TURN, half_turned
from calibration.hand_eye import HandEyeView, TooLittleMotion
from hardware.board import CharucoBoard
from hardware.errors import BadInput, GateFailed
from hardware.spatial import Pose

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


@needs_data
def test_a_doosan_with_the_camera_in_its_hand():
    solved = hand_eye.solve(doosan_stops(), "eye_in_hand")
    assert solved.spread_mm <= 1.5
    assert np.linalg.norm(1000 * solved.X.translation_m - DOOSAN_MM) <= 1.5


@needs_data
def test_the_check_rejects_a_transform_measured_with_a_ruler(tmp_path):
    stops = doosan_stops()
    solved = hand_eye.solve(stops, "eye_in_hand")
    file, sights = tmp_path / "ruler.json", tmp_path / "views.json"
    result.write(file, stored(solved, doosan_ruler(), BOARD))
    sights.write_text(as_sights(stops).model_dump_json())
    check = drift.CheckCalibration(result_file=file, views=sights)
    with pytest.raises(GateFailed, match=r"11[23]\.?"):
        drift.measure(check)
    result.write(file, stored(solved, solved.X, BOARD))
    assert drift.measure(check) == 0


@needs_data
@pytest.mark.slow
def test_a_ur3_before_a_standing_camera_whose_board_is_taken_upside_down():
    stops = ur3_stops()
    solved = hand_eye.solve(stops, "eye_to_hand", ambiguous_board=True)
    assert len(stops) == 40
    assert len(solved.turned) >= 10
    assert solved.spread_mm <= 15
    assert np.linalg.norm(solved.X.translation_m - ur3_published_m()) < 0.03
