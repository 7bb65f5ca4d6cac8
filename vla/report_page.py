"""Pieces of a training report: one HTML file that needs no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hardware import artefact

STYLE = """body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}
td,th{padding:.2rem .8rem;text-align:left}img{max-width:100%}"""


def write(file: Path, title: str, heading: str, parts: Sequence[str]) -> None:
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    artefact.write_text(file, "\n".join([head, f"<h1>{html.escape(heading)}</h1>", *parts]))


def picture(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'


def embedded(file: Path) -> str:
    """A PNG."""
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """The first cell of each row is its name."""
    lines = [
        f"<tr><th>{html.escape(row[0])}" + "".join(f"<td>{html.escape(cell)}" for cell in row[1:]) for row in rows
    ]
    return f"<table>{''.join(lines)}</table>"
