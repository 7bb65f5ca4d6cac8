"""A reset plan in; a picture of the table out: success of each cell, its interval, S_target and the goal."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon as Patch
from matplotlib.patches import Rectangle

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from rl_online.starts.resets import CellScore, ResetPlan

MOST_COLUMNS = 4
_SMALL_PT = 6.5


def draw(file: Path, plan: ResetPlan, goal: TaskStart, title: str) -> None:
    """One panel for each slice of yaw. A thick dark border marks S_target; y points left, as the robot looks."""
    slices = list(dict.fromkeys(score.cell.yaw_rad for score in plan.scores))
    columns = min(MOST_COLUMNS, len(slices))
    rows = math.ceil(len(slices) / columns)
    figure = Figure(figsize=(4.6 * columns, 4.2 * rows + 0.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    low, high = plan.bounds
    for panel, yaw_rad in zip(panels, slices, strict=False):
        for number, score in enumerate(plan.scores):
            if score.cell.yaw_rad == yaw_rad:
                _paint(panel, score, (float(low[number]), float(high[number])), bool(plan.target[number]))
        panel.plot(goal.y_m, goal.x_m, marker="*", color="tab:blue", markersize=12, linestyle="none")
        panel.annotate("goal", (goal.y_m, goal.x_m), textcoords="offset points", xytext=(8, 4), fontsize=7)
        panel.invert_xaxis()
        panel.set_aspect("equal")
        panel.set_xlabel("y [m]")
        panel.set_ylabel("x [m]")
        ends = " … ".join(f"{math.degrees(angle):.0f}°" for angle in yaw_rad)
        panel.set_title(f"yaw {ends}", fontsize=8)
        panel.autoscale_view()
    for panel in panels[len(slices) :]:
        panel.set_visible(False)
    figure.suptitle(
        f"{title}\nsuccesses/rollouts and Wilson's 95 % bounds; framed: below τ = {plan.tau:g}", fontsize=8
    )
    with artefact.staged_file(file) as staged:
        figure.savefig(staged, dpi=130, bbox_inches="tight", pad_inches=0.1)


def _paint(panel, score: CellScore, bounds: tuple[float, float], is_target: bool) -> None:
    cell = score.cell
    (x0, y0), (x1, y1) = cell.lower_m, cell.upper_m
    colour = "0.85" if score.rollouts == 0 else _colour(score.rate)
    box = Rectangle((y0, x0), y1 - y0, x1 - x0, facecolor=colour, edgecolor="white", linewidth=0.8)
    panel.add_patch(box)
    if cell.outline_m:
        outline = Patch(
            [(y, x) for x, y in cell.outline_m], closed=True, fill=False, edgecolor="0.3", linewidth=0.8
        )
        panel.add_patch(outline)
        box.set_clip_path(Patch([(y, x) for x, y in cell.outline_m], closed=True, transform=panel.transData))
    if is_target:
        inset = 0.04 * (x1 - x0)
        panel.add_patch(
            Rectangle(
                (y0 + inset, x0 + inset), y1 - y0 - 2 * inset, x1 - x0 - 2 * inset, fill=False, edgecolor="black",
                linewidth=1.4,
            )
        )  # fmt: skip
    x_m, y_m = cell.centre_m
    text = f"{score.successes}/{score.rollouts}\n{bounds[0]:.2f}\n–{bounds[1]:.2f}"
    panel.text(y_m, x_m, text, ha="center", va="center", fontsize=_SMALL_PT)


def _colour(rate: float) -> tuple[float, float, float]:
    """Orange (0) over white to blue (1): told apart by colour-blind eyes too."""
    bad, middle, good = np.array([0.90, 0.45, 0.13]), np.array([0.97, 0.97, 0.95]), np.array([0.26, 0.55, 0.78])
    mixed = bad + (middle - bad) * 2 * rate if rate < 0.5 else middle + (good - middle) * (2 * rate - 1)
    red, green, blue = mixed.tolist()
    return red, green, blue
