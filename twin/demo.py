"""`tandem bench demo`: the whole reconstruction on the simulated bench, measured against its known truth."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from hardware import artefact, gate
from hardware.bench.scan import MANIFEST, PHOTOS, TRUTH, ScanBench, scan
from hardware.bench.truth import Truth, read_truth
from hardware.config import Config, read
from hardware.gate import Gate
from hardware.spatial import Pose, rotation_from_rotvec
from twin import object_asset, push_demo, report
from twin.build import build
from twin.build_config import BuildTwin
from twin.evaluate import EvaluateTwin, Evaluation, compare
from twin.manifest import REPORT, read_twin
from twin.training_config import TrainingConfig

log = logging.getLogger(__name__)


PROMISES = (
    Gate(name="scale error", value=0, relation="<=", limit=0.5, unit="%"),
    Gate(name="camera position, median", value=0, relation="<=", limit=5, unit="mm"),
    Gate(name="camera rotation, median", value=0, relation="<=", limit=0.3, unit="°"),
    Gate(name="held-out PSNR", value=0, relation=">=", limit=28, unit="dB"),
    Gate(name="thing pushed in the twin", value=0, relation=">=", limit=10, unit="mm"),
    Gate(name="time", value=0, relation="<=", limit=8, unit="min", blocking=False),
    Gate(name="memory", value=0, relation="<=", limit=6, unit="GiB", blocking=False),
)
"""Their values are put in once they are measured."""
TRAINING = TrainingConfig(steps=3000, max_gaussians=50_000, long_side_px=640)
"""Less than the CPU preset: the whole demo takes minutes."""
GUESS_OFF_M = (0.018, -0.015, 0.01)


class DemoResult(Config):
    """What the demo measured: the limits it must hold, and how long each part took."""

    gates: tuple[Gate, ...]
    scan_seconds: float
    build_seconds: float
    evaluation: Evaluation
    contact_seconds: float
    pushed: str
    """Which thing of the twin the arm pushed, …"""
    pushed_mm: float
    """… and how far it went."""
    base_mm: float
    """The arm's base in the twin against the truth, …"""
    base_deg: float


class RunDemo(Config):
    """Films the simulated bench, builds its twin, compares it with the truth, and pushes a thing in it."""

    output: tyro.conf.Positional[Path] = Path("out/demo")
    """Folder for the scan, its truth and the twin. The same command goes on after a stop."""
    photos: int = Field(default=60, ge=8)
    """How many photos the virtual phone takes."""
    seed: int = 0
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here."""


class Filming(Config):
    """How long the scan that lies beside it took."""

    seconds: float


def demo(config: RunDemo) -> int:
    """Raises `GateFailed` when the twin is not as near to the truth as the project promises."""
    bench, twin = config.output / "bench", config.output / "twin"
    scan_seconds = timed_scan(ScanBench(output=bench, photos=config.photos, seed=config.seed))
    build(BuildTwin(scan=bench / PHOTOS, output=twin, training=TRAINING))
    evaluation = compare(EvaluateTwin(bundle=twin, reference=bench / TRUTH))
    truth = read_truth(bench / TRUTH)
    started = time.monotonic()
    push_demo.add_things(twin, guess(truth), truth.q_rad)
    pushed = push_demo.push(twin)
    contact_seconds = time.monotonic() - started
    away_m, away_rad = base_error(twin, truth)
    result = DemoResult(
        gates=promises(evaluation, scan_seconds + contact_seconds, pushed.moved_mm),
        contact_seconds=contact_seconds,
        pushed=pushed.name,
        pushed_mm=pushed.moved_mm,
        base_mm=1e3 * away_m,
        base_deg=math.degrees(away_rad),
        scan_seconds=scan_seconds,
        build_seconds=evaluation.build_seconds,
        evaluation=evaluation,
    )
    artefact.write_model(config.output / "demo.json", result)
    if config.json_file is not None:
        artefact.write_model(config.json_file, result)
    shown = report.Comparison(
        evaluation=evaluation, gates=result.gates, push=in_words(result), picture=push_demo.GIF
    )
    report.write(twin, read_twin(twin), shown)
    show(Console(), result, twin / REPORT)
    gate.check(result.gates)
    return 0


def guess(truth: Truth) -> Pose:
    """Where a person would say that the arm's base is: the true place, put off by 25 mm and 4°."""
    off = Pose.from_parts("base", "base", rotation_from_rotvec(np.array([0.0, 0.0, math.radians(4)])), GUESS_OFF_M)
    return Pose("world", "base", truth.base_board.inverse().matrix @ off.matrix)


def base_error(twin: Path, truth: Truth) -> tuple[float, float]:
    """(metres, radians) of the arm's base in the twin from where it is."""
    robot = object_asset.robot(twin)
    true = Pose("world", "base", truth.base_board.inverse().matrix)
    return (math.inf, math.inf) if robot is None else robot.pose.distance_to(true)


def in_words(result: DemoResult) -> str:
    return (
        f"The arm found its own base from a guess 25 mm and 4° off: {result.base_mm:.1f} mm and "
        f"{result.base_deg:.2f}° from the truth. What stands on the table near it became objects with contact; in "
        f"MuJoCo it pushed {result.pushed} {result.pushed_mm:.0f} mm. Every picture is drawn from Gaussians."
    )


def timed_scan(config: ScanBench) -> float:
    """Seconds that filming took; of the earlier run where the scan was there already."""
    manifest, kept = config.output / MANIFEST, config.output.parent / "filming.json"
    before = manifest.stat().st_mtime_ns if manifest.exists() else None
    started = time.monotonic()
    scan(config)
    filming = Filming(seconds=time.monotonic() - started)
    if manifest.stat().st_mtime_ns == before and kept.exists():
        return read(Filming, kept).seconds
    artefact.write_model(kept, filming)
    return filming.seconds


def promises(evaluation: Evaluation, seconds_around: float, pushed_mm: float) -> tuple[Gate, ...]:
    """What the project promises of the bench's twin. Time and memory depend on the machine, so they only warn.

    `seconds_around`: what the demo took beside the build.
    """
    cameras, pictures = evaluation.cameras, evaluation.held_out
    unknown = float("inf")
    measured = {
        "scale error": unknown if cameras is None else cameras.scale_error_percent,
        "camera position, median": unknown if cameras is None else cameras.position_median_mm,
        "camera rotation, median": unknown if cameras is None else cameras.rotation_median_deg,
        "held-out PSNR": -unknown if pictures is None else pictures.psnr_db,
        "time": (seconds_around + evaluation.build_seconds) / 60,
        "thing pushed in the twin": pushed_mm,
        "memory": evaluation.peak_memory_mb / 1024,
    }
    return tuple(
        promise.but(value=unknown if measured[promise.name] is None else measured[promise.name])
        for promise in PROMISES
    )


def show(console: Console, result: DemoResult, page: Path) -> None:
    """Each promise with what was measured."""
    table = Table("", "measured", "promised", "", title="The twin against the bench's truth", title_justify="left")
    for item in result.gates:
        unit = f" {item.unit}" if item.unit else ""
        verdict = "[green]kept[/]" if item.passed else ("[red]broken[/]" if item.blocking else "[yellow]missed[/]")
        table.add_row(item.name, f"{item.value:.3g}{unit}", f"{item.relation} {item.limit:.3g}{unit}", verdict)
    console.print(table)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
