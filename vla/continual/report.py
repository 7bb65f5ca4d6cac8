"""What was known after each stage in, one `report.html` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from numpy import ndarray

from vla import report_page
from vla.intervals import wilson

WORDS = {
    "fwt": "FWT, success right after a task was learned",
    "nbt": "NBT, what later stages lost of it",
    "auc": "AUC, mean success since a task was learned",
}


def write(
    file: Path,
    facts: Sequence[tuple[str, str]],
    tasks: Sequence[str],
    rates: Float[ndarray, "Q K"],
    trials: Int[ndarray, "Q K"],
    summary: Mapping[str, Any],
) -> None:
    scores = [
        (words, f"{summary['scores'][name]:.3f}", "95 %: {:.3f} … {:.3f}".format(*summary["intervals_95"][name]))
        for name, words in WORDS.items()
    ]
    heads = ("after stage", *map(str, range(len(rates))))
    rows = [
        (task, *(cell(rate, count) for rate, count in zip(*each, strict=True)))
        for task, *each in zip(tasks, rates.T.tolist(), trials.T.tolist(), strict=True)
    ]
    parts = [
        report_page.table(facts),
        "<h2>Scores</h2>",
        report_page.table(scores),
        "<h2>Success by stage</h2>",
        report_page.table([heads, *rows]),
        report_page.picture(curves(tasks, rates, trials)),
    ]
    report_page.write(file, "Continual learning", "One task after another", parts)


def cell(rate: float, trials: int) -> str:
    return f"{rate:.0%} of {trials}" if trials else "–"


def curves(tasks: Sequence[str], rates: Float[ndarray, "Q K"], trials: Int[ndarray, "Q K"]) -> Figure:
    """With Wilson's 95 % intervals."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axis = figure.subplots()
    stages = np.arange(len(rates))
    for column, task in enumerate(tasks):
        rate, count = rates[:, column], trials[:, column]
        low, high = wilson(np.rint(np.nan_to_num(rate) * count), count)
        known = count > 0
        [line] = axis.plot(stages[known], rate[known], marker="o", markersize=3, label=task)
        axis.fill_between(stages[known], low[known], high[known], color=line.get_color(), alpha=0.1)
    axis.set(xlabel="stage", ylabel="success", ylim=(-0.02, 1.02), xticks=stages)
    axis.legend(fontsize=7, ncols=2)
    return figure
