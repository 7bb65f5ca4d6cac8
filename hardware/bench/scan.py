"""`tandem bench scan OUT`: a virtual phone films the simulated cell; OUT/scan/*.jpg and, apart, OUT/truth.json."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field

from hardware import artefact
from hardware.bench import hand, phone, scene, so101, task_scene
from hardware.bench.plant_config import TaskName
from hardware.bench.scene import Scene
from hardware.bench.truth import ObjectTruth, PhotoTruth, Truth, as_matrix
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.progress import progress

log = logging.getLogger(__name__)

SOURCES = (
    *("hand", "light_mesh", "phone", "prints", "props", "renderer", "room"),
    *("scan", "scene", "shapes", "so101", "textures", "truth"),
)
"""The modules that decide what a scan looks like, …"""
TASK_SOURCES = (
    "task_scene",
    "workcell",
    *(f"tasks/{name}" for name in ("peg_insertion", "pick_place", "wiping", "task")),
)
"""… and those that do where a task is filmed."""
PHOTOS, TRUTH, MANIFEST = "scan", "truth.json", "scan.json"
LOOK_AT_M = np.array([0.33, 0.0, 0.02])
"""In the base frame: what the person films, between arm and board."""

Size = Annotated[int, Field(ge=160, le=4096)]


class ScanBench(Config):
    """Films the simulated robot cell with a virtual phone; the truth lies beside the photos, for comparison."""

    output: tyro.conf.Positional[Path]
    """Folder for scan/*.jpg, truth.json and scan.json. It must be new, empty, or an earlier scan's."""
    photos: Annotated[int, Field(ge=1, le=2000)] = 60
    """How many photos, spread over three rounds at different heights."""
    width_px: Size = 1024
    """Of the upright photo."""
    height_px: Size = 768
    """Of the upright photo; more than the width means a phone held upright (EXIF orientation 6)."""
    task: TaskName | None = None
    """Film the cell as it is before this task: its things at the start that the live cell of this seed draws."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Labels, the hand's path, noise: the same seed gives the same files."""


class Manifest(Config):
    """What made the photos beside it."""

    photos: int
    width_px: int
    height_px: int
    seed: int
    task: TaskName | None = None
    source_sha256: str
    """Of the bench's own code: another bench makes other photos."""


def scan(config: ScanBench) -> int:
    """All or nothing; a finished scan of the same settings is kept. Returns the process's exit code."""
    manifest = Manifest(
        photos=config.photos,
        width_px=config.width_px,
        height_px=config.height_px,
        seed=config.seed,
        task=config.task,
        source_sha256=_source_sha256(config.task),
    )
    if _finished(config.output, manifest):
        log.info("%s holds this scan already: %d photos", config.output, config.photos)
        return 0
    _require_free(config.output)
    started = time.monotonic()
    with artefact.staged_folder(config.output) as staged:
        truth = film(config, staged / PHOTOS)
        artefact.write_model(staged / TRUTH, truth)
        artefact.write_model(staged / MANIFEST, manifest)
    blurs = [photo.blur_px for photo in truth.photos]
    log.info(
        "%d photos of %d × %d in %s, %.0f s; blur median %.1f px, most %.1f px",
        *(config.photos, config.width_px, config.height_px, config.output / PHOTOS),
        *(time.monotonic() - started, float(np.median(blurs)), max(blurs)),
    )
    return 0


def film(config: ScanBench, folder: Path) -> Truth:
    """Writes the photos into a new folder and returns their truth."""
    folder.mkdir(parents=True)
    cell = scene.build(config.seed) if config.task is None else task_scene.build(config.seed, config.task)
    camera = phone.phone_camera(config.width_px, config.height_px)
    shots = hand.walk(np.random.default_rng([config.seed, 1]), config.photos, LOOK_AT_M)
    data = cell.at_rest()
    photos = []
    with phone.Phone(cell.model, camera) as taker, progress("filming", len(shots)) as advance:
        for number, shot in enumerate(shots, start=1):
            name = f"IMG_{number:04d}.jpg"
            picture = taker.photo(data, shot, np.random.default_rng([config.seed, 2, number]))
            (folder / name).write_bytes(phone.jpeg(picture, shot))
            T_board_cam = cell.T_base_board.inverse() @ shot.T_base_cam
            photos.append(
                PhotoTruth(
                    name=name,
                    T_board_cam=as_matrix(T_board_cam),
                    exposure_gain=shot.gain,
                    blur_px=phone.blur_px(camera, shot),
                )
            )
            advance(name)
    return _truth(config.seed, cell, camera, tuple(photos))


def _truth(seed: int, cell: Scene, camera: CameraModel, photos: tuple[PhotoTruth, ...]) -> Truth:
    objects = tuple(
        ObjectTruth(
            name=thing.name,
            T_base_obj=as_matrix(cell.T_base_objects[thing.name]),
            size_m=thing.size_m,
            mass_kg=thing.mass_kg,
            friction=thing.friction[0],
        )
        for thing in cell.props
    )
    return Truth(
        seed=seed,
        camera=camera,
        photos=photos,
        board=cell.board,
        T_base_board=as_matrix(cell.T_base_board),
        objects=objects,
        landmarks={name: as_matrix(pose) for name, pose in cell.landmarks.items()},
        q_rad=dict(zip(so101.JOINTS, so101.REST_RAD, strict=True)),
    )


def _finished(output: Path, manifest: Manifest) -> bool:
    if not (output / MANIFEST).is_file():
        return False
    try:
        same = read(Manifest, output / MANIFEST) == manifest
    except BadInput:
        return False
    complete = (output / TRUTH).is_file() and len(list((output / PHOTOS).glob("*.jpg"))) == manifest.photos
    return same and complete


def _require_free(output: Path) -> None:
    """The folder is replaced as a whole, so it must not hold what a scan did not write."""
    if output.exists() and not output.is_dir():
        raise BadInput(f"{output} is a file", "name a folder for the scan")
    others = (
        sorted({entry.name for entry in output.iterdir()} - {PHOTOS, TRUTH, MANIFEST}) if output.exists() else []
    )
    if others:
        raise BadInput(f"{output} holds other files ({', '.join(others[:3])})", "name a new folder for the scan")
    if output.exists() and any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise BadInput(f"{output} holds photos that no scan of the bench wrote", "name a new folder for the scan")


def _source_sha256(task: TaskName | None) -> str:
    digest = hashlib.sha256()
    for name in SOURCES if task is None else (*SOURCES, *TASK_SOURCES):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()
