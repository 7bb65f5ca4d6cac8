"""`tandem twin eval`: a twin and what is known of its scene in, how far the twin is off out.

Held-out photos are rendered anew from the bundle's files. Cameras are compared with one of two references: the
bench's `truth.json`, in metres and in the board's frame, so that a wrong scale or frame shows; or the
`cameras.json` that 3DGS writes beside a splat, whose world is arbitrary, so that a similarity is fitted first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, Field, ValidationError
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.bench.truth import Truth, read_truth
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import held_out, manifest, photos, splat_ply
from twin.image_quality import ViewQuality
from twin.manifest import Twin, read_twin
from twin.posed_images import PosedImages
from twin.rasterise.choose import rasteriser
from twin.similarity import Similarity, fit, fit_robustly
from twin.training_config import TrainingConfig

log = logging.getLogger(__name__)

FEWEST_CAMERAS = 3
"""Fewer say nothing about a similarity, and little about anything else."""


class EvaluateTwin(Config):
    """How good a twin is: on photos that it was never trained on, and against cameras that are known."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made."""
    reference: Path | None = None
    """truth.json of `tandem bench scan` (metres, board frame: no fit), or the cameras.json of a 3DGS model
    (arbitrary world: a similarity is fitted first). Without it only held-out photos are compared."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here."""


class HeldOut(Config):
    """Means over the held-out photos, at the size that training used."""

    photos: int
    width_px: int
    height_px: int
    psnr_db: float
    """Raw: the render as it is."""
    ssim: float
    psnr_fitted_db: float
    """Exposure fitted on each photo's left half, scored on its right."""
    ssim_fitted: float
    views: tuple[ViewQuality, ...]


class Cameras(Config):
    """Camera poses against the reference's."""

    compared_in: Literal["board", "similarity"]
    """board: as they are, in metres. similarity: after the best scale, rotation and translation."""
    matched: int
    reference: int
    """Cameras that the reference has."""
    extent: float
    """Largest distance between two of the reference's cameras, in its unit."""
    position_median_percent: float
    """Of the extent."""
    position_worst_percent: float
    rotation_median_deg: float
    rotation_worst_deg: float
    position_median_mm: float | None = None
    """Where the reference is metric."""
    position_worst_mm: float | None = None
    scale_error_percent: float | None = None
    """Of a metric twin against a metric reference: how much longer or shorter the twin's lengths are."""


class Evaluation(Config):
    """What `tandem twin eval` measures."""

    scan: str
    registered: int
    frames: int
    held_out: HeldOut | None
    cameras: Cameras | None
    gaussians: int
    build_seconds: float
    build_cpu_seconds: float
    """Over all cores."""
    peak_memory_mb: float
    curve: tuple[dict[str, float], ...] = ()
    """Held-out quality over the training steps, on a few of the photos."""


def evaluate(config: EvaluateTwin) -> int:
    """Prints the comparison. Raises `BadInput` for a bundle without its photos, or a reference of neither kind."""
    evaluation = compare(config)
    Console().print(table(evaluation))
    if config.json_file is not None:
        artefact.write_model(config.json_file, evaluation)
    return 0


def compare(config: EvaluateTwin) -> Evaluation:
    twin = read_twin(config.bundle)
    posed = read(PosedImages, config.bundle / manifest.CAMERAS)
    cameras = None
    if config.reference is not None:
        cameras = compare_cameras(posed, Reference.read(config.reference))
    curve = config.bundle / manifest.WORK / "splat" / "curve.json"
    return Evaluation(
        scan=twin.provenance.scan,
        registered=twin.quality.registered,
        frames=twin.quality.frames,
        held_out=compare_photos(config.bundle, twin, posed),
        cameras=cameras,
        gaussians=twin.quality.gaussians,
        build_seconds=twin.seconds,
        build_cpu_seconds=twin.cpu_seconds,
        peak_memory_mb=twin.peak_memory_mb,
        curve=tuple(json.loads(curve.read_text(encoding="utf-8"))) if curve.is_file() else (),
    )


# ── photos ──────────────────────────────────────────────────────────────────────────────────────────────────────


def compare_photos(bundle: Path, twin: Twin, posed: PosedImages) -> HeldOut | None:
    """None where nothing was held out, or the photos are gone."""
    frames = bundle / manifest.WORK / "capture" / "frames"
    if not posed.held_out or not frames.is_dir():
        log.warning("no held-out photos in %s: the pictures are not compared", bundle)
        return None
    training = TrainingConfig.model_validate(twin.provenance.config["training"])
    shown = photos.load(frames, posed, posed.held_out, training.budget.long_side_px)
    views = held_out.score(rasteriser(), splat_ply.read(bundle / manifest.SCENE), shown)
    camera = shown[0].levels[-1].camera
    return HeldOut(
        photos=len(views),
        width_px=camera.width_px,
        height_px=camera.height_px,
        psnr_db=float(np.mean([view.psnr_db for view in views])),
        ssim=float(np.mean([view.ssim for view in views])),
        psnr_fitted_db=float(np.mean([view.psnr_fitted_db for view in views])),
        ssim_fitted=float(np.mean([view.ssim_fitted for view in views])),
        views=tuple(views),
    )


# ── cameras ─────────────────────────────────────────────────────────────────────────────────────────────────────


class GaussianCamera(BaseModel):
    """One entry of the `cameras.json` that 3DGS writes; other keys are left alone. Its cameras are optical ones."""

    img_name: str
    position: list[float] = Field(min_length=3, max_length=3)
    rotation: list[list[float]] = Field(min_length=3, max_length=3)
    """Camera → world, row by row."""


