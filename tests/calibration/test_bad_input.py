"""What a person meets who gives the calibration commands something that is none of it."""

import json
from pathlib import Path

import pytest

from calibration.calibrate_base import Touch, solve
from calibration.calibrate_hand_eye import load
from calibration.calibrate_time import read_stream
from hardware.board import CharucoBoard
from hardware.errors import BadInput

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
