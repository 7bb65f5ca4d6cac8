"""`tandem demo OUT`: the whole loop on the simulated bench in its small preset, one command that goes on after a stop.

Scan → twin → demonstrations → expansion → SFT → RFT → RL → mining → judge → guided RL on the bench → report. Each stage
is commands that a person could type; it is written down when they are through, and not run again. A stage of two
commands runs them beside one another.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, PositiveInt
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware import config as configs
from hardware.bench.arm_models import SO101
from hardware.config import Config
from hardware.errors import TandemError
from vla.policy import GRIPPER

log = logging.getLogger(__name__)

STAGES, LOGS = "stages", "logs"
READS = (*SO101.joints, GRIPPER)
"""What the cell's policy reads beside its cameras: not the object's pose, which demonstrations have too."""


class WholeDemo(Config):
    """The whole loop on the simulated bench, small: about 25 minutes on two cores."""

    output: tyro.conf.Positional[Path] = Path("out/demo")
    """Folder of everything. The same command goes on after a stop."""
    demos: PositiveInt = 10
    wide: PositiveInt = 16
    """Twin-like demonstrations of the expansion."""
    sft_steps: PositiveInt = 500
    rft_steps: PositiveInt = 4
    tried_chunks: PositiveInt = 120
    """Of the parallel RL."""
    real_episodes: PositiveInt = 5
    until: str = ""
    """Stop after this stage. Empty: all of them."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class StageDone(Config):
    """One stage that is through."""

    name: str
    commands: tuple[str, ...]
    seconds: float
    found: str
    """Its figure, in words."""


class DemoFigures(Config):
    """The whole demo."""

    stages: tuple[StageDone, ...]
    minutes: float


class StageFailed(TandemError):
    """A command of a stage ended with an error."""

    exit_code = 4


@dataclass(frozen=True)
class Stage:
    """`figures`: the JSON that the stage leaves, and what of it goes into the table."""

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]
    figures: Path | None = None


def demo(config: WholeDemo) -> int:
    """The verb. Raises `StageFailed` that names the log."""
    done: list[StageDone] = []
    for stage in stages(config):
        file = config.output / STAGES / f"{stage.name}.json"
        if not file.is_file():
            log.info("%s: %s", stage.name, stage.what)
            artefact.write_model(file, run(stage, config.output / LOGS))
        done.append(configs.read(StageDone, file))
        if stage.name == config.until:
            break
    found = DemoFigures(stages=tuple(done), minutes=sum(one.seconds for one in done) / 60)
    artefact.write_model(config.output / "loop.json", found)
    if config.json_file is not None:
        artefact.write_model(config.json_file, found)
    show(Console(), found, config.output)
    return 0


def stages(config: WholeDemo) -> Sequence[Stage]:
    """What is run, in order; paths below the output folder."""
    out, seed = config.output, str(config.seed)
    demos, wide = str(out / "demos"), str(out / "wide" / "store")
    sft, rft, rl = out / "sft", out / "rft", out / "rl"
    shared = ("--seed", seed)
    sft_words = (
        *("vla", "sft", demos, wide, "-o", str(sft), "--state-names", *READS, "--no-language"),
        *("--optimisation.steps", str(config.sft_steps), "--cached-variants", "2", "--token-weight", "0.3"),
        *("--evaluation.every-steps", str(config.sft_steps), "--threads", "2", *shared),
    )
    rft_words = (
        *("vla", "rft", str(sft / "policy"), wide, "-o", str(rft), "--optimisation.steps", str(config.rft_steps)),
        *("--evaluation.every-steps", str(config.rft_steps), *shared),
    )
    learn_words = (
        *("rl", "learn", str(rft / "policy"), "-o", str(rl), "--demos", demos, "--twin-demos", wide),
        *("--preset", "conrft", "--offline-steps", "40", "--transitions", str(config.tried_chunks)),
        *("--demo-stride", "4", "--json", str(out / "rl.json"), *shared),
    )
    act_words = ("rl", "act", str(rl), "--envs", "2", *shared)
    mined, judge, real = out / "mined", out / "judge", out / "real"
    mine_words = (
        *("rl", "mine", str(rl / "policy"), "-o", str(mined), "--rollouts", "3", "--grid.cell-m", "0.08"),
        *("--json", str(out / "mine.json"), *shared),
    )
    collect_words = (
        *("rl", "reward", "collect", demos, "-o", str(out / "labels"), "--policy", str(rl / "policy")),
        *("--episodes", "6", *shared),
    )
    real_words = (
        *("rl", "real", "bench", "--policy", str(rl / "policy"), "--plan", str(mined / "resets.json")),
        *("--reward", str(judge), "--demos", demos, "--twin-successes", wide, "-o", str(real)),
        *("--preset", "conrft", "--offline-steps", "0", "--intervention", "scripted"),
        *("--minutes", "3", "--episodes", str(config.real_episodes), "--gate.trials", "4"),
        *("--gate.every-episodes", "2", "--recreate", "1", "--json", str(out / "real.json"), *shared),
    )
    return (
        Stage(
            "twin",
            "film the bench, build its twin, compare with the truth",
            (("bench", "demo", str(out), *shared, "--json", str(out / "twin_demo.json")),),
            out / "twin_demo.json",
        ),
        Stage(
            "demos",
            "scripted demonstrations in the ID region",
            (
                (
                    "rl",
                    "demos",
                    "-o",
                    demos,
                    "--count",
                    str(config.demos),
                    "--json",
                    str(out / "demos.json"),
                    *shared,
                ),
            ),
            out / "demos.json",
        ),
        Stage(
            "expand",
            "the same task from OOD starts, in physics",
            (
                (
                    *("rl", "expand", demos, "-o", str(out / "wide"), "--part", "ood", "--count", str(config.wide)),
                    *("--no-poses", "--json", str(out / "expand.json"), *shared),
                ),
            ),
            out / "expand.json",
        ),
        Stage("sft", "supervised fine-tuning", (sft_words,)),
        Stage("rft", "reinforcement fine-tuning by process rewards", (rft_words,)),
        Stage("rl", "parallel RL: a learner and its actor", (learn_words, act_words), out / "rl.json"),
        Stage("mine", "where the policy fails", (mine_words,), out / "mine.json"),
        Stage("labels", "labelled moments for the judge", (collect_words,)),
        Stage(
            "judge",
            "a learned judge of success",
            (
                (
                    *("rl", "reward", "train", str(out / "labels"), "-o", str(judge)),
                    *("--json", str(out / "judge.json"), *shared),
                ),
            ),
            out / "judge.json",
        ),
        Stage("real", "guided RL through the cell's processes", (real_words,), out / "real.json"),
        Stage("report", "report.html of the guided run", (("rl", "report", str(real)),)),
    )


