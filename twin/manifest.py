"""`twin.json`: what a twin bundle says of itself: its frame, its scale, where it came from, how good it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate
from twin.alignment import Alignment
from twin.stage import StageResult

NAME = "twin.json"
SCENE, MESH, CAMERAS, REPORT, WORK = "scene.ply", "mesh.ply", "cameras.json", "report.html", "work"
STAGES = ("capture", "sfm", "alignment", "splat", "mesh")
ROOT = Path(__file__).parents[1]


class Frames(Config):
    """The world that every file of the bundle is written in."""

    world: Literal["sfm", "board", "base"]
    """board: origin at the board's centre, z up out of the print. base: the arm's. sfm: arbitrary."""
    metric: bool
    """Lengths are metres; else they are SfM's arbitrary units, and physics must refuse the twin."""
    camera: Literal["optical"] = "optical"
    """Axes of the cameras in cameras.json: z forward, x right, y down."""


class File(Config):
    """One file of the bundle, to notice a changed one."""

    bytes: int
    sha256: str


class Provenance(Config):
    """What made the twin, and from what."""

    scan: str
    """Name of the scan's folder or file."""
    scan_kind: Literal["photos", "video", "nerfstudio", "colmap"]
    photos: int
    """Frames that the capture kept."""
    trainer: Literal["tandem", "nerfstudio splatfacto"]
    made_at: str
    """UTC, ISO 8601."""
    version: str
    git_hash: str | None
    """Of the checkout that ran, with `+` where it had changes; None outside a checkout."""
    seed: int
    machine: str
    config: dict[str, Any]
    """The resolved `BuildTwin`."""


class Quality(Config):
    """The numbers a person asks for first. None where nothing was held out, or nothing registered."""

    registered: int
    frames: int
    reprojection_px: float | None
    psnr_db: float | None
    ssim: float | None
    psnr_fitted_db: float | None
    """After the photo's exposure was fitted on its left half; scored on its right."""
    ssim_fitted: float | None
    held_out_photos: int
    gaussians: int
    triangles: int


class Twin(Config):
    """The manifest of a bundle. Written last: a folder with it is whole."""

    format_version: Literal[1] = 1
    frames: Frames
    scale: Alignment
    quality: Quality
    provenance: Provenance
    stages: tuple[StageResult, ...]
    files: dict[str, File]

    @property
    def gates(self) -> tuple[Gate, ...]:
        return tuple(gate for stage in self.stages for gate in stage.gates)

    @property
    def seconds(self) -> float:
        """Of all stages together, those reused counted with the time they once took."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cpu_seconds(self) -> float:
        return sum(stage.cpu_seconds for stage in self.stages)

    @property
    def peak_memory_mb(self) -> float:
        return max((stage.peak_memory_mb for stage in self.stages), default=0.0)


def read_twin(bundle: Path) -> Twin:
    """Raises `BadInput` for a folder that is no whole bundle."""
    if not (bundle / NAME).is_file():
        unfinished = (bundle / WORK).is_dir()
        fix = "its build did not finish: run the same `tandem twin build` again" if unfinished else ""
        raise BadInput(
            f"{bundle} holds no twin (no {NAME} in it)", fix or "give the folder that `tandem twin build` made"
        )
    return read(Twin, bundle / NAME)


def file_of(path: Path) -> File:
    with path.open("rb") as stream:
        return File(bytes=path.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def version() -> str:
    try:
        return importlib.metadata.version("tandem-vla")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def git_hash() -> str | None:
    """Of the checkout that this code runs from."""
    if not (ROOT / ".git").exists():
        return None
    said = {}
    for key, words in {"head": ("rev-parse", "HEAD"), "changes": ("status", "--porcelain", "-uno")}.items():
        try:
            ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        said[key] = ran.stdout.strip()
    return said["head"] + ("+" if said["changes"] else "")


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{platform.system()} {platform.machine()}, {cores} cores, {memory_gib:.0f} GiB, {processor()}"


def processor() -> str:
    """The name that Linux gives it; else the architecture."""
    listed = Path("/proc/cpuinfo")
    rows = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    names = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
