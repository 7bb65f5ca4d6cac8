"""A training run's whole state in one safetensors file, so that it goes on after a kill as if nothing had been."""

from __future__ import annotations

import json
from pathlib import Path

from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hardware import artefact
from hardware.config import Config

NAME = "checkpoint.safetensors"


class Progress(Config):
    """How far a run had come, and for what it may be used."""

    run: str
    """Fingerprint of config and inputs: a checkpoint of another run is not read."""
    step: int
    """Steps done."""
    seconds: float
    """Spent in training, over all starts."""
    curve: tuple[dict[str, float], ...]


def write(file: Path, progress: Progress, arrays: dict[str, ndarray]) -> None:
    artefact.write_bytes(file, save(arrays, {"progress": progress.model_dump_json()}))


def read(file: Path, run: str) -> tuple[Progress, dict[str, ndarray]] | None:
    """None where there is no checkpoint of this run (or one that cannot be read: training then starts anew)."""
    try:
        with safe_open(str(file), framework="numpy") as stored:
            progress = Progress.model_validate(json.loads((stored.metadata() or {})["progress"]))
            if progress.run != run:
                return None
            return progress, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
