"""How true the arm's place in a twin is on the simulated bench, by the arm itself, over several seeds.

`python benchmarks/alignment.py [--seeds 5] [--work FOLDER] [--quick] [--json FILE]`: films and builds one twin per
seed in FOLDER (kept: the same command goes on from there; some 7 minutes each on two cores), then finds the arm's
base from three starts, and compares with the bench's truth:

- *board*: as touching the board's corners puts it, 1.5 mm and 0.4° off;
- *coarse*: 30 mm and 5° off, in a direction drawn by the seed;
- *standing*: the same, told that the base stands on the table (`--standing`).

With `--json` a figure, FILE's name with .png, lies beside it; `--draw FILE` makes it again from an earlier FILE alone.
`--quick`: one seed, geometry only. `--light`: twins that are not there yet are trained for a quarter of the time and
are worse; their rows say so. `--built BUNDLE TRUTH` takes a twin that is there already, as the first seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from hardware.bench import so101
from hardware.bench.scan import PHOTOS, TRUTH, ScanBench, scan
from hardware.bench.scene import TABLE_Z_M
from hardware.bench.truth import Truth, read_truth
from hardware.errors import TandemError
from hardware.spatial import Pose
from twin import table_plane
from twin.build import build
from twin.build_config import BuildTwin
from twin.demo import TRAINING
from twin.manifest import NAME
from twin.render import scene
from twin.robot_alignment import solve

STARTS = {
    "board": (1.5e-3, np.radians(0.4)),
    "coarse": (30e-3, np.radians(5.0)),
    "standing": (30e-3, np.radians(5.0)),
}
"""How far off each start is: metres, radians."""
LIGHT = TRAINING.but(steps=1200, max_gaussians=30_000, long_side_px=448)
LIMITS = {"board": (3.0, 0.3), "coarse": (6.0, float("inf")), "standing": (3.0, 0.3)}
"""mm and degrees that the project promises."""

SQUARE_M = (-0.3, 0.0, 0.3)
"""Round the arm: where the table's plane, and its crust, are measured; the worst of nine points counts."""

