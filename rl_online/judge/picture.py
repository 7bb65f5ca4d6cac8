"""Episodes with a judge's probabilities in; a picture out: over time, and how successes and failures part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hardware import artefact
from rl_online.judge.frames import Scored


def draw(file: Path, scored: Sequence[Scored], threshold: float, task: str) -> None:
    """Left: each episode's probability, counted back from its end. Right: moments by their label."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = {True: "tab:blue", False: "tab:orange"}
    for success, colour in colours.items():
        of_kind = [one for one in scored if one.moments.episode.success is success]
        for number, one in enumerate(of_kind):
            rate_hz = one.moments.episode.rate_hz
            before_s = -(len(one.probabilities) - 1 - np.arange(len(one.probabilities))) / rate_hz
            words = f"{'success' if success else 'failure'} ({len(of_kind)})" if number == 0 else None
            left.plot(before_s, one.probabilities, color=colour, alpha=0.5, linewidth=0.9, label=words)
    left.axhline(threshold, color="0.2", linestyle="--", linewidth=0.9, label=f"threshold {threshold:.2f}")
    left.set(xlabel="seconds before the episode's end", ylabel="p(done)", ylim=(-0.02, 1.02))
    left.legend(fontsize=7, loc="center left")
    bins = np.linspace(0, 1, 41)
    for label, (colour, words) in {1: ("tab:blue", "positive"), 0: ("tab:orange", "negative")}.items():
        values = np.concatenate([one.probabilities[one.moments.label == label] for one in scored])
        right.hist(values, bins=bins.tolist(), color=colour, alpha=0.6, label=f"{words} ({len(values)})")
    right.axvline(threshold, color="0.2", linestyle="--", linewidth=0.9)
    right.set(xlabel="p(done)", ylabel="moments", yscale="log")
    right.legend(fontsize=7)
    figure.suptitle(f"{task}: {len(scored)} episodes that were not learned from", fontsize=9)
    with artefact.staged_file(file) as staged:
        figure.savefig(staged, dpi=120)
