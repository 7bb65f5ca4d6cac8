"""The log of a control loop in; how evenly it ticked and how smoothly it handed over out: HTML, PNG, JSON, a table."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from hardware.artefact import write_bytes, write_text
from hardware.config import Config
from hardware.errors import BadInput
from hardware.execution.run_log import Run, read_run

REPORT, CADENCE, SEAMS = "report.html", "cadence.png", "seams.png"
RESTART_PERIODS = 100
"""A longer pause between two control steps means that the loop was started again."""
_COLOURS = {
    "chunk": "#1b6ef3",
    "take_over": "#e4572e",
    "give_back": "#2a9d5c",
    "dry": "#b79f00",
    "stale_chunk": "#b79f00",
    "stale_human": "#8b5cf6",
    "emergency_stop": "#c1121f",
}
_OTHER_COLOUR = "#767676"
_MEASURES = {
    "max_gap_rad": "gap, rad",
    "max_position_jump_rad": "position jump, rad",
    "max_velocity_jump_rad_s": "velocity jump, rad/s",
    "max_jerk_rad_s3": "peak jerk, rad/s³",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1e; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .25rem .9rem; text-align: right;
border-bottom: 1px solid #ddd; } th:first-child, td:first-child { text-align: left; } img { max-width: 100%; }
.quiet { color: #6b6b70; }
@media (prefers-color-scheme: dark) { body { background: #161618; color: #eee; } td, th { border-color: #444; }
img { border-radius: 6px; } }
"""


class ReportCell(Config):
    """Cadence and seams of one run, from what the executor logged."""

    run: tyro.conf.Positional[Path]
    """The run's folder (the one with run.json and ticks.bin, or one above it)."""
    output: Path | None = None
    """Where report.html and its pictures go; the run's folder if not given."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the figures here."""


class Cadence(Config):
    """Of a control loop. Lateness is from the deadline to the moment that the loop woke."""

    scheduler: str
    rate_hz: float
    steps: int
    missed: int
    """Deadlines without a step, pauses between two starts left out."""
    starts: int
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    period_off_p99_ms: float
    """How far the time between two steps is from the period."""
    step_p99_ms: float
    """How long a step takes."""


class SeamFigures(Config):
    """Of all seams of one kind: the worst joint of each; median and maximum over them."""

    kind: str
    seams: int
    gap_median_rad: float
    gap_max_rad: float
    position_jump_max_rad: float
    velocity_jump_max_rad_s: float
    jerk_median_rad_s3: float
    jerk_max_rad_s3: float
    delay_median_steps: float | None


class RunFigures(Config):
    cadence: Cadence
    seams: tuple[SeamFigures, ...]


def report(config: ReportCell) -> int:
    """Raises `BadInput` when the folder holds no log, or one without a second of steps."""
    folder = find_run(config.run)
    run = read_run(folder)
    figures = RunFigures(cadence=cadence(run), seams=seams(run))
    output = config.output or folder
    pictures = {CADENCE: draw_cadence(run, figures.cadence), SEAMS: draw_seams(run)}
    for name, picture in pictures.items():
        write_bytes(output / name, picture)
    write_text(output / REPORT, page(run, figures, pictures))
    if config.json_file is not None:
        write_text(config.json_file, json.dumps(figures.model_dump(), indent=2) + "\n")
    show(figures)
    print(output / REPORT)
    return 0


def find_run(folder: Path) -> Path:
    """The folder itself, or the only one below it that holds a log."""
    below = sorted(file.parent for file in folder.rglob("ticks.bin"))
    return below[0] if len(below) == 1 else folder


