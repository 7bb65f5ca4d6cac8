"""`tandem calibrate board`: a board as a PDF to scale, with a ruler line that says whether it was printed so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import tyro
from fpdf import FPDF
from pydantic import Field

from hardware import artefact
from hardware.board import Board, CharucoBoard, Square
from hardware.config import Config
from hardware.errors import BadInput

log = logging.getLogger(__name__)

PAPERS_MM = {"A4": (297.0, 210.0), "A3": (420.0, 297.0), "letter": (279.4, 215.9)}
"""Landscape: width, height."""
EDGE_MM = 6.0
"""What most printers leave white."""
RULER_MM = 100.0
RULER_ROOM_MM = 12.0


class PrintBoard(Config):
    """A calibration board as a PDF. Print at 100 %, glue it flat, measure the ruler line: it must be 100 mm."""

    output: tyro.conf.Positional[Path] = Path("board.pdf")
    board: Annotated[Board, Field(discriminator="kind")] = CharucoBoard()
    paper: str = "A4"
    """A4, A3 or letter; landscape."""


def print_board(config: PrintBoard) -> int:
    """Raises `BadInput` for a board that the paper cannot hold."""
    artefact.write_bytes(config.output, pdf(config.board, config.paper))
    width, height = (1000 * side for side in config.board.size_m)
    log.info(
        "%s: %.0f × %.0f mm on %s. Print at 100 %% (no 'fit to page'), then measure the line: it must be 100 mm. "
        "If it is not, give the measured sizes (--board.square-m …) to every command",
        *(config.output, width, height, config.paper),
    )
    return 0


def pdf(board: Board, paper: str) -> bytes:
    if paper not in PAPERS_MM:
        raise BadInput(f"no paper '{paper}'; have: {', '.join(PAPERS_MM)}")
    page_mm = PAPERS_MM[paper]
    width_mm, height_mm = (1000 * side for side in board.size_m)
    room_mm = page_mm[0] - 2 * EDGE_MM, page_mm[1] - 2 * EDGE_MM - RULER_ROOM_MM
    if width_mm > room_mm[0] or height_mm > room_mm[1]:
        raise BadInput(
            f"the board is {width_mm:.0f} × {height_mm:.0f} mm; {paper} holds {room_mm[0]:.0f} × {room_mm[1]:.0f}",
            "take larger paper (--paper A3), or fewer or smaller squares",
        )
    page = FPDF(orientation="landscape", unit="mm", format=(page_mm[1], page_mm[0]))
    page.set_auto_page_break(False)
    page.add_page()
    left_mm, top_mm = (page_mm[0] - width_mm) / 2, EDGE_MM + (room_mm[1] - height_mm) / 2
    page.set_fill_color(0, 0, 0)
    for square in black_parts(board):
        page.rect(
            left_mm + 1000 * square.left_m, top_mm + 1000 * square.top_m, *2 * (1000 * square.side_m,), style="F"
        )
    ruler(page, board, page_mm)
    return bytes(page.output())


def black_parts(board: Board) -> list[Square]:
    """Chessboard squares, and every black module of the markers: exact at any printer's resolution."""
    import cv2

    parts = list(getattr(board, "black_squares", []))
    if not board.markers:
        return parts
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))  # pyright: ignore
    modules = dictionary.markerSize + 2
    for number, marker in board.markers.items():
        code, module_m = dictionary.generateImageMarker(number, modules), marker.side_m / modules
        parts += [
            Square(marker.left_m + column * module_m, marker.top_m + row * module_m, module_m)
            for row in range(modules)
            for column in range(modules)
            if code[row, column] == 0
        ]
    return parts


def ruler(page: FPDF, board: Board, page_mm: tuple[float, float]) -> None:
    """A line of 100 mm with ticks every 10, and what the board is, in words that a config takes."""
    y_mm = page_mm[1] - EDGE_MM - 4
    page.set_line_width(0.3)
    page.line(EDGE_MM, y_mm, EDGE_MM + RULER_MM, y_mm)
    for tick in range(11):
        x_mm = EDGE_MM + 10 * tick
        page.line(x_mm, y_mm - (3 if tick % 5 == 0 else 1.5), x_mm, y_mm)
    page.set_font("helvetica", size=7)
    page.text(EDGE_MM + RULER_MM + 3, y_mm, "this line is 100 mm when printed to scale")
    sizes = {key: value for key, value in board.model_dump().items() if key != "legacy_pattern"}
    page.text(EDGE_MM, y_mm + 4, "Tandem board: " + ", ".join(f"{key} {value}" for key, value in sizes.items()))
