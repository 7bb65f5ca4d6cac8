"""Printed calibration boards as data: where each corner is in the board's frame, and the picture to print.

The board frame, the same for every kind: metres, z up out of the paper towards whoever looks at it, origin at the
board's centre, x to the right of the print, y up the print. (OpenCV's has its origin in a corner, y down, z into
the paper: the same handedness, another frame.) Corner ids are OpenCV's.

A board's size cannot be checked from pictures of one board: measure the print with a ruler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hardware.config import Config

MARKERS_IN_DICTIONARY = {
    **{f"DICT_{bits}X{bits}_{count}": count for bits in (4, 5, 6, 7) for count in (50, 100, 250, 1000)},
    "DICT_ARUCO_ORIGINAL": 1024,
    "DICT_ARUCO_MIP_36h12": 250,
    "DICT_APRILTAG_16h5": 30,
    "DICT_APRILTAG_25h9": 35,
    "DICT_APRILTAG_36h10": 2320,
    "DICT_APRILTAG_36h11": 587,
}
"""OpenCV's predefined dictionaries, by OpenCV's names."""


@dataclass(frozen=True)
class Square:
    """A square of a print, from the upper left corner of the print: to the right and down, metres."""

    left_m: float
    top_m: float
    side_m: float


class CharucoBoard(Config):
    """A chessboard with ArUco markers in its white squares. The default fits A4 (252 × 180 mm)."""

    kind: Literal["charuco"] = "charuco"
    squares_x: Annotated[int, Field(ge=3)] = 7
    """Columns of squares (black and white)."""
    squares_y: Annotated[int, Field(ge=3)] = 5
    """Rows of squares."""
    square_m: PositiveFloat = 0.036
    """Side of a chessboard square."""
    marker_m: PositiveFloat = 0.027
    """Side of a marker, its black border included."""
    dictionary: str = "DICT_5X5_100"
    """OpenCV's name of the marker dictionary."""
    legacy_pattern: bool = False
    """The pattern of OpenCV before 4.6: with an even number of rows the upper left square is white."""

    @model_validator(mode="after")
    def _consistent(self) -> CharucoBoard:
        if not self.marker_m < self.square_m:
            raise ValueError(f"marker_m {self.marker_m} must be smaller than square_m {self.square_m}")
        _require_markers(self.dictionary, len(self.markers))
        return self

    @property
    def size_m(self) -> tuple[float, float]:
        """(width along x, height along y) without the white margin."""
        return self.squares_x * self.square_m, self.squares_y * self.square_m

    @property
    def corner_ids(self) -> Int[ndarray, " N"]:
        return np.arange((self.squares_x - 1) * (self.squares_y - 1))

    def object_points(self, ids: Int[ndarray, " N"] | Sequence[int]) -> Float[ndarray, "N 3"]:
        """Inner corners of the chessboard, z = 0; id 0 is the upper left, ids run right, then down.

        Raises `ValueError` on an id that the board lacks.
        """
        row, column = np.divmod(_require_ids(ids, len(self.corner_ids)), self.squares_x - 1)
        right_and_down_m = np.stack([column + 1, row + 1], -1) * self.square_m
        return _in_board_frame(right_and_down_m, self.size_m)

    def _cells(self, parity: int) -> list[tuple[int, int]]:
        shift = self.legacy_pattern and self.squares_y % 2 == 0
        cells = [(column, row) for row in range(self.squares_y) for column in range(self.squares_x)]
        return [(column, row) for column, row in cells if (column + row + shift) % 2 == parity]

    @property
    def black_squares(self) -> list[Square]:
        return [Square(c * self.square_m, r * self.square_m, self.square_m) for c, r in self._cells(parity=0)]

    @property
    def markers(self) -> dict[int, Square]:
        """Marker id → where it is printed."""
        inset_m = (self.square_m - self.marker_m) / 2
        lefts_tops_m = [
            (c * self.square_m + inset_m, r * self.square_m + inset_m) for c, r in self._cells(parity=1)
        ]
        return {number: Square(*corner, self.marker_m) for number, corner in enumerate(lefts_tops_m)}

    def draw(self, px_per_m: float, margin_m: float = 0.0) -> UInt8[ndarray, "H W 3"]:
        """The print as rgb; row 0 is its upper edge. Add a white margin of one square for a free-lying board."""
        return _draw(self, self.black_squares, px_per_m, margin_m)