def cadence(run: Run) -> Cadence:
    if len(run.ticks_ns) < run.info.rate_hz:
        raise BadInput(f"the log holds {len(run.ticks_ns)} control steps, less than a second of them")
    deadline, woke, done = run.ticks_ns.T / 1e6
    period_ms = 1000 / run.info.rate_hz
    same_start = same_starts(run)
    skipped = np.round(np.diff(deadline) / period_ms) - 1
    late_ms = woke - deadline
    return Cadence(
        scheduler=run.info.scheduler,
        rate_hz=run.info.rate_hz,
        steps=len(deadline),
        missed=int(skipped[same_start].sum()),
        starts=1 + int((~same_start).sum()),
        late_p50_ms=float(np.median(late_ms)),
        late_p99_ms=float(np.quantile(late_ms, 0.99)),
        late_max_ms=float(late_ms.max()),
        period_off_p99_ms=float(np.quantile(np.abs(np.diff(woke)[same_start] - period_ms), 0.99)),
        step_p99_ms=float(np.quantile(done - woke, 0.99)),
    )


def same_starts(run: Run) -> ndarray:
    """[N − 1] whether a step follows the one before it without a restart in between."""
    between_ns = np.diff(run.ticks_ns[:, 0])
    return (between_ns > 0) & (between_ns < RESTART_PERIODS * 1e9 / run.info.rate_hz)


def seams(run: Run) -> tuple[SeamFigures, ...]:
    found = []
    for kind in dict.fromkeys(seam["kind"] for seam in run.seams):
        of_kind = [seam for seam in run.seams if seam["kind"] == kind]
        gap, position, velocity, jerk = (np.array([seam[name] for seam in of_kind]) for name in _MEASURES)
        delays = [seam["delay_steps"] for seam in of_kind if seam["delay_steps"] is not None]
        found.append(
            SeamFigures(
                kind=kind,
                seams=len(of_kind),
                gap_median_rad=float(np.median(gap)),
                gap_max_rad=float(gap.max()),
                position_jump_max_rad=float(position.max()),
                velocity_jump_max_rad_s=float(velocity.max()),
                jerk_median_rad_s3=float(np.median(jerk)),
                jerk_max_rad_s3=float(jerk.max()),
                delay_median_steps=float(np.median(delays)) if delays else None,
            )
        )
    return tuple(found)


def running_s(run: Run) -> Float[ndarray, " N"]:
    """When each step was due, since the first, pauses between two starts left out."""
    between_s = np.where(same_starts(run), np.diff(run.ticks_ns[:, 0]) / 1e9, 0.0)
    return np.concatenate([[0.0], np.cumsum(between_s)])


def draw_cadence(run: Run, figures: Cadence) -> bytes:
    deadline, woke, _ = run.ticks_ns.T / 1e6
    late_ms = woke - deadline
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplot_mosaic([["time", "time"], ["share", "period"]])
    over_time, share, periods = axes["time"], axes["share"], axes["period"]
    over_time.plot(running_s(run), late_ms, ".", markersize=2, color="#1b6ef3")
    over_time.set(xlabel="s", title="lateness of each control step, ms")
    period_ms = np.diff(woke)[same_starts(run)]
    periods.hist(period_ms, bins=_period_bins(period_ms, 1000 / figures.rate_hz), color="#1b6ef3")
    periods.set(yscale="log", xlabel="ms", title=f"time between steps (asked: {1000 / figures.rate_hz:g} ms)")
    share.plot(np.sort(np.maximum(late_ms, 1e-3)), 1 - np.arange(len(late_ms)) / len(late_ms), color="#1b6ef3")
    marks = {"p50": figures.late_p50_ms, "p99": figures.late_p99_ms, "max": figures.late_max_ms}
    for value in marks.values():
        share.axvline(max(value, 1e-3), color=_OTHER_COLOUR, linewidth=0.8)
    said = ", ".join(f"{name} {value:.3g}" for name, value in marks.items())
    share.set(xscale="log", yscale="log", xlabel="ms", title=f"share of control steps that are later ({said} ms)")
    return _png(figure)


def _period_bins(period_ms: Float[ndarray, " N"], asked_ms: float) -> list[float]:
    widest = max(float(np.abs(period_ms - asked_ms).max(initial=0.0)), 0.05)
    return np.linspace(max(0.0, asked_ms - widest), asked_ms + widest, 81).tolist()


