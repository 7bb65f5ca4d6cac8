"""Commands in, what each took out: a long benchmark's steps, each run once, so that the same command goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware import artefact

ROOT = Path(__file__).parents[1]
TAKEN = "taken.json"


@dataclass(frozen=True)
class Stages:
    """Kept in a folder, beside what the steps leave there."""

    folder: Path
    threads: int
    """Of every program."""

    def run(self, name: str, words: Sequence[object], again: bool = False, samples: int | None = None) -> None:
        """Runs a command once; `again`: a command that itself knows what it has done already.

        `samples`: windows that it learns from. A step that was stopped and went on is noted with what its last run
        took.
        """
        if name in self.taken() and not again:
            return
        print(f"── {name}", flush=True)
        began, before = time.monotonic(), processor_s()
        if subprocess.run(list(map(str, words)), env=self.surroundings(), cwd=ROOT).returncode:
            raise SystemExit(f"{name} failed; the same command goes on from here")
        if name not in self.taken():
            cost = {"wall_s": time.monotonic() - began, "processor_s": processor_s() - before}
            self.note(name, cost if samples is None else cost | {"samples": samples})

    def taken(self) -> dict[str, dict[str, float]]:
        """Seconds and samples of each finished step."""
        file = self.folder / TAKEN
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def note(self, name: str, cost: dict[str, float]) -> None:
        rounded = {what: round(value, 1) for what, value in cost.items()}
        artefact.write_text(self.folder / TAKEN, json.dumps(self.taken() | {name: rounded}, indent=2))

    def surroundings(self) -> dict[str, str]:
        """Of the programs: no hub, and as many threads for all."""
        return os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(self.threads)}


def processor_s() -> float:
    """Of all programs that this one has started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def tandem(*words: object) -> list[object]:
    """A command of the front door, for `Stages.run`."""
    return [sys.executable, ROOT / "tandem.py", *words]
