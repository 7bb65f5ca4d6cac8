"""`tandem bench demo`: the whole reconstruction on the simulated bench, measured against its known truth."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import tyro
from pydantic import Field
from rich.console import Console

from hardware import artefact, gate
from hardware.bench.scan import ScanBench
from hardware.config import Config
from hardware.gate import Gate
from twin.build import BuildTwin, build
from twin.evaluate import EvaluateTwin, Evaluation, compare

log = logging.getLogger(__name__)


class DemoResult(Config):
    """What the demo measured: the limits it must hold, and how long each part took."""

    gates: tuple[Gate, ...]
    scan_seconds: float
    build_seconds: float
    evaluation: Evaluation


class RunDemo(Config):
    """Films the simulated bench with a virtual phone, builds its twin and compares the twin with the truth."""

    output: tyro.conf.Positional[Path] = Path("out/demo")
    """Folder for the scan, its truth and the twin. The same command goes on after a stop."""
    photos: int = Field(60, ge=8)
    """How many photos the virtual phone takes."""
    seed: int = 0
    json_file: Path | None = None
    """Also write the measurements here."""


def demo(config: RunDemo) -> int:
    """Raises `GateFailed` when the twin is not as near to the truth as the project promises."""
    bench, twin = config.output / "bench", config.output / "twin"
    scan_seconds = timed_scan(ScanBench(output=bench, photos=config.photos, seed=config.seed))
    started = time.monotonic()
    build(BuildTwin(scan=bench / "scan", output=twin))
    build_seconds = time.monotonic() - started
    evaluation = compare(EvaluateTwin(bundle=twin, reference=bench / "truth.json"))
    result = DemoResult(
        gates=promises(evaluation),
        scan_seconds=scan_seconds,
        build_seconds=build_seconds,
        evaluation=evaluation,
    )
    artefact.write_model(config.output / "demo.json", result)
    if config.json_file is not None:
        artefact.write_model(config.json_file, result)
    show(Console(), result, twin / "report.html")
    gate.check(result.gates)
    return 0
