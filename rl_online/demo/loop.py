"""`tandem demo OUT`: the whole loop on the simulated bench in its small preset, one command that goes on after a stop.

Scan → twin → demonstrations → expansion → SFT → RFT → RL → mining → judge → guided RL on the bench → report, as
`rl_online.demo.stages` has it. A stage is written down when its commands are through, and not run again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware import config as configs
from hardware.config import Config
from hardware.errors import BadInput, TandemError
from rl_online.demo.stages import Stage, WholeDemo, stages, told

log = logging.getLogger(__name__)

STAGES, LOGS = "stages", "logs"
GATE_FAILED = 3
PR_SET_PDEATHSIG = 1


class StageDone(Config):
    """One stage that is through."""

    name: str
    commands: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    """Of its processes, on all cores: what a shared machine leaves as it is."""
    found: str
    """Its figure, in words."""


class DemoFigures(Config):
    """The whole demo."""

    stages: tuple[StageDone, ...]
    minutes: float
    cpu_minutes: float


class StageFailed(TandemError):
    """A command of a stage ended with an error."""

    exit_code = 4


def demo(config: WholeDemo) -> int:
    """The verb. Raises `StageFailed` that names the log."""
    done: list[StageDone] = []
    names = [stage.name for stage in stages(config)]
    if config.until and config.until not in names:
        raise BadInput(f"no stage '{config.until}'; have: {', '.join(names)}")
    for stage in stages(config):
        file = config.output / STAGES / f"{stage.name}.json"
        if not file.is_file():
            log.info("%s: %s", stage.name, stage.what)
            artefact.write_model(file, run(stage, config.output / LOGS))
        done.append(configs.read(StageDone, file))
        if done[-1].commands != tuple(shlex.join(("tandem", *words)) for words in stage.commands):
            log.warning("%s was run with other settings; delete %s and what comes after it", stage.name, file)
        if stage.name == config.until:
            break
    found = DemoFigures(
        stages=tuple(done),
        minutes=sum(one.seconds for one in done) / 60,
        cpu_minutes=sum(one.cpu_seconds for one in done) / 60,
    )
    artefact.write_model(config.output / "loop.json", found)
    if config.json_file is not None:
        artefact.write_model(config.json_file, found)
    show(Console(), found, config.output)
    return 0


def run(stage: Stage, logs: Path) -> StageDone:
    """Its commands beside one another; the others are stopped when one fails."""
    logs.mkdir(parents=True, exist_ok=True)
    began, cpu_began = time.monotonic(), cpu_seconds()
    if stage.before is not None:
        stage.before()
    processes: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for number, words in enumerate(stage.commands):
            file = logs / (f"{stage.name}.log" if number == 0 else f"{stage.name}_{number}.log")
            with file.open("ab") as stream:
                environment = os.environ | {"COLUMNS": "120"}
                command = [sys.executable, "-m", "tandem", *words]
                started = subprocess.Popen(
                    command, stdout=stream, stderr=subprocess.STDOUT, env=environment, preexec_fn=end_with_parent
                )
            processes.append((started, file))
            if number + 1 < len(stage.commands):
                time.sleep(1.0)
        wait(stage, processes)
    finally:
        for process, _ in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
    found = told(stage)
    if any(process.returncode == GATE_FAILED for process, _ in processes):
        found = "; ".join(filter(None, (found, last_line(processes[0][1]))))
    return StageDone(
        name=stage.name,
        commands=tuple(shlex.join(("tandem", *words)) for words in stage.commands),
        seconds=time.monotonic() - began,
        cpu_seconds=cpu_seconds() - cpu_began,
        found=found,
    )


def end_with_parent() -> None:
    """In the child: SIGTERM when this process is gone, even by `kill -9`; else two would write one folder."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait(stage: Stage, processes: Sequence[tuple[subprocess.Popen[bytes], Path]]) -> None:
    """Until all have ended. Raises `StageFailed` for the first that ends badly."""
    running = True
    while running:
        running = any(process.poll() is None for process, _ in processes)
        for process, file in processes:
            if process.poll() and not (stage.gate_may_fail and process.returncode == GATE_FAILED):
                raise StageFailed(
                    f"stage '{stage.name}' ended with {process.returncode}: {last_line(file)}",
                    f"read {file}; the same command goes on",
                )
        time.sleep(0.2 if running else 0.0)


def cpu_seconds() -> float:
    """Of this process and of all its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def last_line(file: Path) -> str:
    """Without the advice that a command ends with."""
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = [line for line in lines if not line.strip().startswith("→")]
    return said[-1] if said else "it wrote nothing"


def show(console: Console, found: DemoFigures, output: Path) -> None:
    table = Table(
        "stage", "time", "CPU", "found", title="The whole loop on the simulated bench", title_justify="left"
    )
    for one in found.stages:
        table.add_row(one.name, f"{one.seconds / 60:.1f} min", f"{one.cpu_seconds / 60:.1f} min", one.found)
    table.add_row("all", f"{found.minutes:.1f} min", f"{found.cpu_minutes:.1f} min", "")
    console.print(table)
    report = output / "real" / "report.html"
    if report.is_file():
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
