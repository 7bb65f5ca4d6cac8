"""`tandem rl report RUN`: the folder of a guided run in; one `report.html` that needs no network out."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy import ndarray
from PIL import Image

from hardware import announcement, artefact
from hardware import config as configs
from hardware.announcement import EpisodeResult
from hardware.cell import CellConfig
from hardware.config import Config
from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.manifest import read_attributes
from hardware.errors import BadInput
from rl_online.learning.replay import KEY, ReplayShape, read_segment, segments
from rl_online.learning.run_folder import DEMOS, ONLINE
from rl_online.lines import read_models
from rl_online.mining import failure_map
from rl_online.mining.mine import PLAN as MINED
from rl_online.real.coach import stored_of
from rl_online.real.config import (
    AUDIT,
    CELL,
    GATES,
    LEARNER,
    PLAN,
    RECREATED,
    SETTINGS,
    STARTS,
    GuideReal,
    Judged,
    PreparedStart,
)  # fmt: skip
from rl_online.real.gate import Gated
from rl_online.real.recreate import Recreated
from rl_online.real.session import RealFigures, figures, interventions
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.tasks import goal_of
from twin import report_page as page
from vla.intervals import wilson

REPORT, FOLDER = "report.html", "report"
BINS, LEAST = 6, 4
"""Stretches of the run's episodes in which success is counted, and the fewest episodes of one."""
FILM_PX, FILM_FRAMES = 200, 40
OUTCOMES = {"success": 1, "failure": 0, "unknown": -1}
"""As the replay has them."""


class ReportRun(Config):
    """The report of a guided run."""

    run: tyro.conf.Positional[Path]
    """What `tandem rl real` wrote. It may still be going on."""
    after: Path | None = None
    """Folder of `tandem rl mine RUN/policy`: the failure map afterwards."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class Counted(Config):
    """Successes of some episodes."""

    what: str
    successes: int
    trials: int
    interval: tuple[float, float]

    @property
    def words(self) -> str:
        low, high = self.interval
        return (
            f"{self.successes}/{self.trials} = {self.successes / max(1, self.trials):.0%} ({low:.0%} … {high:.0%})"
        )


class Composition(Config):
    """Chunks in one half of the replay."""

    half: str
    source: str
    success: int
    failure: int
    unknown: int


class ReportFigures(Config):
    """All numbers of the report."""

    run: RealFigures
    by_region: tuple[Counted, ...]
    by_stretch: tuple[Counted, ...]
    """Of the run's episodes in order, all regions together."""
    minutes: tuple[float, ...]
    """Robot minutes at the end of each stretch."""
    composition: tuple[Composition, ...]
    false_successes: Counted
    """Of what the judge called a success: how many are none by the bench's truth."""
    median_off_mm: float | None
    """Of the starts that a person or the stand-in prepared, as the looks are."""
    looks_per_reset: float | None


def report(config: ReportRun) -> int:
    """The verb."""
    run = config.run
    if not (run / SETTINGS).is_file():
        raise BadInput(f"{run} is no guided run", "tandem rl real … -o RUN")
    settings, cell = configs.read(GuideReal, run / SETTINGS), configs.read(CellConfig, run / CELL)
    results = announcement.results(run)
    if not results:
        raise BadInput(f"no episode of {run} is over yet", "wait for one")
    starts = {line.episode: line for line in read_models(run / STARTS, PreparedStart)}
    found = measure(run, settings, cell, results, starts)
    artefact.write_model(run / "report.json", found)
    if config.json_file is not None:
        artefact.write_model(config.json_file, found)
    parts = [
        heading(found, cell),
        success(found, results, starts, configs.read(ResetPlan, run / PLAN)),
        maps(run, settings, config.after),
        supervision_section(run, found),
        replay(found.composition),
        films(run, results),
    ]
    artefact.write_text(run / REPORT, page.page(f"Guided run: {cell.name}", parts))
    print(f"report: {run / REPORT}")
    return 0


def measure(
    run: Path,
    settings: GuideReal,
    cell: CellConfig,
    results: Sequence[EpisodeResult],
    starts: dict[int, PreparedStart],
) -> ReportFigures:
    plan = configs.read(ResetPlan, run / PLAN)
    regions: dict[str, list[bool]] = {}
    for result in results:
        start = starts.get(result.episode)
        place = "not recorded" if start is None else named(plan, start.cell)
        regions.setdefault(place, []).append(bool(result.success))
    stretches = stretched(np.arange(len(results)))
    spent = np.cumsum([result.duration_s for result in results]) / 60
    audit = {line.episode: line for line in read_models(run / AUDIT, Judged) if line.true_now is not None}
    judged = [line for line in audit.values() if line.judged]
    placed = [line for line in starts.values() if line.placed_by != "robot"]
    return ReportFigures(
        run=figures(settings.but(output=run), cell),
        by_region=tuple(counted(name, won) for name, won in sorted(regions.items())),
        by_stretch=tuple(
            counted(f"{own[0]} … {own[-1]}", [bool(results[n].success) for n in own]) for own in stretches
        ),
        minutes=tuple(float(spent[own[-1]]) for own in stretches),
        composition=tuple(composition(run / LEARNER)),
        false_successes=counted("judged a success, and none", [not line.true_now for line in judged]),
        median_off_mm=float(np.median([line.off_mm for line in placed])) if placed else None,
        looks_per_reset=float(np.mean([line.looks for line in placed])) if placed else None,
    )


