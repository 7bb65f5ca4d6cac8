"""A comparison of twin and cell as a table for the terminal, a plot and a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from hardware import artefact
from twin import report_page, tracks
from twin.compare_result import Comparison, EpisodeComparison
from twin.fidelity import Fidelity, Interval
from twin.replay import Replay

HEADINGS = (
    "episode",
    "joints, ° (median / worst)",
    "tool, mm (median / worst)",
    "things while handled, mm",
    "pictures",
)
MOST_DRAWN = 6
DPI = 110


def cells(row: EpisodeComparison) -> tuple[str, ...]:
    things = ", ".join(
        f"{thing.name} {'not touched' if thing.handled_median_mm is None else f'{thing.handled_median_mm:.1f}'}"
        f" (end {thing.end_mm:.1f})"
        for thing in row.things
    )
    pictures = ", ".join(f"{one.name} {one.psnr_db:.1f} dB, SSIM {one.ssim:.3f}" for one in row.cameras)
    return (
        str(row.number),
        f"{row.joints_median_deg:.2f} / {row.joints_worst_deg:.2f}",
        f"{row.tool_median_mm:.2f} / {row.tool_worst_mm:.2f}",
        things or "no tracks",
        pictures or "none",
    )


def table(comparison: Comparison) -> Table:
    shown = Table(*HEADINGS, title=f"Twin in {comparison.engine} against {comparison.store}", title_justify="left")
    for row in comparison.episodes:
        shown.add_row(*cells(row))
    lines = [str(gate) for gate in comparison.gates]
    lines += [] if comparison.fidelity is None else list(in_words(comparison.fidelity).values())
    lines += [] if comparison.servos_identified else ["servos: the arm model's own; none were identified"]
    shown.caption = "\n".join(lines)
    return shown


def in_words(fidelity: Fidelity) -> dict[str, str]:
    return {
        "Pearson r": f"r {interval(fidelity.r)} over {len(fidelity.policies)} policies",
        "MMRV": f"MMRV {interval(fidelity.mmrv)}",
    }


def interval(found: Interval) -> str:
    if found.value is None:
        return "undefined: on one side all policies do alike"
    if found.low is None or found.high is None:
        return f"{found.value:.3f} (no interval: too few trials)"
    return f"{found.value:.3f} ({found.low:.3f} … {found.high:.3f})"


def write(folder: Path, comparison: Comparison, replays: Mapping[int, Replay]) -> None:
    """compare.json, compare.png, compare.html; policies.png where policies were compared."""
    folder.mkdir(parents=True, exist_ok=True)
    artefact.write_model(folder / "compare.json", comparison)
    plot(folder / "compare.png", replays)
    body = [
        "<h1>Twin against cell</h1>",
        report_page.section(
            "Limits",
            report_page.gates([(comparison.store, gate) for gate in comparison.gates]),
            lead=f"{len(comparison.episodes)} episodes replayed in {comparison.engine}.",
        ),
        report_page.section("Over time", report_page.picture(folder / "compare.png", "distances over time")),
        report_page.section("Episodes", report_page.pairs(_episode_words(comparison))),
    ]
    if comparison.fidelity is not None:
        plot_policies(folder / "policies.png", comparison.fidelity)
        drawing = report_page.picture(folder / "policies.png", "success in the cell against success in the twin")
        body.append(report_page.section("Policies", drawing, report_page.pairs(in_words(comparison.fidelity))))
    artefact.write_text(folder / "compare.html", report_page.page("Twin against cell", body))


def _episode_words(comparison: Comparison) -> dict[str, str]:
    return {
        f"episode {row.number}": ", ".join(
            f"{name} {value}" for name, value in zip(HEADINGS[1:], cells(row)[1:], strict=True)
        )
        for row in comparison.episodes
    }


def plot(file: Path, replays: Mapping[int, Replay]) -> None:
    """Joints and things apart over time, of the first episodes."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(8, 5), layout="constrained")
    joints, things = sheet.subplots(2, 1, sharex=True)
    for number, played in list(replays.items())[:MOST_DRAWN]:
        time_s = played.track.time_s
        joints.plot(time_s, np.degrees(np.abs(played.track.q_rad - played.q_rad)).max(1), label=f"episode {number}")
        for name, poses in played.Ts_base_object.items():
            apart_mm = tracks.apart_mm(poses, played.track.Ts_base_object[name])
            things.plot(time_s, apart_mm, label=f"{name}, episode {number}")
    joints.set_ylabel("worst joint apart, °")
    things.set_ylabel("thing apart, mm")
    things.set_xlabel("time, s")
    joints.legend(fontsize="x-small", ncols=3)
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=DPI, format="png")


def plot_policies(file: Path, fidelity: Fidelity) -> None:
    """One point a policy; on the diagonal the twin foretells the cell."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = sheet.subplots()
    axes.plot([0, 1], [0, 1], linewidth=0.8, color="grey")
    for policy in fidelity.policies:
        axes.plot(policy.twin_rate, policy.real_rate, "o")
        axes.annotate(policy.name, (policy.twin_rate, policy.real_rate), fontsize="x-small")
    axes.set_xlabel("success in the twin")
    axes.set_ylabel("success in the cell")
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=DPI, format="png")
