"""A finished run of reinforcement fine-tuning in, one `report.html` out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vla import report_page
from vla.held_out import Trace
from vla.policy import Interface
from vla.rft.training import RftPoint
from vla.sft.report import open_loop


def write(
    file: Path, facts: Sequence[tuple[str, str]], curve: Sequence[RftPoint], trace: Trace, interface: Interface
) -> None:
    """`facts` is a table of what was run, in words."""
    parts = [
        report_page.table(facts),
        "<h2>On held-out episodes</h2>",
        "<p>Rewards of sampled chunks; the error of the chunks that each voice acts with.</p>",
        report_page.picture(learning(curve)),
        "<h2>Open loop, one held-out episode</h2>",
        "<p>Chunks predicted one behind the other from demonstrated observations.</p>",
        report_page.picture(open_loop(trace, interface.action_names)),
    ]
    report_page.write(file, "RFT", "Reinforcement fine-tuning", parts)


def learning(curve: Sequence[RftPoint]) -> Figure:
    """The components of the reward, and the open-loop error by voice."""
    steps = [point.step for point in curve]
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in ("reward", "qacr", "ctar", "fcr"):
        style = {"linewidth": 2.5} if name == "reward" else {"linestyle": "--"}
        left.plot(steps, [getattr(point, name) for point in curve], label=name, **style)
    left.set(xlabel="step", ylabel="held-out reward", ylim=(0, None))
    left.legend(fontsize=8)
    for voice in curve[0].open_loop_error:
        right.plot(steps, [point.open_loop_error[voice] for point in curve], label=voice)
    right.set(xlabel="step", ylabel="open-loop error", ylim=(0, None))
    right.legend(fontsize=8)
    return figure
