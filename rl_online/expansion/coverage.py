"""Starts of demonstrations and tries in; a map of where they are against where the robot must work out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from rl_online.starts.regions import PartName, Polygon, Region

LOOKS = {
    "success": ("tab:blue", "o"),
    "failure": ("tab:orange", "x"),
    "unreachable": ("0.4", "+"),
    "solved": ("0.7", "."),
}


def draw(
    file: Path,
    regions: Sequence[tuple[PartName, Region]],
    goal: TaskStart,
    given: Sequence[TaskStart],
    tried: Mapping[str, Sequence[TaskStart]],
    title: str,
) -> None:
    """`tried` by result; y points left, as the robot looks."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    panel = figure.subplots()
    for name, region in regions:
        corners = region.outline_m if isinstance(region, Polygon) else _corners(region)
        x, y = np.array([*corners, corners[0]]).T
        panel.fill(y, x, color="0.93")
        panel.plot(y, x, color="0.5", linewidth=0.8)
        panel.annotate(f"{name}: {region.name}", (y.max(), x.max()), fontsize=7)
    if given:
        at = np.array([(start.y_m, start.x_m) for start in given]).T
        panel.plot(*at, "s", color="black", markersize=5, label=f"given ({len(given)})")
    for result, (colour, marker) in LOOKS.items():
        starts = tried.get(result, ())
        if not starts and (result == "solved" or result not in tried):
            continue
        xs, ys = [start.x_m for start in starts], [start.y_m for start in starts]
        panel.plot(ys, xs, marker, color=colour, markersize=4, linestyle="none", label=f"{result} ({len(starts)})")
    panel.plot([goal.y_m], [goal.x_m], "*", color="tab:green", markersize=12, label="goal")
    panel.invert_xaxis()
    panel.set_aspect("equal")
    panel.set_xlabel("y [m]")
    panel.set_ylabel("x [m]")
    panel.set_title(title, fontsize=8)
    panel.legend(fontsize=7)
    with artefact.staged_file(file) as staged:
        figure.savefig(staged, dpi=130)


def _corners(region: Region) -> tuple[tuple[float, float], ...]:
    (x0, y0), (x1, y1) = region.lower_m, region.upper_m
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
