"""Where no picture shows the board that was described, the person hears why: two boards, wrong squares, another one."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic
from real_sets import as_sights
from test_boards import CHARUCO, GRID, TAG, above, photograph

import tandem
from calibration import board_doubt
from calibration.boards import detect
from hardware.board import Board, CharucoBoard, Chessboard
from hardware.spatial import Pose

FAR = 1.0
TURNS_RAD = np.linspace(-0.6, 0.6, 12)


def two(board: Board) -> np.ndarray:
    """Side by side in one picture."""
    left, right = (photograph(board, above(aside_m=x, distance_m=FAR)) for x in (-0.25, 0.25))
    return np.concatenate([left[:, :320], right[:, 320:]], axis=1)


def folder_of(folder: Path, pictures: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, rgb in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
    return folder


@pytest.mark.parametrize("board", [CHARUCO, GRID, TAG])
def test_two_boards_in_one_picture_are_none_and_said(board: Board) -> None:
    assert detect(board, two(board)) is None
    assert "two boards, or one and its mirror image" in str(board_doubt.of(board, two(board)))


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (CHARUCO.but(squares_x=9), "17 of its 22 markers are seen, but not in the pattern described"),
        (CHARUCO.but(squares_x=5), "it has 0 to 11"),
        (CHARUCO.but(dictionary="DICT_4X4_100"), "no marker of DICT_4X4_100 is seen, but 17 of DICT_5X5"),
    ],
)
def test_a_board_described_wrongly_is_said(described: CharucoBoard, said: str) -> None:
    rgb = photograph(CHARUCO, above(0.2))
    assert detect(described, rgb) is None
    assert said in str(board_doubt.reason(described, [rgb, np.full_like(rgb, 110)]))


def test_nothing_is_said_of_pictures_without_markers_nor_of_plain_chessboards() -> None:
    grey = np.full((480, 640, 3), 110, np.uint8)
    assert board_doubt.reason(CHARUCO, [grey]) is None
    assert board_doubt.reason(Chessboard(), [grey]) is None


# ── the commands, as a person types them ────────────────────────────────────────────────────────────────────────


def heard(words: list[str], capfd: pytest.CaptureFixture[str], code: int) -> str:
    assert tandem.main(["calibrate", *words]) == code
    said = capfd.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("pictures", "flags", "said"),
    [
        ([photograph(CHARUCO, above(0.1 * n)) for n in range(3)], [], "3 pictures show the board, at least 6"),
        ([two(CHARUCO)] * 2, [], "two boards, or one and its mirror image"),
        ([photograph(CHARUCO, above())] * 2, ["board:charuco-board", "--board.squares-x", "9"],
         "not in the pattern described"),
    ],
)  # fmt: skip
def test_pictures_that_cannot_calibrate_a_camera_are_refused_and_nothing_is_written(
    pictures: list[np.ndarray], flags: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = folder_of(tmp_path / "pictures", pictures), tmp_path / "out.json"
    assert said in heard(["camera", str(folder), "-o", str(out), *flags], capfd, 2)
    assert not out.exists()


def views_of(file: Path, stops: list[dict]) -> Path:
    file.write_text(json.dumps({"mounting": "eye_in_hand", "views": stops}))
    return file


def too_few(file: Path) -> Path:
    file.write_text(as_sights(synthetic.stops(3, CHARUCO, 0)).model_dump_json())
    return file


def about_one_axis(file: Path) -> Path:
    here = Pose.exp("base", "tool", np.array([0.4, 0, 0.3, 0, 0, 0]))
    Ts = [here @ Pose.exp("tool", "tool", np.array([0, 0, 0, turn, 0, 0])) for turn in TURNS_RAD]
    rows = [(T, (T @ synthetic.T_TOOL_CAM).inverse() @ synthetic.T_BASE_BOARD) for T in Ts]
    return views_of(file, [{"T_base_tool": T.to_list(), "T_cam_board": seen.to_list()} for T, seen in rows])


def of_a_print_four_percent_off(file: Path) -> Path:
    stops = synthetic.stops(15, CHARUCO, 0)
    seen = [
        Pose.from_parts("cam", "board", s.T_cam_board.rotation, s.T_cam_board.translation_m / 1.04) for s in stops
    ]
    return views_of(
        file,
        [
            {"T_base_tool": stop.T_base_tool.to_list(), "T_cam_board": one.to_list()}
            for stop, one in zip(stops, seen, strict=True)
        ],
    )


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (too_few, 2, "3 views of the board, at least 5 are needed"),
        (about_one_axis, 2, "the tool only turned about one axis"),
        (of_a_print_four_percent_off, 3, "by it the board is 1.039 times as large as said: measure a square"),
    ],
)
def test_stops_that_cannot_place_a_camera_are_refused_and_nothing_is_written(
    make, code: int, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert said in heard(["hand-eye", str(make(tmp_path / "views.json")), "-o", str(out)], capfd, code)
    assert not out.exists()
