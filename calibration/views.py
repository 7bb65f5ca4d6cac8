"""A folder of pictures in; the board as each of them shows it, out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from calibration import board_doubt
from calibration.boards import Detection, detect
from hardware.board import Board
from hardware.errors import BadInput

log = logging.getLogger(__name__)

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
THREADS = 2


@dataclass(frozen=True, eq=False)
class BoardView:
    """One picture that shows the board."""

    name: str
    width_px: int
    height_px: int
    detection: Detection


def pictures(folder: Path) -> list[Path]:
    """Raises `BadInput` for a folder without any."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "give the folder with the pictures of the board")
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    if not found:
        raise BadInput(f"{folder} holds no picture", f"pictures end in {', '.join(sorted(PICTURES))}")
    return found


def read_picture(file: Path) -> UInt8[ndarray, "H W 3"]:
    """RGB as stored (no turn by EXIF). Raises `BadInput`."""
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if file.is_file() else None
    if bgr is None:
        raise BadInput(f"{file} is not a readable picture", "take it out, or copy it again")
    return np.ascontiguousarray(bgr[..., ::-1])


def look(board: Board, files: Iterable[Path]) -> tuple[list[BoardView], list[str]]:
    """(views, names of pictures without the board).

    Raises `BadInput` for pictures of different sizes, and where none shows the board and markers in them say why.
    """
    files = list(files)

    def one(file: Path) -> tuple[str, tuple[int, int], Detection | None]:
        rgb = read_picture(file)
        return file.name, (rgb.shape[1], rgb.shape[0]), detect(board, rgb)

    views: list[BoardView] = []
    without: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for name, size, found in pool.map(one, files):
            if found is None:
                without.append(name)
            else:
                views.append(BoardView(name, *size, found))
    sizes = {(view.width_px, view.height_px): view.name for view in views}
    if len(sizes) > 1:
        (a, first), (b, second) = list(sizes.items())[:2]
        raise BadInput(
            f"pictures of different sizes: {first} is {a[0]} × {a[1]}, {second} is {b[0]} × {b[1]}",
            "calibrate each camera and each resolution by itself",
        )
    if without:
        missed = [file for file in files if file.name in without]
        why = board_doubt.reason(board, map(read_picture, missed))
        refuse(why, not views)
        words = "" if why is None else f" ({why})"
        log.warning("no whole board in %d pictures: %s%s", len(without), ", ".join(without[:8]), words)
    return views, without


def refuse(why: str | None, all_of_them: bool) -> None:
    """Raises `BadInput` where no picture at all shows the board, and it is known why."""
    if why is not None and all_of_them:
        raise BadInput(
            f"no picture shows the board as described: {why}", "take new pictures, or describe the board"
        )


def sha256(file: Path) -> str:
    """Of the file's bytes: a result says which pictures it came from."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