class MarkerBoard(Config):
    """A grid of ArUco markers or AprilTags; 1 × 1 is a single tag. The default is one AprilTag of 100 mm."""

    kind: Literal["markers"] = "markers"
    columns: PositiveInt = 1
    rows: PositiveInt = 1
    marker_m: PositiveFloat = 0.1
    """Side of a marker, its black border included."""
    gap_m: NonNegativeFloat = 0.025
    """White space between neighbouring markers."""
    dictionary: str = "DICT_APRILTAG_36h11"
    """OpenCV's name of the marker dictionary."""
    first_id: NonNegativeInt = 0
    """Id of the upper left marker; ids run to the right, then down."""

    @model_validator(mode="after")
    def _consistent(self) -> MarkerBoard:
        _require_markers(self.dictionary, self.first_id + self.columns * self.rows)
        return self

    @property
    def size_m(self) -> tuple[float, float]:
        """(width along x, height along y) without the white margin."""
        pitch_m = self.marker_m + self.gap_m
        return self.columns * pitch_m - self.gap_m, self.rows * pitch_m - self.gap_m

    @property
    def corner_ids(self) -> Int[ndarray, " N"]:
        return np.arange(4 * self.columns * self.rows)

    def object_points(self, ids: Int[ndarray, " N"] | Sequence[int]) -> Float[ndarray, "N 3"]:
        """Marker corners, z = 0. Id 4 m + k is the board's m-th marker's corner k, clockwise from the upper left.

        Raises `ValueError` on an id that the board lacks.
        """
        marker, corner = np.divmod(_require_ids(ids, len(self.corner_ids)), 4)
        row, column = np.divmod(marker, self.columns)
        to_corner_m = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])[corner] * self.marker_m
        right_and_down_m = np.stack([column, row], -1) * (self.marker_m + self.gap_m) + to_corner_m
        return _in_board_frame(right_and_down_m, self.size_m)

    @property
    def markers(self) -> dict[int, Square]:
        """Marker id → where it is printed."""
        pitch_m = self.marker_m + self.gap_m
        cells = [(column, row) for row in range(self.rows) for column in range(self.columns)]
        return {
            self.first_id + n: Square(c * pitch_m, r * pitch_m, self.marker_m) for n, (c, r) in enumerate(cells)
        }

    def draw(self, px_per_m: float, margin_m: float = 0.0) -> UInt8[ndarray, "H W 3"]:
        """The print as rgb; row 0 is its upper edge. It needs a white margin: a fifth of a marker or more."""
        return _draw(self, [], px_per_m, margin_m)


class Chessboard(Config):
    """A plain chessboard. Where columns and rows are both even or both odd it looks the same turned by 180°."""

    kind: Literal["chessboard"] = "chessboard"
    squares_x: Annotated[int, Field(ge=3)] = 10
    """Columns of squares: one more than the inner corners in a row."""
    squares_y: Annotated[int, Field(ge=3)] = 7
    """Rows of squares."""
    square_m: PositiveFloat = 0.025
    """Side of a square."""

    @property
    def size_m(self) -> tuple[float, float]:
        """(width along x, height along y) without the white margin."""
        return self.squares_x * self.square_m, self.squares_y * self.square_m

    @property
    def looks_the_same_turned(self) -> bool:
        """Whether a half turn about its centre brings every black square onto a black one."""
        return (self.squares_x + self.squares_y) % 2 == 0

    @property
    def corner_ids(self) -> Int[ndarray, " N"]:
        return np.arange((self.squares_x - 1) * (self.squares_y - 1))

    @property
    def markers(self) -> dict[int, Square]:
        """None: the drawing code of all boards asks."""
        return {}

    @property
    def black_squares(self) -> list[Square]:
        cells = [(column, row) for row in range(self.squares_y) for column in range(self.squares_x)]
        return [Square(c * self.square_m, r * self.square_m, self.square_m) for c, r in cells if (c + r) % 2 == 0]

    def object_points(self, ids: Int[ndarray, " N"] | Sequence[int]) -> Float[ndarray, "N 3"]:
        """Inner corners, z = 0; id 0 is the upper left (beside a black corner square), ids run right, then down.

        Raises `ValueError` on an id that the board lacks.
        """
        row, column = np.divmod(_require_ids(ids, len(self.corner_ids)), self.squares_x - 1)
        return _in_board_frame(np.stack([column + 1, row + 1], -1) * self.square_m, self.size_m)

    def draw(self, px_per_m: float, margin_m: float = 0.0) -> UInt8[ndarray, "H W 3"]:
        """The print as rgb; row 0 is its upper edge. It needs a white margin of a square."""
        return _draw(self, self.black_squares, px_per_m, margin_m)