Row = dict[str, float | int | str | bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("out/alignment"))
    parser.add_argument("--built", type=Path, nargs=2, metavar=("BUNDLE", "TRUTH"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--light", action="store_true", help="train the twins for a quarter of the time")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="only the figure of these measurements")
    arguments = parser.parse_args()
    if arguments.draw is not None:
        draw(arguments.draw.with_suffix(".png"), json.loads(arguments.draw.read_text(encoding="utf-8"))["rows"])
        return
    print(machine.line())
    rows: list[Row] = []
    for seed in range(1 if arguments.quick else arguments.seeds):
        kept = arguments.work / f"seed_{seed}.json"
        if kept.is_file() and not arguments.quick:
            found = json.loads(kept.read_text(encoding="utf-8"))
        else:
            built = (
                arguments.built if seed == 0 and arguments.built else made(arguments.work, seed, arguments.light)
            )
            found = measured(built[0], read_truth(built[1]), seed, photometric=not arguments.quick)
            found = [row | {"light": arguments.light} for row in found]
            if not arguments.quick:
                artefact.write_text(kept, json.dumps(found, indent=2) + "\n")
        rows += found
        print(*(f"seed {row['seed']} {row['start']}: {row['error_mm']} mm, {row['error_deg']}°" for row in found))
    Console().print(as_table(rows))
    if arguments.json is not None:
        report = {"machine": machine.describe(), "rows": rows, "summary": summary(rows)}
        artefact.write_text(arguments.json, json.dumps(report, indent=2) + "\n")
        draw(arguments.json.with_suffix(".png"), rows)


def draw(file: Path, rows: list[Row]) -> None:
    """Every seed from each start, in mm and degrees, with what is promised."""
    sheet = Figure(figsize=(7, 3), layout="constrained")
    panels = sheet.subplots(1, 2)
    for axis, (key, unit) in zip(panels, (("error_mm", "mm"), ("error_deg", "°")), strict=True):
        for number, start in enumerate(STARTS):
            own = [row for row in rows if row["start"] == start]
            seeds = [float(row["seed"]) + 0.2 * number for row in own]
            axis.plot(seeds, [float(row[key]) for row in own], f"C{number}o", label=f"from the {start} start")
            limit = LIMITS[start][0 if unit == "mm" else 1]
            if np.isfinite(limit):
                axis.axhline(limit, color=f"C{number}", linestyle=":")
        axis.set_xlabel("seed")
        axis.set_ylabel(f"base off by, {unit} (dotted: limit)")
        axis.set_ylim(bottom=0)
        axis.set_xticks(sorted({int(row["seed"]) for row in rows}))
    panels[0].legend(fontsize="small")
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=110, format="png")


def made(work: Path, seed: int, light: bool = False) -> tuple[Path, Path]:
    """A filmed and built twin of the seed; a finished one is kept, however it was trained."""
    bench, twin = work / f"seed_{seed}" / "bench", work / f"seed_{seed}" / "twin"
    scan(ScanBench(output=bench, seed=seed))
    if not (twin / NAME).is_file():
        build(BuildTwin(scan=bench / PHOTOS, output=twin, training=LIGHT if light else TRAINING))
    return twin, bench / TRUTH


def measured(bundle: Path, truth: Truth, seed: int, photometric: bool) -> list[Row]:
    """One row per start. What is refused counts as infinitely far off."""
    splat, posed = scene(bundle)
    ground = table_plane.ground(bundle, splat)
    true = Pose("world", "base", truth.base_board.inverse().matrix)
    on_table = true.apply(np.array([[x, y, TABLE_Z_M] for x in SQUARE_M for y in SQUARE_M]))
    off_mm = {
        f"{name}_mm": round(1e3 * float(np.abs(plane.heights_m(on_table)).max()), 3)
        for name, plane in (("table", ground.plane), ("crust", ground.crust))
    }
    q_rad = truth.q_rad or dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
    rows: list[Row] = []
    for start, (away_m, away_rad) in STARTS.items():
        begun = time.process_time()
        row: Row = {"seed": seed, "start": start} | off_mm
        try:
            guess = put_off(true, away_m, away_rad, np.random.default_rng([seed, 7]))
            found = solve(splat, posed, ground, "so101", q_rad, guess, photometric, start == "standing")
        except TandemError as error:
            print(f"seed {seed}, {start}: {error.problem}")
            row |= {"error_mm": float("inf"), "error_deg": float("inf"), "deviation_mm": 0.0, "deviation_deg": 0.0}
        else:
            error_m, error_rad = true.distance_to(found.pose)
            row |= {
                "error_mm": round(1e3 * error_m, 3),
                "error_deg": round(float(np.degrees(error_rad)), 3),
                "deviation_mm": round(found.deviation_mm, 3),
                "deviation_deg": round(found.deviation_deg, 3),
                "residual_mm": round(found.residual_mm, 3),
                "picture_moved_mm": round(found.photometric_mm or 0.0, 3),
            }
        limit_mm, limit_deg = LIMITS[start]
        row["kept"] = bool(float(row["error_mm"]) <= limit_mm and float(row["error_deg"]) <= limit_deg)
        row["cpu_s"] = round(time.process_time() - begun, 1)
        rows.append(row)
    return rows


def put_off(true: Pose, away_m: float, away_rad: float, rng: np.random.Generator) -> Pose:
    """The true pose, moved and turned by that much in drawn directions."""
    shift, axis = rng.normal(size=(2, 3))
    matrix = true.matrix.copy()
    turn = Pose.exp("a", "a", np.append(np.zeros(3), away_rad * axis / np.linalg.norm(axis))).rotation
    matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] += away_m * shift / np.linalg.norm(shift)
    return Pose("world", "base", matrix)


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Per start: median and worst error, and how many are within the promise."""
    found = {}
    for start in STARTS:
        own = [row for row in rows if row["start"] == start]
        errors_mm, errors_deg = ([float(row[key]) for row in own] for key in ("error_mm", "error_deg"))
        found[start] = {
            "seeds": len(own),
            "median_mm": float(np.median(errors_mm)),
            "worst_mm": max(errors_mm),
            "median_deg": float(np.median(errors_deg)),
            "worst_deg": max(errors_deg),
            "kept": sum(bool(row["kept"]) for row in own),
        }
    return found


def as_table(rows: list[Row]) -> Table:
    columns = ("seed", "start", "error_mm", "error_deg", "deviation_mm", "table_mm", "crust_mm", "kept", "cpu_s")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    for start, line in summary(rows).items():
        table.add_row(
            "all", start, f"≤ {line['worst_mm']:.2f}", f"≤ {line['worst_deg']:.2f}", "", "", "", str(line["kept"])
        )
    return table


if __name__ == "__main__":
    main()
