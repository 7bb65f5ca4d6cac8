"""A board of another size than said is found by the robot's own travel, and refused also where no residual shows it."""

from pathlib import Path

import numpy as np
import pytest
import synthetic

from calibration import board_scale, hand_eye
from calibration.calibrate_hand_eye import CalibrateHandEye, gates
from calibration.hand_eye import HandEyeView, Mounting
from hardware.board import CharucoBoard
from hardware.spatial import Pose

CONFIG = CalibrateHandEye(views=Path("views.json"))


def printed(stops: list[HandEyeView], scale: float) -> list[HandEyeView]:
    """What the camera believes of a board that is `scale` times as large as it was told."""
    return [HandEyeView(stop.name, stop.T_base_tool, nearer(stop.T_cam_board, scale)) for stop in stops]


def nearer(T_cam_board: Pose, scale: float) -> Pose:
    return Pose.from_parts("cam", "board", T_cam_board.rotation, T_cam_board.translation_m / scale)


def failures(stops: list[HandEyeView], mounting: Mounting) -> dict[str, str]:
    solved = hand_eye.solve(stops, mounting)
    found = gates(CONFIG, solved, stops, board_scale.measure(solved, stops))
    return {gate.name: gate.advice for gate in found if not gate.passed}


@pytest.mark.parametrize("mounting", ["eye_in_hand", "eye_to_hand"])
@pytest.mark.parametrize("scale", [0.96, 1.0, 1.04])
def test_the_size_of_the_print_comes_back_and_a_wrong_one_is_refused(mounting: Mounting, scale: float) -> None:
    """Four per cent leave 2 to 3 mm at the board, which the gate on its place (3 mm) lets through."""
    stops = printed(synthetic.stops(15, CharucoBoard(), 0, mounting), scale)
    solved = hand_eye.solve(stops, mounting)
    found = board_scale.measure(solved, stops)
    assert found.value == pytest.approx(scale, abs=4 * found.deviation)
    assert found.deviation < 0.002
    failed = failures(stops, mounting)
    assert list(failed) == ([] if scale == 1 else ["board's size by the robot's travel, off by"])
    assert all("measure a square of the print" in advice for advice in failed.values())


def test_views_from_one_distance_straight_ahead_cannot_tell_the_size_and_are_refused() -> None:
    """The camera circles the board's centre: T_tool_cam takes 4 % up, and every residual is as without."""
    rng, stops = np.random.default_rng(0), []
    for number in range(15):
        turn = rng.uniform(-0.6, 0.6, 3)
        facing = Pose.exp("cam", "board", np.array([0, 0, 0, np.pi, 0, 0])).rotation
        tilt = Pose.exp("cam", "cam", np.append(np.zeros(3), turn)).rotation
        T_cam_board = Pose.from_parts("cam", "board", tilt @ facing, np.array([0, 0, 0.4]) + rng.normal(0, 2e-4, 3))
        T_base_tool = synthetic.T_BASE_BOARD @ T_cam_board.inverse() @ synthetic.T_TOOL_CAM.inverse()
        seen = Pose.from_parts("cam", "board", T_cam_board.rotation, T_cam_board.translation_m / 1.04)
        wobble = Pose.exp("tool", "tool", rng.normal(0, 1, 6) * np.repeat([2e-4, 2e-4], 3))
        stops.append(HandEyeView(f"stop {number}", T_base_tool @ wobble, seen))
    solved = hand_eye.solve(stops, "eye_in_hand")
    assert solved.held_out_mm < 0.6
    assert solved.X.distance_to(synthetic.T_TOOL_CAM)[0] > 0.01  # and wrong by 15 mm
    failed = failures(stops, "eye_in_hand")
    assert "from farther away" in failed["deviation of that size"]
