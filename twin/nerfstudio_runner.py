"""Posed photos in, a splat out, trained by `splatfacto` of a separate nerfstudio environment.

nerfstudio's pins fight ours, so it is driven through files and subprocesses: the photos are exported as its data
set, `ns-train` and `ns-export` of the environment run on it, and the PLY comes back into our world. nerfstudio
normalises its world; what it applied lies in dataparser_transforms.json, x → scale · (R x + t), and is undone here.

Written against nerfstudio 1.1's command line and files. It was not run against a real nerfstudio, which needs a
CUDA device and an environment of its own: the tests run a small stand-in that keeps to those files.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path
from typing import TextIO

import numpy as np
from pydantic import BaseModel, PositiveFloat

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput, TandemError
from hardware.progress import progress
from twin import photos, splat_ply
from twin.export import nerfstudio
from twin.posed_images import PosedImages, SparsePoints
from twin.rasterise.choose import rasteriser
from twin.similarity import Similarity
from twin.splat import Splat
from twin.splat_motion import moved
from twin.stage import Outcome
from twin.training import write_splat
from twin.training_config import TrainingConfig

log = logging.getLogger(__name__)

DATASET, RUNS, EXPORT, LOG = "dataset", "runs", "export", "nerfstudio.log"
EXPERIMENT, STAMP = "twin", "run"
RUN = Path(RUNS) / EXPERIMENT / "splatfacto" / STAMP
KEEP_WORLD = ("--orientation-method", "none", "--center-method", "none", "--auto-scale-poses", "False")
STEP = re.compile(r"^\s*(\d+) \(\d+\.\d+%\)")
"""A line of ns-train's table: `3000 (10.00%)  12.3 ms …`."""


class TrainerFailed(TandemError):
    """`ns-train` or `ns-export` ended with an error."""


class DataparserTransforms(BaseModel):
    """What nerfstudio did to the world: x → scale · (transform · [x, 1])."""

    transform: list[list[float]]
    """3×4, rotation and translation."""
    scale: PositiveFloat

    @property
    def applied(self) -> Similarity:
        """Raises `BadInput` where the transform is no rotation and translation."""
        T = np.array(self.transform, dtype=np.float64)
        if T.shape != (3, 4) or not np.allclose(T[:, :3] @ T[:, :3].T, np.eye(3), atol=1e-3):
            raise BadInput(f"dataparser_transforms.json holds no rotation and translation: {self.transform}")
        u, _, vt = np.linalg.svd(T[:, :3])
        return Similarity(self.scale, u @ vt, self.scale * T[:, 3])


def train(config: TrainingConfig, environment: Path, frames: Path, posed: Path, out: Path) -> Outcome:
    """Leaves in `out` what the built-in trainer leaves. Raises `BadInput` for a folder without nerfstudio."""
    programs = {name: program(environment, name) for name in ("ns-train", "ns-export")}
    images = read(PosedImages, posed / "posed.json")
    export_photos(images, frames, posed, out)
    steps = config.budget.steps
    run(train_command(programs["ns-train"], steps, config.seed, out), environment, out / LOG, steps)
    artefact.remove(out / EXPORT)
    run(export_command(programs["ns-export"], out), environment, out / LOG, 0)
    splat = import_splat(out / EXPORT / "splat.ply", out / RUN / "dataparser_transforms.json")
    artefact.write_text(out / "curve.json", "[]")
    long_side_px = config.budget.long_side_px
    apart = photos.load(frames, images, images.held_out, long_side_px)
    example = photos.load(frames, images, images.training[:1], long_side_px)[0]
    numbers = {"steps": float(steps), "training_photos": float(len(images.training))}
    artefact.remove(out / DATASET)
    return write_splat(out, rasteriser(), splat, apart, example, numbers)


def program(environment: Path, name: str) -> Path:
    for candidate in (environment / "bin" / name, environment / name):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise BadInput(
        f"{environment} has no {name}", "give the folder of an environment that nerfstudio is installed in"
    )


def export_photos(images: PosedImages, frames: Path, posed: Path, out: Path) -> None:
    points = SparsePoints.load(posed / "points.npz") if (posed / "points.npz").exists() else None
    with artefact.staged_folder(out / DATASET) as folder:
        nerfstudio.write(folder, images, frames, points)


def train_command(ns_train: Path, steps: int, seed: int, out: Path) -> list[str]:
    """One run with a fixed name, so that its files are found again."""
    flags = {
        "--data": out / DATASET,
        "--output-dir": out / RUNS,
        "--experiment-name": EXPERIMENT,
        "--timestamp": STAMP,
        "--max-num-iterations": steps,
        "--machine.seed": seed,
        "--vis": "tensorboard",
    }
    named = [str(word) for flag in flags.items() for word in flag]
    return [str(ns_train), "splatfacto", *named, "nerfstudio-data", *KEEP_WORLD]


def export_command(ns_export: Path, out: Path) -> list[str]:
    files = ["--load-config", str(out / RUN / "config.yml"), "--output-dir", str(out / EXPORT)]
    return [str(ns_export), "gaussian-splat", *files]


def run(command: list[str], environment: Path, log_file: Path, steps: int) -> None:
    """Its output goes to the log file, its steps to the progress bar. Raises `TrainerFailed` with the last lines.

    Whatever ends the wait (Ctrl-C too) ends the child.
    """
    log.info("%s (log: %s)", " ".join(command[:2]), log_file)
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=surroundings(environment),
        text=True,
        errors="replace",
    )
    with started as child, log_file.open("a", encoding="utf-8") as kept:
        try:
            last = follow(child, kept, command[1], steps)
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        said = " | ".join(line for line in last if line)
        raise TrainerFailed(f"{Path(command[0]).name} ended with {child.returncode}: {said}", f"see {log_file}")


def surroundings(environment: Path) -> dict[str, str]:
    """The environment's programs come first, and none of our packages reach it."""
    path = f"{environment.resolve() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    return {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def follow(child: subprocess.Popen[str], kept: TextIO, what: str, steps: int) -> list[str]:
    """Reads until the child is silent; returns its last lines."""
    assert child.stdout is not None
    last: list[str] = []
    done = 0
    with progress(what, steps) as advance:
        for line in child.stdout:
            kept.write(line)
            last = [*last[-4:], line.rstrip()]
            step = STEP.match(line)
            for _ in range(max(0, int(step[1]) - done) if step else 0):
                advance("")
                done += 1
    return last


def import_splat(ply: Path, transforms: Path) -> Splat:
    """The exported Gaussians in our world: turned, moved and scaled back, their colours with them."""
    if not ply.is_file() or not transforms.is_file():
        missing = ply if not ply.is_file() else transforms
        raise TrainerFailed(f"nerfstudio ended without an error but left no {missing}")
    back = read(DataparserTransforms, transforms).applied.inverse()
    return moved(splat_ply.read(ply), back.rotation, back.translation, back.scale)
