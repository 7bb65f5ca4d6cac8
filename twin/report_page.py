"""Pieces of a self-contained HTML page: words, tables, pictures. Everything that comes from a file is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from hardware.gate import Gate
from twin.report_plots import number

STYLE = Path(__file__).with_name("report.css")
PICTURE_PX, PICTURE_QUALITY = 560, 86
EMPTY_ICON = "data:image/png;base64,iVBORw0KGgo="
"""Otherwise a browser asks the server for one."""


def page(title: str, parts: Iterable[str]) -> str:
    style = STYLE.read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{EMPTY_ICON}"><title>{html.escape(title)}</title><style>{style}</style>'
    )
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'


def section(title: str, *parts: str, lead: str = "") -> str:
    said = f'<p class="quiet">{html.escape(lead)}</p>' if lead else ""
    return f"<section><h2>{html.escape(title)}</h2>{said}{''.join(parts)}</section>"


def columns(*parts: str) -> str:
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'


def figure(drawing: str, title: str = "", caption: str = "") -> str:
    head = f"<h3>{html.escape(title)}</h3>" if title else ""
    tail = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{head}{drawing}{tail}</figure>"


def key(entries: Mapping[str, str]) -> str:
    """CSS class → what it means."""
    items = "".join(f'<span><i class="{kind}"></i>{html.escape(words)}</span>' for kind, words in entries.items())
    return f'<div class="key">{items}</div>'


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """(number, its unit, what it is)."""
    boxes = "".join(
        f'<div class="tile"><b>{html.escape(value)} <small>{html.escape(unit)}</small></b>'
        f"<span>{html.escape(what)}</span></div>"
        for value, unit, what in entries
    )
    return f'<div class="tiles">{boxes}</div>'


def pairs(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><td class="quiet">{html.escape(name)}</td><td>{html.escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f'<div class="scroll"><table>{cells}</table></div>'


def notes(lines: Iterable[str]) -> str:
    return "".join(f'<p class="small quiet">{html.escape(line)}</p>' for line in lines)


def gates(rows: Sequence[tuple[str, Gate]]) -> str:
    """(where it was measured, the gate). Advice is shown where it failed."""
    cells = []
    for where, gate in rows:
        verdict = "ok" if gate.passed else ("failed" if gate.blocking else "warning")
        unit = f" {gate.unit}" if gate.unit else ""
        advice = (
            "" if gate.passed or not gate.advice else f'<br><span class="small">{html.escape(gate.advice)}</span>'
        )
        relation = {">=": "≥", "<=": "≤"}[gate.relation]
        cells.append(
            f'<tr><td class="quiet">{html.escape(where)}</td><td>{html.escape(gate.name)}{advice}</td>'
            f'<td class="number">{number(gate.value)}{html.escape(unit)}</td>'
            f'<td class="number quiet">{relation} {number(gate.limit)}{html.escape(unit)}</td>'
            f'<td class="{verdict}">{"✓ " if gate.passed else "✕ "}{verdict}</td></tr>'
        )
    head = (
        '<tr><th>stage</th><th>gate</th><th class="number">measured</th><th class="number">limit</th><th></th></tr>'
    )
    return f'<div class="scroll"><table>{head}{"".join(cells)}</table></div>'


def picture(file: Path, what: str) -> str:
    """Shrunk and put into the page itself; nothing where there is no such file."""
    pixels = cv2.imread(str(file)) if file.is_file() else None
    if pixels is None:
        return ""
    shrink = min(1.0, PICTURE_PX / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else pixels
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="{html.escape(what)}" loading="lazy">'


def moving_picture(file: Path, what: str) -> str:
    """A GIF as it is, in the page itself; nothing where there is no such file."""
    if not file.is_file():
        return ""
    source = f"data:image/gif;base64,{base64.b64encode(file.read_bytes()).decode()}"
    return f'<img src="{source}" alt="{html.escape(what)}">'


def colour_scale(low: str, high: str) -> str:
    """The colours of an error map, from none to the largest error drawn."""
    ramp = cv2.applyColorMap(np.linspace(0, 255, 9).astype(np.uint8)[None], cv2.COLORMAP_INFERNO)[0, :, ::-1]
    colours = ", ".join(f"rgb({r},{g},{b})" for r, g, b in ramp)
    ends = f'<div class="scale-ends"><span>{html.escape(low)}</span><span>{html.escape(high)}</span></div>'
    return f'<div class="scale" style="background: linear-gradient(to right, {colours})"></div>{ends}'
