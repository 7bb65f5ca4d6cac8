"""How good a twin of a scan is, and what it costs: the simulated bench against its truth, and real phone photos.

`python benchmarks/twin.py [--quick] [--json FILE] [--output FOLDER] [--results FOLDER]`. Finished builds are reused.

The bench's cameras are compared in metres without any fit. The real scan (97 phone photos of a plush toy, with
published poses) is compared after a similarity; it is left out, with a word, where its photos are not here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from hardware.bench.scan import PHOTOS, TRUTH, ScanBench, scan
from twin.build import build
from twin.build_config import BuildTwin
from twin.demo import TRAINING
from twin.evaluate import EvaluateTwin, Evaluation, compare
from twin.training_config import TrainingConfig

ROOT = Path(__file__).parents[1]
PLUSH = ROOT.parent / "shared" / "data" / "scan_plush"
QUICK = TrainingConfig(steps=600, max_gaussians=15_000, long_side_px=400, score_every=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the bench, with few small photos")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--output", type=Path, default=Path("out/benchmarks/twin"), help="scans and twins go here")
    parser.add_argument("--results", type=Path, help="write NAME.json and NAME.png here, one per scan")
    arguments = parser.parse_args()
    print(machine.line())
    measured = {"bench_twin": bench_twin(arguments.output, arguments.quick)}
    if not arguments.quick and PLUSH.exists():
        measured["plush"] = plush(arguments.output)
    elif not PLUSH.exists():
        print(f"the real scan is left out: there is no {PLUSH.name} beside this repository")
    Console().print(table(measured))
    here = machine.describe()
    if arguments.json is not None:
        artefact.write_text(arguments.json, json.dumps(as_json(measured, here), indent=2) + "\n")
    if arguments.results is not None:
        for name, evaluation in measured.items():
            artefact.write_text(
                arguments.results / f"{name}.json",
                json.dumps(as_json({name: evaluation}, here)[name], indent=2) + "\n",
            )
            draw_curve(arguments.results / f"{name}.png", name, evaluation)


def bench_twin(output: Path, quick: bool) -> Evaluation:
    """As `make demo` builds it; quick: 24 photos of 640 × 480 and a short training."""
    folder = output / ("bench_quick" if quick else "bench")
    filmed = ScanBench(output=folder / "bench", photos=60)
    if quick:
        filmed = filmed.but(photos=24, width_px=640, height_px=480)
    scan(filmed)
    training = QUICK if quick else TRAINING
    build(BuildTwin(scan=filmed.output / PHOTOS, output=folder / "twin", training=training))
    return compare(EvaluateTwin(bundle=folder / "twin", reference=filmed.output / TRUTH))


def plush(output: Path) -> Evaluation:
    """With the CPU preset, as anybody would build it."""
    build(BuildTwin(scan=PLUSH, output=output / "plush"))
    return compare(EvaluateTwin(bundle=output / "plush", reference=PLUSH / "reference_cameras.json"))


def table(measured: dict[str, Evaluation]) -> Table:
    shown = Table("", *measured)
    for name, value in rows(next(iter(measured.values()))).items():
        others = [rows(evaluation)[name] for evaluation in list(measured.values())[1:]]
        shown.add_row(name, value, *others)
    return shown


def rows(evaluation: Evaluation) -> dict[str, str]:
    cameras, pictures = evaluation.cameras, evaluation.held_out
    assert cameras is not None
    assert pictures is not None
    in_mm = "" if cameras.position_median_mm is None else f"{cameras.position_median_mm:.2f} mm, "
    scale = cameras.scale_error_percent
    return {
        "frames placed": f"{evaluation.registered} of {evaluation.frames}",
        "cameras compared": cameras.compared_in,
        "scale error": "—" if scale is None else f"{scale:.3f} %",
        "camera position, median": f"{in_mm}{cameras.position_median_percent:.3f} % of the extent",
        "camera rotation, median": f"{cameras.rotation_median_deg:.3f}°",
        "held-out PSNR": f"{pictures.psnr_db:.2f} dB ({pictures.psnr_fitted_db:.2f} with exposure fitted)",
        "held-out SSIM": f"{pictures.ssim:.4f}",
        "compared at": f"{pictures.photos} photos of {pictures.width_px} × {pictures.height_px}",
        "Gaussians": f"{evaluation.gaussians:,}",
        "build, wall clock": f"{evaluation.build_seconds / 60:.1f} min",
        "build, CPU time": f"{evaluation.build_cpu_seconds / 60:.1f} min",
        "memory": f"{evaluation.peak_memory_mb / 1024:.2f} GiB",
    }


def as_json(measured: dict[str, Evaluation], here: dict[str, Any]) -> dict[str, Any]:
    return {name: {"machine": here, **evaluation.model_dump(mode="json")} for name, evaluation in measured.items()}


def draw_curve(file: Path, name: str, evaluation: Evaluation) -> None:
    """Held-out PSNR and SSIM over the training steps."""
    steps = [point["step"] for point in evaluation.curve]
    figure, sides = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for axes, key, label in zip(sides, ("psnr_db", "ssim"), ("PSNR, dB", "SSIM"), strict=True):
        axes.plot(steps, [point[key] for point in evaluation.curve], color="#2667c9", marker="o", markersize=3)
        axes.set(xlabel="training step", title=f"held-out {label}")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{name}: {evaluation.gaussians:,} Gaussians", fontsize=10)
    with artefact.staged_file(file) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