def run(stage: Stage, logs: Path) -> StageDone:
    """Its commands beside one another; the others are stopped when one fails."""
    logs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    processes: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for number, words in enumerate(stage.commands):
            file = logs / (f"{stage.name}.log" if number == 0 else f"{stage.name}_{number}.log")
            with file.open("ab") as stream:
                environment = os.environ | {"COLUMNS": "120"}
                command = [sys.executable, "-m", "tandem", *words]
                started = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
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
    commands = tuple(shlex.join(("tandem", *words)) for words in stage.commands)
    return StageDone(
        name=stage.name, commands=commands, seconds=time.monotonic() - began, found=in_words(stage.figures)
    )


def wait(stage: Stage, processes: Sequence[tuple[subprocess.Popen[bytes], Path]]) -> None:
    while any(process.poll() is None for process, _ in processes):
        for process, file in processes:
            if process.poll():
                raise StageFailed(
                    f"stage '{stage.name}' ended with {process.returncode}: {last_line(file)}",
                    f"read {file}; the same command goes on",
                )
        time.sleep(0.2)
    failed = [(process, file) for process, file in processes if process.returncode]
    if failed:
        process, file = failed[0]
        raise StageFailed(
            f"stage '{stage.name}' ended with {process.returncode}: {last_line(file)}",
            f"read {file}; the same command goes on",
        )


def last_line(file: Path) -> str:
    """Without the advice that a command ends with."""
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = [line for line in lines if not line.strip().startswith("→")]
    return said[-1] if said else "it wrote nothing"


def in_words(file: Path | None) -> str:
    """The one or two numbers of a stage's figures that a person asks for."""
    if file is None or not file.is_file():
        return ""
    told = {
        "twin_demo": lambda f: ", ".join(f"{g['name']} {g['value']:.3g} {g['unit']}" for g in f["gates"][:4]),
        "demos": lambda f: f"{f['kept']} of {f['tried']} kept",
        "expand": lambda f: f"{f['kept']} of {f['tried']} kept",
        "rl": lambda f: f"{f['online']} chunks tried, {f['critic_updates']} critic updates",
        "mine": lambda f: ", ".join(f"{n} {p['successes']}/{p['rollouts']}" for n, p in f["parts"].items()),
        "judge": lambda f: (
            f"held out: {f['held_out']['true_successes']} right, {f['held_out']['false_successes']} wrong, "
            f"{f['held_out']['missed']} missed"
        ),
        "real": lambda f: (
            f"{f['judged_successes']}/{f['episodes']} judged successes in {f['robot_minutes']:.1f} min, "
            f"{f['false_successes']} of them false"
        ),
    }
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told[file.stem](found)


def show(console: Console, found: DemoFigures, output: Path) -> None:
    table = Table("stage", "time", "found", title="The whole loop on the simulated bench", title_justify="left")
    for one in found.stages:
        table.add_row(one.name, f"{one.seconds / 60:.1f} min", one.found)
    table.add_row("all", f"{found.minutes:.1f} min", "")
    console.print(table)
    console.print(f"report: {output / 'real' / 'report.html'}", highlight=False, soft_wrap=True)