Board = CharucoBoard | MarkerBoard | Chessboard


def _require_markers(dictionary: str, needed: int) -> None:
    if dictionary not in MARKERS_IN_DICTIONARY:
        raise ValueError(f"no marker dictionary '{dictionary}'; have: {', '.join(MARKERS_IN_DICTIONARY)}")
    if needed > MARKERS_IN_DICTIONARY[dictionary]:
        count = MARKERS_IN_DICTIONARY[dictionary]
        raise ValueError(f"the board needs {needed} markers, but {dictionary} has {count}")


def _require_ids(ids: Int[ndarray, " N"] | Sequence[int], count: int) -> Int[ndarray, " N"]:
    checked = np.asarray(ids, dtype=np.int64).reshape(-1)
    unknown = checked[(checked < 0) | (checked >= count)]
    if len(unknown):
        raise ValueError(f"no corner {unknown[0]} on this board; have: 0 … {count - 1}")
    return checked


def _in_board_frame(right_and_down_m: Float[ndarray, "N 2"], size_m: tuple[float, float]) -> Float[ndarray, "N 3"]:
    x = right_and_down_m[:, 0] - size_m[0] / 2
    y = size_m[1] / 2 - right_and_down_m[:, 1]
    return np.stack([x, y, np.zeros_like(x)], -1)


def _draw(board: Board, black: list[Square], px_per_m: float, margin_m: float) -> UInt8[ndarray, "H W 3"]:
    """Each pixel has the colour of the print at the pixel's centre."""
    import cv2  # here, so that the specification of a board loads where there is no OpenCV

    width_px, height_px = (round((side_m + 2 * margin_m) * px_per_m) for side_m in board.size_m)
    grey = np.full((height_px, width_px), 255, np.uint8)

    def pixels(start_m: float, side_m: float) -> Int[ndarray, " P"]:
        first, last = np.ceil(np.round((np.array([0.0, side_m]) + start_m + margin_m) * px_per_m - 0.5, 6))
        return np.arange(int(first), int(last))

    for square in black:
        grey[np.ix_(pixels(square.top_m, square.side_m), pixels(square.left_m, square.side_m))] = 0
    if isinstance(board, Chessboard):
        return np.repeat(grey[..., None], 3, axis=-1)
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    modules = dictionary.markerSize + 2  # the code and its black border
    for number, square in board.markers.items():
        code = dictionary.generateImageMarker(number, modules)
        rows, columns = pixels(square.top_m, square.side_m), pixels(square.left_m, square.side_m)
        module_m = square.side_m / modules
        v = ((rows + 0.5) / px_per_m - margin_m - square.top_m) / module_m
        u = ((columns + 0.5) / px_per_m - margin_m - square.left_m) / module_m
        grey[np.ix_(rows, columns)] = code[np.ix_(_cell(v, modules), _cell(u, modules))]
    return np.repeat(grey[..., None], 3, axis=-1)


def _cell(position: Float[ndarray, " P"], count: int) -> Int[ndarray, " P"]:
    return np.clip(np.floor(np.round(position, 6)), 0, count - 1).astype(np.int64)
