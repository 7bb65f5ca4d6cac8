"""The picture of `benchmarks/twinrl.py`: the ablation, the failure maps against each other, RL in the twin, success by
robot steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.twinrl_pieces import Counts
from hardware import artefact
from vla.intervals import wilson

PARTS = ("id", "ood")
COLOURS = {"id": "tab:blue", "ood": "tab:orange"}


def draw(file: Path, found: dict[str, Any], paper: Mapping[str, tuple[int, int]]) -> None:
    """As many panels as stages were run."""
    panels = {
        "sft": lambda axes: ablation(axes, found["sft"], paper),
        "map": lambda axes: maps(axes, found["map"]),
        "twin": lambda axes: before_and_after(axes, found["twin"]),
        "robot": lambda axes: learning(axes, found["robot"]),
    }
    shown = [name for name in panels if name in found]
    figure = Figure(figsize=(4.6 * max(1, len(shown)), 3.6), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
        panels[name](axes)
    with artefact.staged_file(file) as staged:
        figure.savefig(staged, dpi=130, format="png")


def ablation(axes: Axes, rows: dict[str, Any], paper: Mapping[str, tuple[int, int]]) -> None:
    """Bars with Wilson's intervals beside the paper's."""
    for offset, part in enumerate(PARTS):
        x = np.arange(len(rows)) + 0.4 * offset - 0.2
        counts = [counts_of(row[part]) for row in rows.values()]
        rate = np.array([each.successes / each.trials for each in counts])
        axes.bar(x, 100 * rate, 0.38, color=COLOURS[part], label=f"{part}, simulated plant")
        axes.errorbar(x, 100 * rate, 100 * wilson_errors(counts), fmt="none", color="black", capsize=3)
        theirs = [np.nan if each is None else each[offset] for each in (paper.get(name) for name in rows)]
        axes.plot(x, theirs, "_", color="black", markersize=22)
    axes.set_xticks(range(len(rows)), [f"({name.replace('_', ', ')})" for name in rows], fontsize=7)
    axes.set_xlabel("twin demonstrations in (ID, OOD)\nblack line: the paper's robots")
    axes.set_ylabel("success [%]")
    axes.set_ylim(0, 105)
    axes.legend(fontsize=7)


def maps(axes: Axes, found: dict[str, Any]) -> None:
    """Every cell of the start grid by its success in the twin and on the plant."""
    rng = np.random.default_rng(0)
    for point in found["policies"]:
        x, y = (np.mean(point[side]) + rng.uniform(-0.015, 0.015) for side in ("twin", "real"))
        axes.plot(x, y, "o", color=COLOURS["id" if "(id:" in point["name"] else "ood"], alpha=0.7)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set_xlabel("success in the twin, per cell")
    axes.set_ylabel("success on the plant, per cell")


def before_and_after(axes: Axes, found: dict[str, Any]) -> None:
    """RL in the twin: success on the plant, with Wilson's intervals."""
    for offset, part in enumerate(PARTS):
        x = np.arange(2) + 0.4 * offset - 0.2
        counts = [counts_of(found[when][part]) for when in ("before", "after")]
        rate = np.array([each.successes / each.trials for each in counts])
        axes.bar(x, 100 * rate, 0.38, color=COLOURS[part], label=f"{part}, simulated plant")
        axes.errorbar(x, 100 * rate, 100 * wilson_errors(counts), fmt="none", color="black", capsize=3)
    axes.set_xticks(range(2), ["before", "after"])
    axes.set_xlabel(f"RL in the twin, from ({found['cell'].replace('_', ', ')})")
    axes.set_ylabel("success [%]")
    axes.set_ylim(0, 105)


def learning(axes: Axes, runs: dict[str, Any]) -> None:
    """Success on the plant against what the robot did: one colour for each way of learning, OOD dashed."""
    names = list(dict.fromkeys(run.split("/")[0] for run in runs))
    for run, row in runs.items():
        name, seed = run.split("/")
        for part, style in (("id", "-"), ("ood", "--")):
            counts = [counts_of(each[part]) for each in row["rounds"]]
            steps = [each["robot_steps"] / 1000 for each in row["rounds"]]
            rate = np.array([each.successes / each.trials for each in counts])
            axes.errorbar(
                steps, 100 * rate, 100 * wilson_errors(counts), linestyle=style, marker="o", markersize=3, capsize=2,
                color=f"C{names.index(name)}", label=f"{name}, {part}" if seed == runs_of(runs, name)[0] else None,
            )  # fmt: skip
    axes.set_xlabel("steps of the robot (simulated plant) [1000]")
    axes.set_ylabel("success [%]")
    axes.set_ylim(0, 105)
    axes.legend(fontsize=7, loc="center right")


def runs_of(runs: dict[str, Any], name: str) -> list[str]:
    """The seeds of a way of learning."""
    return [run.split("/")[1] for run in runs if run.split("/")[0] == name]


def counts_of(row: dict[str, Any]) -> Counts:
    return Counts(successes=row["successes"], trials=row["trials"])


def wilson_errors(counts: list[Counts]) -> np.ndarray:
    """How far Wilson's ends are below and above each rate."""
    ends = np.array([wilson(each.successes, each.trials) for each in counts], float).reshape(-1, 2)
    rate = np.array([each.successes / each.trials for each in counts])
    return np.abs(ends.T - rate)