def stretched(episodes: ndarray) -> list[ndarray]:
    """Cut into stretches of about the same length."""
    return np.array_split(episodes, max(1, min(BINS, len(episodes) // LEAST)))


def named(plan: ResetPlan, cell: int) -> str:
    """A later plan has all cells of an earlier one, in their order."""
    if cell >= len(plan.scores):
        return "elsewhere"
    of = plan.scores[cell].cell
    return f"{of.part}: {of.region}"


def counted(what: str, won: Sequence[bool]) -> Counted:
    low, high = wilson(sum(won), len(won))
    return Counted(what=what, successes=sum(won), trials=len(won), interval=(float(low), float(high)))


def composition(learner: Path) -> list[Composition]:
    """Of both halves of the replay, by who acted."""
    made = []
    for half in (DEMOS, ONLINE):
        folder = learner / half
        if not (folder / "zarr.json").is_file():
            continue
        shape = read_attributes(folder, KEY, ReplayShape)
        parts = [read_segment(segment, shape) for segment in segments(folder)]
        source = np.concatenate([part.source for part in parts]) if parts else np.zeros(0, np.int64)
        outcome = np.concatenate([part.success for part in parts]) if parts else np.zeros(0, np.int64)
        for number, name in enumerate(SOURCES):
            own = outcome[source == number]
            if len(own):
                split = {word: int((own == value).sum()) for word, value in OUTCOMES.items()}
                made.append(Composition(half=half, source=name, **split))
    return made


def heading(found: ReportFigures, cell: CellConfig) -> str:
    run = found.run
    where = "the simulated bench, which stands in for a robot" if run.simulated else "a robot"
    last = found.by_stretch[-1]
    return "".join(
        [
            f"<h1>Guided run on {cell.name}</h1>",
            page.notes(
                [f"“{cell.task}”, on {where}. Success is the learned judge's; intervals are Wilson's, 95 %."]
            ),
            page.tiles(
                [
                    (f"{last.successes}/{last.trials}", "", "successes in the last stretch of episodes"),
                    (str(run.episodes), "", "episodes"),
                    (f"{run.robot_minutes:.1f}", "min", "of robot time"),
                    (f"{run.interventions_per_episode:.2f}", "", "interventions an episode"),
                    (
                        f"{run.gates_accepted}/{run.gates_accepted + run.gates_refused}",
                        "",
                        "gated weights let through",
                    ),
                    (f"{run.false_successes}/{run.judged_successes}", "", "judged successes that are none (audit)"),
                ]
            ),
        ]
    )


def success(
    found: ReportFigures, results: Sequence[EpisodeResult], starts: dict[int, PreparedStart], plan: ResetPlan
) -> str:
    """By robot time and by region."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panel = figure.subplots()
    parts = sorted({part_of(plan, starts.get(result.episode)) for result in results})
    for number, part in enumerate(parts):
        xs, ys, lows, highs = [], [], [], []
        own = [n for n, result in enumerate(results) if part_of(plan, starts.get(result.episode)) == part]
        spent = np.cumsum([result.duration_s for result in results]) / 60
        for chunk in stretched(np.array(own)):
            one = counted(part, [bool(results[n].success) for n in chunk])
            xs.append(float(spent[chunk].mean()) + 0.03 * number)
            ys.append(one.successes / one.trials)
            lows.append(ys[-1] - one.interval[0])
            highs.append(one.interval[1] - ys[-1])
        panel.errorbar(xs, ys, (lows, highs), marker="o", capsize=3, linewidth=1.2, label=f"{part} ({len(own)})")
    minutes = sum(result.duration_s for result in results) / 60
    panel.set(xlabel="robot minutes", ylabel="success", ylim=(-0.03, 1.03), xlim=(0, max(0.1, 1.05 * minutes)))
    panel.legend(fontsize=8)
    table = page.pairs({one.what: one.words for one in found.by_region})
    stretch = page.pairs({f"episodes {one.what}": one.words for one in found.by_stretch})
    return page.section("Success", drawn(figure, "success against robot minutes"), page.columns(table, stretch))


def part_of(plan: ResetPlan, start: PreparedStart | None) -> str:
    if start is None or start.cell >= len(plan.scores):
        return "unknown"
    return plan.scores[start.cell].cell.part


def maps(run: Path, settings: GuideReal, after: Path | None) -> str:
    """In the twin before; and after, mined anew, or with the failures that joined the grid."""
    goal = goal_of(settings.world.task, settings.world.arm, run)
    later = run / PLAN if after is None else after / MINED
    folder = run / FOLDER
    failure_map.draw(folder / "before.png", configs.read(ResetPlan, settings.plan), goal, "before")
    failure_map.draw(folder / "after.png", configs.read(ResetPlan, later), goal, "after")
    words = "with the re-created failures in its counts" if after is None else f"mined anew ({after})"
    return page.section(
        "Failure maps",
        page.figure(page.picture(folder / "before.png", "failure map before"), "Before"),
        page.figure(page.picture(folder / "after.png", "failure map after"), "After", words),
    )


def supervision_section(run: Path, found: ReportFigures) -> str:
    """What watched over the run: resets, people, the judge's audit, the gate, pre-flight, re-created failures."""
    gates = read_models(run / GATES, Gated)
    rows = {
        f"after {line.after_episodes} episodes": (
            f"{'goes to the robot' if line.accepted else 'refused'}: {line.why}; twin: "
            + ", ".join(f"{part} {one.successes}/{one.trials}" for part, one in line.outcomes.items())
        )
        for line in gates
    }
    recreated = read_models(run / RECREATED, Recreated)
    agreed = sum(not line.replay_succeeded for line in recreated)
    off_mm = "–" if found.median_off_mm is None else f"{found.median_off_mm:.1f} mm (median)"
    facts = {
        "object at the start of episodes, off by vision": off_mm,
        "looks until it stood right": "–" if found.looks_per_reset is None else f"{found.looks_per_reset:.1f}",
        **resets(found.run),
        "frames in which a person or stand-in acted": f"{found.run.intervened_share:.0%}",
        "judged a success and none, by truth": found.false_successes.words,
        "chunks refused by pre-flight": str(found.run.chunks_refused),
        "failures re-created in the twin": f"{len(recreated)}, of which {agreed} fail there too when replayed",
    }
    stretches, _ = interventions(run)
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    panel = figure.subplots()
    panel.bar(range(len(stretches)), stretches, color="tab:orange")
    panel.set(xlabel="episode", ylabel="interventions")
    return page.section("Beside the robot", page.pairs(facts), drawn(figure, "interventions"), page.pairs(rows))


def resets(run: RealFigures) -> dict[str, str]:
    """Who reset the cell, and how long it took them."""
    found, who = run.resets, "the scripted stand-in" if run.simulated else "a person"
    rows = {f"resets by {who}": str(found.by_person)}
    if found.person_s is not None:
        rows[f"resets by {who}"] += f", {found.person_s:.1f} s each (median)"
    if found.by_robot or found.failed_attempts:
        rows["resets by the robot"] = (
            f"{found.by_robot}, {found.by_robot_elsewhere} of them elsewhere in the plan's cells; "
            f"{found.failed_attempts} more attempts failed; {found.backward_minutes:.1f} min of robot time"
        )
    if found.saved_minutes is not None:
        rows[f"time of {who} saved"] = f"{found.saved_minutes:.1f} min, each reset as long as one of theirs"
    return rows


def replay(parts: Sequence[Composition]) -> str:
    rows = {
        f"{one.half}: {one.source}": f"{one.success} of successes, {one.failure} of failures, {one.unknown} unknown"
        for one in parts
    }
    return page.section("Replay", page.pairs(rows), lead="Chunks by half and by who acted.")


def films(run: Path, results: Sequence[EpisodeResult]) -> str:
    """The first and the last success, the first and the last failure."""
    wanted: dict[str, EpisodeResult] = {}
    for words, success in (("success", True), ("failure", False)):
        own = [result for result in results if result.success is success]
        if own:
            wanted |= {f"first {words}": own[0], f"last {words}": own[-1]}
    shown = []
    for words, result in wanted.items():
        file = run / FOLDER / f"episode_{result.episode:04d}.gif"
        if film(run, result, file):
            shown.append(page.figure(page.moving_picture(file, words), f"{words}: episode {result.episode}"))
    return page.section("Films", page.columns(*shown)) if shown else ""


def film(run: Path, result: EpisodeResult, file: Path) -> bool:
    """The first camera of a recorded episode as a GIF; False where it was not recorded."""
    episode = stored_of(run, result)
    if episode is None or not episode.manifest.cameras:
        return False
    if file.is_file():
        return True
    camera = episode.cameras[episode.manifest.cameras[0]]
    frames = np.unique(np.linspace(0, len(episode) - 1, FILM_FRAMES).round().astype(int))
    pictures = []
    for frame in frames:
        rgb = camera.picture(int(episode.index.picture_row[frame, 0]))
        height = round(FILM_PX * rgb.shape[0] / rgb.shape[1])
        pictures.append(Image.fromarray(cv2.resize(rgb, (FILM_PX, height), interpolation=cv2.INTER_AREA)))
    with artefact.staged_file(file) as staged:
        pictures[0].save(staged, save_all=True, append_images=pictures[1:], duration=120, loop=0)
    return True


def drawn(figure: Figure, what: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(what)}">'