def draw_seams(run: Run) -> bytes:
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(len(_MEASURES), 1, sharex=True)
    kinds = dict.fromkeys(seam["kind"] for seam in run.seams)
    since_s = np.interp([seam["stamp_ns"] for seam in run.seams], run.ticks_ns[:, 0], running_s(run))
    for axis, (name, label) in zip(axes, _MEASURES.items(), strict=True):
        for kind in kinds:
            at = [index for index, seam in enumerate(run.seams) if seam["kind"] == kind]
            values = [run.seams[index][name] for index in at]
            axis.plot(since_s[at], values, "o", markersize=4, color=_COLOURS.get(kind, _OTHER_COLOUR), label=kind)
        axis.margins(y=0.15)
        axis.set_ylim(bottom=0)
        axis.set(title=f"{label}, worst joint of each seam")
    axes[-1].set(xlabel="s")
    if run.seams:
        figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=8, loc="outside lower center")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def page(run: Run, figures: RunFigures, pictures: dict[str, bytes]) -> str:
    """One file without a network."""
    title = "Control loop"
    images = [
        f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for name, data in pictures.items()
    ]
    about = f"{', '.join(run.info.joint_names)}; started {run.info.started_at} UTC"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="quiet">{html.escape(about)}</p>',
        "<h2>Cadence</h2>",
        _table(cadence_rows(figures.cadence)),
        images[0],
        "<h2>Seams</h2>",
        _table(seam_rows(figures.seams)) if figures.seams else "<p>There was none.</p>",
        '<p class="quiet">The gap is what a switch without blending would have jumped. A jump is measured on the '
        "commands: the distance of one from where the one before it was heading at constant acceleration.</p>",
        images[1],
    ]
    head = f"<meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *body = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    rest = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><tr>{head.replace('td>', 'th>')}</tr>{rest}</table>"


def cadence_rows(figures: Cadence) -> list[tuple[str, ...]]:
    """A heading and a row."""
    head = (
        "scheduler",
        "Hz",
        "steps",
        "missed",
        "starts",
        "late p50 ms",
        "p99",
        "max",
        "period off p99",
        "step p99",
    )
    measured = (
        figures.late_p50_ms,
        figures.late_p99_ms,
        figures.late_max_ms,
        figures.period_off_p99_ms,
        figures.step_p99_ms,
    )
    counted = (f"{figures.rate_hz:g}", str(figures.steps), str(figures.missed), str(figures.starts))
    return [head, (figures.scheduler, *counted, *(f"{value:.3f}" for value in measured))]


def seam_rows(figures: tuple[SeamFigures, ...]) -> list[tuple[str, ...]]:
    """A heading and a row for each kind."""
    head = (
        "seam",
        "count",
        "gap mrad",
        "(max)",
        "jump µrad",
        "velocity jump mrad/s",
        "jerk rad/s³",
        "(max)",
        "delay",
    )
    rows = [
        (
            kind.kind,
            str(kind.seams),
            f"{1e3 * kind.gap_median_rad:.1f}",
            f"{1e3 * kind.gap_max_rad:.1f}",
            f"{1e6 * kind.position_jump_max_rad:.1f}",
            f"{1e3 * kind.velocity_jump_max_rad_s:.1f}",
            f"{kind.jerk_median_rad_s3:.0f}",
            f"{kind.jerk_max_rad_s3:.0f}",
            "–" if kind.delay_median_steps is None else f"{kind.delay_median_steps:g} steps",
        )
        for kind in figures
    ]
    return [head, *rows]


def show(figures: RunFigures) -> None:
    """Upright, since a terminal is narrow: one line for each figure."""
    console = Console()
    for rows in (cadence_rows(figures.cadence), seam_rows(figures.seams)):
        table = Table()
        for name in (row[0] for row in rows):
            table.add_column(name, justify="right", no_wrap=True)
        for line in list(zip(*rows, strict=True))[1:]:
            table.add_row(*line)
        console.print(table)
