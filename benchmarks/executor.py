"""How evenly the control loop ticks beside busy processes, and how smoothly it hands over between chunks.

`python benchmarks/executor.py [--quick] [--json FILE] [--figure FILE] [--run FOLDER]`. The loop is measured in a
process of its own, with a real executor in it that chunks are offered to, beside two processes that never sleep. Seams
are measured on the commands alone, the same way for all players, on the same chunks at each delay; `--run` takes them
from a folder that a cell's executor logged. Asked: p99 lateness ≤ 5 ms without real-time priority and ≤ 0.5 ms with it;
at every delay the lowest jump and jerk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, recorded_chunks
from hardware.artefact import write_text
from hardware.execution import run_log
from hardware.execution.deadline import DeadlineLoop
from hardware.execution.executor import Executor
from hardware.execution.run_log import RunLog, read_run
from hardware.ports import JointReading

DELAYS_MS = (50, 100, 200, 400, 800)
SEEDS, SECONDS = 5, 20.0
LOOP_S, BUSY = 30.0, 2
PRIORITIES = {"other": None, "fifo": 50}
ASKED_MS = {"other": 5.0, "fifo": 0.5}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one seed, 6 s; three delays; 3 s of each loop")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    arguments.add_argument("--figure", type=Path, help="also draw them here (PNG)")
    arguments.add_argument("--run", type=Path, help="take the chunks from a cell's run instead of generating them")
    arguments.add_argument("--loop", choices=PRIORITIES, help=argparse.SUPPRESS)
    arguments.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.loop:
        tick(given.run, PRIORITIES[given.loop], given.seconds)
        return 0
    from benchmarks import executor_seams

    seeds, seconds, delays_ms, loop_s = (
        (1, 6.0, DELAYS_MS[::2], 3.0) if given.quick else (SEEDS, SECONDS, DELAYS_MS, LOOP_S)
    )
    loops = [measure_loop(name, loop_s) for name in PRIORITIES]
    recordings = (
        [recorded_chunks.read(given.run)]
        if given.run
        else [recorded_chunks.make(seed, seconds) for seed in range(seeds)]
    )
    seams = executor_seams.measure(recordings, delays_ms)
    show(loops, seams)
    if given.json:
        result = {"machine": machine.describe(), "loops": loops, "seams": seams}
        write_text(given.json, json.dumps(result, indent=1) + "\n")
    if given.figure:
        executor_seams.draw(loops, seams, recordings[0], given.figure)
    return 0 if is_lowest_everywhere(seams) else 1


def measure_loop(name: str, seconds: float) -> dict[str, object]:
    """One loop in a new process, beside the busy ones."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--loop", name, "--seconds", str(seconds), "--run", folder]
            subprocess.run(command, check=True)
            run = read_run(Path(folder))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    ticks = run.ticks_ns[20:] / 1e6
    late_ms, period_ms, work_ms = ticks[:, 1] - ticks[:, 0], np.diff(ticks[:, 1]), ticks[:, 2] - ticks[:, 1]
    due = round((ticks[-1, 0] - ticks[0, 0]) / 10) + 1
    return {
        "loop": name,
        "load_1min": machine.describe()["load_1min"],
        "scheduler": run.info.scheduler,
        "ticks": len(ticks),
        "missed": due - len(ticks),
        "late_p50_ms": float(np.median(late_ms)),
        "late_p99_ms": float(np.quantile(late_ms, 0.99)),
        "late_max_ms": float(late_ms.max()),
        "period_off_p99_ms": float(np.quantile(np.abs(period_ms - 10), 0.99)),
        "work_p99_ms": float(np.quantile(work_ms, 0.99)),
        "asked_p99_ms": ASKED_MS[name],
        "late_ms": np.round(late_ms, 4).tolist(),
    }


def tick(folder: Path, priority: int | None, seconds: float) -> None:
    """The loop's process: a main thread that offers chunks and the control thread, as in the executor node."""
    recording = recorded_chunks.make(0, 2.0)
    executor = Executor(recording.names, has_gripper=False)
    now_ns = time.monotonic_ns()
    executor.start(JointReading(now_ns, recording.names, recording.begin), None, now_ns)
    log = RunLog(folder, run_log.started(recording.names, recording.names, 100.0))
    loop = DeadlineLoop(100.0, executor.tick, record=log.ticked, priority=priority)
    loop.start()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(recorded_chunks.EVERY_S)
        chunk, now_ns = recording.chunks[0], time.monotonic_ns()
        executor.offer(type(chunk)(now_ns, chunk.rate_hz, chunk.space, chunk.names, chunk.values), now_ns)
    loop.stop()
    log.close()


def is_lowest_everywhere(seams: list[dict]) -> bool:
    """Ours in mean and maximum of every measure of jump and jerk, at every delay."""
    from benchmarks.executor_seams import MEASURES

    ours = {row["delay_ms"]: row for row in seams if row["player"] == "Tandem"}
    return all(
        ours[row["delay_ms"]][f"{measure}_{kind}"] < row[f"{measure}_{kind}"]
        for row in seams
        if row["player"] != "Tandem"
        for measure in MEASURES
        for kind in ("mean", "max")
    )


def show(loops: list[dict], seams: list[dict]) -> None:
    console = Console(width=150)
    console.print(machine.line())
    table = Table(title=f"100 Hz control loop beside {BUSY} busy processes, ms")
    for column in (
        "scheduler",
        "load",
        "ticks",
        "missed",
        "late p50",
        "p99",
        "max",
        "|period − 10| p99",
        "step p99",
        "asked p99",
    ):
        table.add_column(column, justify="right")
    for loop in loops:
        keys = ("late_p50_ms", "late_p99_ms", "late_max_ms", "period_off_p99_ms", "work_p99_ms")
        figures = [f"{loop[key]:.3f}" for key in keys]
        met = "≤" if loop["late_p99_ms"] <= loop["asked_p99_ms"] else "MISSED ≤"
        table.add_row(
            loop["scheduler"],
            str(loop["load_1min"]),
            str(loop["ticks"]),
            str(loop["missed"]),
            *figures,
            f"{met} {loop['asked_p99_ms']}",
        )
    console.print(table)
    table = Table(title="Seams: mean (worst) over all; worst joint of each; jerk at 100 Hz")
    for column in (
        "delay ms",
        "player",
        "jump mrad",
        "velocity jump rad/s",
        "peak jerk rad/s³",
        "RMS jerk",
        "error mrad",
    ):
        table.add_column(column, justify="right")
    for row in seams:
        table.add_row(
            str(row["delay_ms"]),
            row["player"],
            f"{1e3 * row['jump_rad_mean']:.3f} ({1e3 * row['jump_rad_max']:.3f})",
            f"{row['velocity_jump_rad_s_mean']:.3f} ({row['velocity_jump_rad_s_max']:.3f})",
            f"{row['jerk_rad_s3_mean']:.0f} ({row['jerk_rad_s3_max']:.0f})",
            f"{row['jerk_rms_rad_s3_mean']:.0f} ({row['jerk_rms_rad_s3_max']:.0f})",
            "–" if row["error_rad"] is None else f"{1e3 * row['error_rad']:.1f}",
            end_section=row["player"] == seams[-1]["player"],
        )
    console.print(table)
    console.print(f"ours lowest on every measure at every delay: {'yes' if is_lowest_everywhere(seams) else 'NO'}")


if __name__ == "__main__":
    sys.exit(main())
