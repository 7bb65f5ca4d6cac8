"""A finished run in, one `report.html` out that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vla import report_page
from vla.fast_tokens import FastReport
from vla.held_out import Score, Trace
from vla.policy import Interface
from vla.report_page import picture, table
from vla.training_state import Point

MOST_COLUMNS = 3


def write(
    file: Path,
    facts: Sequence[tuple[str, str]],
    curve: Sequence[Point],
    score: Score,
    trace: Trace,
    tokens: FastReport,
    interface: Interface,
) -> None:
    """`facts` is a table of what was run, in words."""
    errors = zip(interface.action_names, score.error_by_action.tolist(), strict=True)
    parts = [
        table(facts),
        "<h2>Learning</h2>",
        picture(learning(curve)) if curve else "<p>No evaluation was made.</p>",
        "<h2>Open loop, one held-out episode</h2>",
        "<p>Chunks predicted one behind the other from demonstrated observations.</p>",
        picture(open_loop(trace, interface.action_names)),
        "<h2>Mean absolute action error</h2>",
        table([(name, f"{value:.4g}") for name, value in errors]),
        "<h2>Action tokens</h2>",
        table(
            [
                ("tokens per chunk", f"{tokens.tokens_mean:.1f} (at most {tokens.tokens_most})"),
                ("compression", f"{tokens.values_per_token:.1f} values per token"),
                ("round-trip RMS error", f"{tokens.rms_error:.4f} (bound {tokens.rms_bound:.4f}), normalised"),
                ("clipped coefficients", f"{tokens.clipped_share:.2%}"),
                ("speed", f"encode {tokens.encode_per_s:,.0f}, decode {tokens.decode_per_s:,.0f} chunks/s"),
            ]
        ),
    ]
    report_page.write(file, "SFT", "Supervised fine-tuning", parts)


def learning(curve: Sequence[Point]) -> Figure:
    steps = [point.step for point in curve]
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [point.train_loss for point in curve], label="training")
    left.plot(steps, [point.held_out_loss for point in curve], label="held out (averaged weights)")
    left.set(xlabel="step", ylabel="loss")
    left.legend()
    right.plot(steps, [point.open_loop_error for point in curve], color="tab:red")
    right.set(xlabel="step", ylabel="open-loop error", ylim=(0, None))
    return figure


def open_loop(trace: Trace, names: Sequence[str]) -> Figure:
    """Demonstrated and predicted, one axis for each action."""
    rows = -(-len(names) // MOST_COLUMNS)
    figure = Figure(figsize=(9, 2 * rows), layout="constrained")
    axes = figure.subplots(rows, min(len(names), MOST_COLUMNS), squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for column, (name, axis) in enumerate(zip(names, axes, strict=False)):
        axis.plot(trace.demonstrated[:, column], label="demonstrated")
        axis.plot(trace.predicted[:, column], label="predicted")
        axis.set_title(name, fontsize=9)
    axes[0].legend(fontsize=8)
    return figure
