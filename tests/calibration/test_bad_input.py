"""What a person meets who gives the calibration commands something that is none of it."""

import json
from pathlib import Path

import pytest
import synthetic

from calibration import hand_eye
from calibration.calibrate_base import Touch, solve
from calibration.calibrate_hand_eye import CalibrateHandEye, gates, load
from calibration.calibrate_time import read_stream
from calibration.hand_eye import HandEyeView, Mounting
from hardware.board import CharucoBoard
from hardware.errors import BadInput
from hardware.spatial import Pose

EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
STRETCHED = [[2, 0, 0, 0], *EYE[1:]]
NOT_A_NUMBER = [[float("nan"), 0, 0, 0], *EYE[1:]]


@pytest.mark.parametrize("rows", [EYE[:3], STRETCHED, NOT_A_NUMBER])
def test_a_matrix_that_is_no_pose_is_refused_with_its_view(tmp_path: Path, rows: list[list[float]]) -> None:
    good, bad = ({"T_base_tool": T, "T_cam_board": EYE} for T in (EYE, rows))
    file = tmp_path / "views.json"
    file.write_text(json.dumps({"mounting": "eye_in_hand", "views": [good, bad]}))
    with pytest.raises(BadInput, match="view 1: T_base_tool"):
        load(file, None, CharucoBoard())


@pytest.mark.parametrize("mounting", ["eye_in_hand", "eye_to_hand"])
def test_a_board_of_another_size_than_said_fails_a_gate_that_asks_for_its_size(mounting: Mounting) -> None:
    """Printed at 90 %: the camera believes the board further away than it is."""
    config = CalibrateHandEye(views=Path("views.json"))
    stops = [
        HandEyeView(stop.name, stop.T_base_tool, farther(stop.T_cam_board))
        for stop in synthetic.stops(15, CharucoBoard(), 0, mounting)
    ]
    failed = [gate for gate in gates(config, hand_eye.solve(stops, mounting), stops) if not gate.passed]
    assert "held-out place of the board" in [gate.name for gate in failed]
    assert "the board's size" in failed[0].advice


def farther(T_cam_board: Pose) -> Pose:
    return Pose.from_parts("cam", "board", T_cam_board.rotation, T_cam_board.translation_m / 0.9)


@pytest.mark.parametrize("corner", [-1, 24])
def test_a_corner_that_the_board_lacks_is_refused(corner: int) -> None:
    touches = tuple(Touch(corner=number, tip_base_m=(0, 0, 0)) for number in (0, 5, 18, corner))
    with pytest.raises(BadInput, match=rf"no corner {corner} on this board; have: 0 … 23"):
        solve(CharucoBoard(), touches, 2.0)


def test_one_corner_touched_four_times_says_nothing_about_the_board() -> None:
    with pytest.raises(BadInput, match="or are one"):
        solve(CharucoBoard(), (Touch(corner=0, tip_base_m=(0, 0, 0)),) * 4, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("0,0,0\n", "8 columns, has 3"),
        ("0,0,0,0,0,0,0,1\n1,nan,0,0,0,0,0,1\n", "row 2 is no pose"),
        ("0,0,0,0,0,0,0,0\n", "row 1 is no pose"),
    ],
)
def test_a_stream_that_holds_no_poses_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "robot.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_stream(file)
