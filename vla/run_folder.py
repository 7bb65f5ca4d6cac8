"""A training run's folder: what it was told, with what code and data, and whether it may be gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from vla.policy import Interface
from vla.prepared import PreparedEpisode

ROOT = Path(__file__).parents[1]
RUN, REPORT, POLICY, TENSORBOARD = "run.json", "report.html", "policy", "tensorboard"
WORK = "work"
"""Features and checkpoints; a run that was stopped while it encoded pictures has nothing else."""
FREE_TO_CHANGE = {"checkpoint_every_s": 0, "threads": None, "output": Path(), "json_file": None, "features": None}
"""Settings that change nothing in what is learned."""


class TrainingRun(Config):
    """What every training command may be told."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: policy/, report.html, tensorboard/, run.json, work/."""
    seed: NonNegativeInt = 0
    device: str = "auto"
    """auto: a CUDA device if there is one."""
    threads: PositiveInt | None = None
    """Of the processor. None: the cores this process may use."""
    checkpoint_every_s: NonNegativeFloat = 60.0
    features: Path | None = None
    """Folder of the frozen encoder's features, which runs on the same pictures may share. None: OUTPUT/work."""


def require_output(config: TrainingRun) -> None:
    """A folder of another run, or of something else, is not written into."""
    file = config.output / RUN
    if config.output.exists() and not config.output.is_dir():
        raise BadInput(f"{config.output} is a file", "give a folder: -o runs/my_policy")
    if not file.exists():
        if config.output.exists() and any(inside.name != WORK for inside in config.output.iterdir()):
            raise BadInput(f"{config.output} holds something that is no training run", "give a new folder")
        return
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"cannot read {file}: {error!r}", "give a new folder") from error
    now = json.loads(config.model_dump_json())
    changed = [key for key in now if key not in FREE_TO_CHANGE and before.get(key) != now[key]]
    if changed:
        raise BadInput(
            f"{config.output} is a run with other settings: {', '.join(changed)}",
            "repeat its settings to go on with it, or give a new folder",
        )


def write_run(config: TrainingRun, interface: Interface | None) -> None:
    run = {
        "config": json.loads(config.model_dump_json()),
        "interface": json.loads(interface.model_dump_json()) if interface else None,
        "seed": config.seed,
        "git": git_hash(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() and config.device != "cpu" else "cpu",
    }
    artefact.write_text(config.output / RUN, json.dumps(run, indent=2) + "\n")


def git_hash() -> str | None:
    """Of the checkout that this code runs from."""
    words = ("git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*")
    try:
        return subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def fingerprint(
    config: TrainingRun, episodes: Sequence[PreparedEpisode], sources: Sequence[Path] = (), processes: int = 1
) -> str:
    """Of the settings that matter, the numbers of the data, and what the files hold that the settings only name."""
    plain = {key: value for key, value in FREE_TO_CHANGE.items() if key in type(config).model_fields}
    digest = hashlib.sha256(config.but(**plain).model_dump_json().encode())
    for episode in episodes:
        digest.update(f"{episode.dataset}/{episode.number}/{episode.instruction}".encode())
        digest.update(np.ascontiguousarray(episode.actions).data)
    for file in sources:
        digest.update(file.read_bytes())
    if processes > 1:
        digest.update(f"{processes} processes".encode())
    return digest.hexdigest()


def chosen_device(run: TrainingRun) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device that is there; sets the processor's threads too."""
    if run.device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"no device '{run.device}'; have: auto, cpu, cuda")
    if run.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("there is no CUDA device", "train with --device cpu")
    torch.set_num_threads(run.threads or len(os.sched_getaffinity(0)))
    return torch.device("cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu")
