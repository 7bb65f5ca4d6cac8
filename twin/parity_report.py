"""A parity check as a table for the terminal, a plot and a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from hardware import artefact
from twin import report_page, tracks
from twin.parity_result import ParityResult, ScenarioDifference
from twin.parity_script import Scenario
from twin.sim.open import Engine
from twin.tracks import Played

EVENTS: dict[Scenario, str] = {
    "drop": "at rest",
    "slide": "at rest",
    "push": "first moved",
    "lift": "off the table",
}
HEADINGS = (
    "engine",
    "scenario",
    "went, mm",
    "thing, mm (end / worst)",
    "thing, ° (end / worst)",
    "tool, mm",
    "joints, °",
    "event",
    "later by, ms",
)
DPI = 110


def row(engine: str, at: ScenarioDifference) -> tuple[str, ...]:
    return (
        engine,
        at.scenario,
        f"{at.travel_mm:.1f}",
        f"{at.object_end_mm:.2f} / {at.object_worst_mm:.2f}",
        f"{at.object_end_deg:.2f} / {at.object_worst_deg:.2f}",
        f"{at.tool_worst_mm:.2f}",
        f"{at.joints_worst_deg:.2f}",
        at.event,
        "did not happen" if at.event_ms is None else f"{at.event_ms:+.1f}",
    )


def table(result: ParityResult) -> Table:
    shown = Table(
        *HEADINGS, title=f"'{result.object_name}' against {result.reference.engine}", title_justify="left"
    )
    for engine in result.engines:
        for at in engine.scenarios:
            shown.add_row(*row(engine.engine, at))
    steps = [(result.reference.engine, result.reference.step_ms)]
    steps += [(engine.engine, engine.step_ms) for engine in result.engines]
    shown.caption = "a control step of all scenarios: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in steps)
    shown.caption = "\n".join([shown.caption, *notes(result)])
    return shown


def nearer(result: ParityResult) -> str:
    return f"'{result.object_name}' starts {result.brought_nearer_mm:.0f} mm nearer to the arm than the scan saw it"


def notes(result: ParityResult) -> list[str]:
    left_out = [f"{scenario} left out: {why}" for scenario, why in result.left_out.items()]
    return [nearer(result), *left_out] if result.brought_nearer_mm else left_out


def write(folder: Path, result: ParityResult, played: Mapping[Engine, Played]) -> None:
    """parity.json, parity.png, parity.html."""
    folder.mkdir(parents=True, exist_ok=True)
    artefact.write_model(folder / "parity.json", result)
    plot(folder / "parity.png", result, played)
    rows = {
        f"{engine.engine}, {at.scenario}": ", ".join(
            f"{name} {value}" for name, value in zip(HEADINGS[2:], row("", at)[2:], strict=True)
        )
        for engine in result.engines
        for at in engine.scenarios
    }
    body = [
        f"<h1>One twin, {1 + len(result.engines)} engines</h1>",
        report_page.section(
            "Differences",
            report_page.pairs(rows),
            report_page.gates([(f"'{result.object_name}'", gate) for gate in result.gates]),
            report_page.notes(notes(result)),
            lead=f"The same actions in each; against {result.reference.engine}.",
        ),
        report_page.section("Over time", report_page.picture(folder / "parity.png", "distance over time")),
    ]
    artefact.write_text(folder / "parity.html", report_page.page("Parity of engines", body))


def plot(file: Path, result: ParityResult, played: Mapping[Engine, Played]) -> None:
    """A column for each scenario: how far the thing went in every engine, and how far they are apart."""
    from matplotlib.figure import Figure

    scenarios = [at.scenario for at in result.engines[0].scenarios]
    sheet = Figure(figsize=(3.2 * len(scenarios), 5), layout="constrained")
    axes = sheet.subplots(2, len(scenarios), squeeze=False)
    reference = played[result.reference.engine].tracks
    for number, scenario in enumerate(scenarios):
        above, below = axes[0, number], axes[1, number]
        for engine, one in played.items():
            track = one.tracks[number]
            poses = track.Ts_base_object[result.object_name]
            above.plot(track.time_s, tracks.apart_mm(poses, poses[:1].repeat(len(poses), 0)), label=engine)
            apart = tracks.apart_mm(poses, reference[number].Ts_base_object[result.object_name])
            below.plot(track.time_s, apart, label=engine)
        above.set_title(scenario)
        below.set_xlabel("time, s")
    axes[0, 0].set_ylabel("thing from its start, mm")
    axes[1, 0].set_ylabel("thing apart, mm")
    axes[0, 0].legend(fontsize="small")
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=DPI, format="png")