class Reference:
    """Known cameras by the stem of their photo's name (3DGS drops suffixes). `world` is "board" where metric."""

    def __init__(self, world: Literal["board", "arbitrary"], Ts_world_cam: Mapping[str, Pose]) -> None:
        self.world = world
        self.Ts_world_cam = dict(Ts_world_cam)

    @classmethod
    def read(cls, file: Path) -> Reference:
        """Raises `BadInput` for a file of neither kind."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadInput(f"cannot read {file}: {error}") from error
        if isinstance(values, dict):
            return cls.of_truth(read_truth(file))
        try:
            listed = [GaussianCamera.model_validate(value) for value in values]
            return cls("arbitrary", {Path(one.img_name).stem: pose_of(one) for one in listed})
        except (TypeError, ValueError, ValidationError) as error:
            fix = "give truth.json of `tandem bench scan`, or cameras.json of a 3DGS model"
            raise BadInput(f"{file} does not list cameras: {error}", fix) from error

    @classmethod
    def of_truth(cls, truth: Truth) -> Reference:
        poses = {Path(photo.name).stem: Pose("world", "cam", photo.pose.matrix) for photo in truth.photos}
        return cls("board", poses)


def pose_of(camera: GaussianCamera) -> Pose:
    """Its rotation has float32's rounding: the nearest true one is taken."""
    u, _, vt = np.linalg.svd(np.array(camera.rotation, dtype=np.float64).reshape(3, 3))
    return Pose.from_parts("world", "cam", u @ vt, np.array(camera.position))


def compare_cameras(posed: PosedImages, reference: Reference) -> Cameras:
    """Raises `BadInput` when fewer than three photos have the same name."""
    known = reference.Ts_world_cam
    twin = {Path(view.image).stem: view.pose for view in posed.views}
    names = sorted(twin.keys() & known.keys())
    if len(names) < FEWEST_CAMERAS:
        example = f"the twin has {next(iter(twin), '—')}, the reference {next(iter(known), '—')}"
        raise BadInput(f"only {len(names)} photos are in both: {example}", "give the reference of the same scan")
    mine, theirs = centres(twin, names), centres(known, names)
    metric = posed.metric and posed.world == "board" and reference.world == "board"
    between = Similarity.identity() if metric else fit_robustly(mine, theirs)
    errors = [between.apply_pose(twin[name]).distance_to(known[name]) for name in names]
    distances, turns_deg = np.array(errors).T * [[1], [180 / np.pi]]
    all_centres = centres(known, sorted(known))
    extent = float(np.linalg.norm(all_centres[:, None] - all_centres[None], axis=-1).max())
    in_metres = reference.world == "board"
    return Cameras(
        compared_in="board" if metric else "similarity",
        matched=len(names),
        reference=len(known),
        extent=extent,
        position_median_percent=100 * float(np.median(distances)) / extent,
        position_worst_percent=100 * float(distances.max()) / extent,
        rotation_median_deg=float(np.median(turns_deg)),
        rotation_worst_deg=float(turns_deg.max()),
        position_median_mm=1000 * float(np.median(distances)) if in_metres else None,
        position_worst_mm=1000 * float(distances.max()) if in_metres else None,
        scale_error_percent=100 * abs(fit(theirs, mine).scale - 1) if metric else None,
    )


def centres(poses: Mapping[str, Pose], names: list[str]) -> Float[ndarray, "C 3"]:
    return np.array([poses[name].translation_m for name in names])


# ── for the person ──────────────────────────────────────────────────────────────────────────────────────────────


def table(evaluation: Evaluation) -> Table:
    shown = Table(title=f"Twin of {evaluation.scan}", show_header=False, title_justify="left")
    for name, value in in_words(evaluation).items():
        shown.add_row(name, value)
    return shown


def in_words(evaluation: Evaluation) -> dict[str, str]:
    """The measurements with their units, for the terminal and the report."""
    rows = {"frames placed": f"{evaluation.registered} of {evaluation.frames}"}
    cameras, photos_apart = evaluation.cameras, evaluation.held_out
    if cameras is not None:
        how = "in metres, no fit" if cameras.compared_in == "board" else "after a similarity"
        rows["cameras compared"] = f"{cameras.matched} of the reference's {cameras.reference}, {how}"
        if cameras.scale_error_percent is not None:
            rows["scale error"] = f"{cameras.scale_error_percent:.3f} %"
        if cameras.position_median_mm is not None and cameras.position_worst_mm is not None:
            rows["camera position"] = (
                f"{cameras.position_median_mm:.2f} mm median, {cameras.position_worst_mm:.2f} mm worst"
            )
        rows["camera position, of the extent"] = (
            f"{cameras.position_median_percent:.3f} % median, {cameras.position_worst_percent:.3f} % worst"
        )
        rows["camera rotation"] = (
            f"{cameras.rotation_median_deg:.3f}° median, {cameras.rotation_worst_deg:.3f}° worst"
        )
    if photos_apart is not None:
        size = f"{photos_apart.photos} photos of {photos_apart.width_px} × {photos_apart.height_px}"
        rows["held-out PSNR"] = (
            f"{photos_apart.psnr_db:.2f} dB, {photos_apart.psnr_fitted_db:.2f} dB with exposure fitted ({size})"
        )
        rows["held-out SSIM"] = f"{photos_apart.ssim:.4f}, {photos_apart.ssim_fitted:.4f} with exposure fitted"
    rows["splat"] = f"{evaluation.gaussians:,} Gaussians"
    rows["build"] = (
        f"{evaluation.build_seconds / 60:.1f} min ({evaluation.build_cpu_seconds / 60:.1f} min of CPU time), "
        f"{evaluation.peak_memory_mb / 1024:.2f} GiB"
    )
    return rows
