"""A run folder → how it went: success with its confidence, and what died on the way."""

from __future__ import annotations

import json
from pathlib import Path

from scipy.stats import binomtest

from hardware import announcement
from hardware.config import Config
from hardware.errors import BadInput
from hardware.execution.report import RunFigures, SeamFigures, cadence, seams
from hardware.execution.run_log import read_run

CONFIDENCE = 0.95


class RunReport(Config):
    """What `tandem up` says in the end."""

    episodes: int
    judged: int
    succeeded: int
    success_interval: tuple[float, float] | None
    """Wilson, 95 %; None: nothing was judged."""
    mean_duration_s: float | None
    deaths: dict[str, int]
    """How often each process died and was started again."""
    recorded_frames: int | None
    control: RunFigures | None
    """Cadence and seams of the executor; None: it ran for less than a second."""

    def table(self) -> str:
        rows = [("episodes", str(self.episodes))]
        if self.success_interval is not None:
            low, high = self.success_interval
            share = self.succeeded / self.judged
            rows.append(("success", f"{self.succeeded}/{self.judged} = {share:.0%} (95 %: {low:.0%} … {high:.0%})"))
        if self.mean_duration_s is not None:
            rows.append(("mean duration", f"{self.mean_duration_s:.1f} s"))
        if self.recorded_frames is not None:
            rows.append(("recorded", f"{self.recorded_frames} frames"))
        if self.control is not None:
            pace = self.control.cadence
            late = f"late p50 {pace.late_p50_ms:.2f} ms, p99 {pace.late_p99_ms:.2f} ms"
            missed = f"{pace.missed} of {pace.steps} missed"
            rows.append(("control loop", f"{pace.rate_hz:.0f} Hz, {pace.scheduler}: {late}, {missed}"))
            rows += [(f"{seam.kind} seams", _said(seam)) for seam in self.control.seams]
        if self.deaths:
            rows.append(
                ("died and came back", ", ".join(f"{name} {times}×" for name, times in self.deaths.items()))
            )
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def report(run: Path, store: Path | None) -> RunReport:
    results = announcement.results(run)
    judged = [result.success for result in results if result.success is not None]
    interval = None
    if judged:
        found = binomtest(sum(judged), len(judged)).proportion_ci(CONFIDENCE, method="wilson")
        interval = (float(found.low), float(found.high))
    deaths: dict[str, int] = {}
    for event in map(json.loads, _lines(run / "logs" / "processes.jsonl")):
        if event["what"] == "died":
            deaths[event["name"]] = deaths.get(event["name"], 0) + 1
    return RunReport(
        episodes=len(results),
        judged=len(judged),
        succeeded=sum(judged),
        success_interval=interval,
        mean_duration_s=sum(result.duration_s for result in results) / len(results) if results else None,
        deaths=deaths,
        recorded_frames=None if store is None else _frames(store),
        control=_control(run),
    )


def _control(run: Path) -> RunFigures | None:
    try:
        log = read_run(run / "control")
        return RunFigures(cadence=cadence(log), seams=seams(log))
    except BadInput:
        return None


def _said(seam: SeamFigures) -> str:
    return (
        f"{seam.seams}: gap {seam.gap_median_rad:.4f} rad (max {seam.gap_max_rad:.4f}), "
        f"jump ≤ {seam.position_jump_max_rad:.5f} rad, jerk {seam.jerk_median_rad_s3:.0f} rad/s³"
    )


def _frames(store: Path) -> int:
    from hardware.dataset.store import EpisodeStore

    return sum(len(episode) for episode in EpisodeStore.open(store).episodes())


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
