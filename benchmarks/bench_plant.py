"""The simulated cell: how fast its physics and pictures are, what its server delivers, how often the scripts succeed.

    python benchmarks/bench_plant.py [--quick] [--json FILE]

Success is counted over random starts with Wilson's 95 % interval; the starts' seeds are 0, 1, 2 … of each region kind.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.bench.arm_models import ArmName
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.link import PlantLink
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig, TaskName
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.cameras.bench import PlantCamera
from vla.intervals import wilson

CASES: tuple[tuple[TaskName, ArmName, Distribution], ...] = (
    ("pick_place", "so101", "id"),
    ("pick_place", "so101", "ood"),
    ("peg_insertion", "so101", "id"),
    ("peg_insertion", "so101", "ood"),
    ("wiping", "so101", "id"),
    ("wiping", "so101", "ood"),
    ("pick_place", "panda", "id"),
    ("pick_place", "panda", "ood"),
    ("peg_insertion", "panda", "id"),
    ("wiping", "panda", "id"),
)
REPLAN_ROWS = 10
"""The scripts are asked for a new chunk after so many rows (20 per second), as an executor would."""


def speeds(arm: ArmName, seconds: float) -> dict[str, float]:
    """Steps per second while the arm moves, and milliseconds per picture of each camera."""
    plant = Plant(PlantConfig(arm_model=arm))
    plant.reset()
    home = np.array(plant.cell.arm.home_rad)
    started_s = time.perf_counter()
    for tick in range(round(seconds / 0.01)):
        plant.command(home + 0.2 * math.sin(0.05 * tick), 0.5)
        plant.advance(0.01)
    physics_s = time.perf_counter() - started_s
    found = {
        "times_real": seconds / physics_s,
        "steps_per_s": seconds / plant.config.physics.timestep_s / physics_s,
    }
    for camera in plant.config.cameras:
        plant.glance(camera)
        drawn = []
        for _ in range(20):
            plant.advance(0.01)
            started_s = time.perf_counter()
            plant.glance(camera)
            drawn.append(1e3 * (time.perf_counter() - started_s))
        found[f"{camera}_ms"] = float(np.median(drawn))
    plant.close()
    return found


def served(arm: ArmName, seconds: float) -> dict[str, float]:
    """What a client of the server gets at 640 × 480 and 30 Hz from two cameras, and how old it is."""
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "plant.sock")
        command = [sys.executable, "-m", "hardware.bench.plant_server", "--name", address, "--arm-model", arm]
        root = Path(__file__).parents[1]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                return _client(address, seconds, server.pid)
            finally:
                server.terminate()


def _client(address: str, seconds: float, server: int) -> dict[str, float]:
    with PlantLink(address, wait_s=120.0) as link:
        cameras = [PlantCamera(link, name) for name in link.info.cameras]
        time.sleep(2.0)  # its first pictures are slow: the background is drawn
        ages: dict[str, list[float]] = {camera.name: [] for camera in cameras}
        readings, sends = [], []
        began_s, began_cpu_s = time.monotonic(), _cpu_s(server)
        while time.monotonic() - began_s < seconds:
            reading, _ = link.reading()
            readings.append((time.monotonic_ns() - reading.stamp_ns) * 1e-6)
            started_s = time.perf_counter()
            link.command(reading.q_rad)
            sends.append(1e3 * (time.perf_counter() - started_s))
            for camera in cameras:
                image = camera.read()
                if image is not None:
                    ages[camera.name].append((time.monotonic_ns() - image.stamp_ns) * 1e-6)
            time.sleep(0.01)
        found = {"server_cores": (_cpu_s(server) - began_cpu_s) / seconds}
    for name, values in ages.items():
        found |= {f"{name}_hz": len(values) / seconds, f"{name}_age_p99_ms": float(np.percentile(values, 99))}
    found |= {
        "reading_age_p99_ms": float(np.percentile(readings, 99)),
        "send_p99_ms": float(np.percentile(sends, 99)),
    }
    return found


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def attempt(plant: Plant, demonstrator: Demonstrator, start: TaskStart) -> float | None:
    """Seconds of the cell until success; None when the time is up first."""
    plant.reset(start)
    demonstrator.forget()
    began_ns, before = plant.now_ns, None
    while (plant.now_ns - began_ns) * 1e-9 < plant.cell.task.time_limit_s:
        chunk = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        for values in chunk.values[:REPLAN_ROWS]:
            before = values if before is None else before
            for part in (0.25, 0.5, 0.75, 1.0):
                asked = before + part * (values - before)
                plant.command(asked[:-1], float(asked[-1]))
                plant.advance(0.25 / chunk.rate_hz)
            before = values
        if plant.success():
            return (plant.now_ns - began_ns) * 1e-9
    return None


def successes(task: TaskName, arm: ArmName, distribution: Distribution, starts: int) -> dict[str, Any]:
    plant, demonstrator = Plant(PlantConfig(task=task, arm_model=arm, cameras={})), Demonstrator(task, arm)
    took = [attempt(plant, demonstrator, plant.draw_start(distribution, seed)) for seed in range(starts)]
    done = [seconds for seconds in took if seconds is not None]
    low, high = map(float, wilson(len(done), starts))
    return {
        "task": task,
        "arm": arm,
        "starts": distribution,
        "trials": starts,
        "successes": len(done),
        "wilson_low": low,
        "wilson_high": high,
        "median_s": float(np.median(done)) if done else None,
        "failed_seeds": [seed for seed, seconds in enumerate(took) if seconds is None],
    }


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--quick", action="store_true", help="four starts a case instead of forty, shorter timings"
    )
    arguments.add_argument("--starts", type=int, help="starts a case")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    given = arguments.parse_args()
    starts, seconds = given.starts or (4 if given.quick else 40), (3.0 if given.quick else 10.0)
    print(machine.line())
    results: dict[str, Any] = {"machine": machine.describe(), "speed": {}, "served": {}, "success": []}
    for arm in ("so101", "panda"):
        results["speed"][arm], results["served"][arm] = speeds(arm, seconds), served(arm, seconds)
        for kind in ("speed", "served"):
            print(arm, ", ".join(f"{name} {value:.3g}" for name, value in results[kind][arm].items()), flush=True)
    for case in CASES:
        results["success"].append(successes(*case, starts))
        print(*case, f"{results['success'][-1]['successes']} / {starts}", flush=True)
    Console().print(table(results["success"]))
    if given.json:
        artefact.write_text(given.json, json.dumps(results, indent=2) + "\n")
    return 0


def table(rows: list[dict[str, Any]]) -> Table:
    made = Table("task", "arm", "starts", "done", "95 % interval", "median", title="Scripted demonstrator")
    for row in rows:
        interval = f"{100 * row['wilson_low']:.0f} … {100 * row['wilson_high']:.0f} %"
        median = "" if row["median_s"] is None else f"{row['median_s']:.1f} s"
        done = f"{row['successes']} / {row['trials']}"
        made.add_row(row["task"], row["arm"], row["starts"], done, interval, median)
    return made


if __name__ == "__main__":
    sys.exit(main())
