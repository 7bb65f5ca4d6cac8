"""Frames in; camera poses, one calibration per camera and sparse points out, by structure from motion (pycolmap).

Matching is the long part. Few strong features of every pair say first which frames see the same things; only those
pairs are matched with all features. The database in the stage's folder survives a kill.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pycolmap
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.progress import progress
from twin.capture import FRAMES, Capture, CapturedFrame
from twin.capture import MANIFEST as CAPTURE
from twin.posed_images import PosedImages, SparsePoints
from twin.posed_scan import points_from_colmap, posed_from_colmap
from twin.principal_point import refine
from twin.stage import Outcome
from twin.threads import thread_count

log = logging.getLogger(__name__)

DATABASE = "features.db"
MATCHED = "matched"
"""An empty file that says that the database holds all matches."""
BYTES_PER_FEATURE = 300
"""128 of the descriptor, 24 of the place, and both again in SQLite's log (97 phone photos came to a sixth of it)."""
PAIRS_PER_CALL, FRAMES_PER_CALL = 64, 8
"""Into pycolmap, so that progress shows and Ctrl-C is heard."""


class SfmConfig(Config):
    """Structure from motion, and the limits that a reconstruction must keep."""

    features: Annotated[int, Field(ge=500)] = 4096
    """SIFT features per frame, at most."""
    upsample: bool = False
    """Look for features at twice the size too: slower, helps on smooth scenes."""
    partners: Annotated[int, Field(ge=4)] = 20
    """Frames that each frame is matched with in full, chosen by likeness."""
    neighbours: Annotated[int, Field(ge=0)] = 4
    """Frames before and after (by time, or name) that are always matched too."""
    mapper: Literal["incremental", "global"] = "incremental"
    """Camera by camera, or all at once (GLOMAP's way: as fast, wants many overlaps)."""
    registered_share_limit: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Frames that must find their pose."""
    reprojection_limit_px: Annotated[float, Field(gt=0)] = 1.5
    focal_ratio_limit: Annotated[float, Field(gt=1)] = 1.35
    """Solved focal length against EXIF's, either way (phones round the 35 mm equivalent, and crop)."""
    fewest_for_principal_point: Annotated[int, Field(ge=3)] = 20
    """With fewer views the principal point stays at the centre."""
    principal_point_agreement: Annotated[float, Field(ge=0)] = 0.005
    """Halves of the views must find it this near to where all find it, in widths of the picture, else it stays at the
    centre. Measured: bench 0.0004 with 60 photos, 0.0028 with 24; plush scan 0.008 (freed, cameras turn by 1.4°)."""
    seed: int = 0


def reconstruct(config: SfmConfig, capture: Path, out: Path) -> Outcome:
    """Writes `posed.json`, `points.npz`, `reprojection.npz` and `sparse/`; the scan's own poses pass through.

    Raises `BadInput` when no two frames fit together; the gates stop a poor reconstruction.
    """
    quieten()
    manifest = read(Capture, capture / CAPTURE)
    if (capture / "posed.json").exists():
        return pass_through(capture, out)
    frames, database = manifest.kept, out / DATABASE
    if not (out / MATCHED).exists():
        database.unlink(missing_ok=True)
        require_room(out, len(frames) * config.features * BYTES_PER_FEATURE)
        extract(config, frames, capture / FRAMES, database)
        match(config, likely_pairs(config, manifest, database), database)
        (out / MATCHED).touch()
    models = place_cameras(config, capture / FRAMES, database, out, len(frames))
    best = max(models, key=lambda model: model.num_reg_images())
    best = refine(best, config.fewest_for_principal_point, config.principal_point_agreement)
    posed, points = posed_from_colmap(best), points_from_colmap(best)
    artefact.write_model(out / "posed.json", posed)
    points.save(out / "points.npz")
    np.savez(out / "reprojection.npz", errors_px=points.reprojection_px)
    (out / "sparse").mkdir(exist_ok=True)
    best.write(str(out / "sparse"))
    return Outcome(
        gates=gates_of(config, frames, posed, points),
        numbers=numbers_of(frames, posed, points, models),
        notes=notes_of(frames, posed, models),
    )


def quieten() -> None:
    """COLMAP writes a line per photo to the terminal; with `tandem -v` they are kept."""
    if not log.isEnabledFor(logging.DEBUG):
        pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value


def require_room(folder: Path, needed: int) -> None:
    """Beforehand, since COLMAP ends the whole process where its database does not fit on the disk."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"structure from motion needs up to {needed / 1e6:.0f} MB in {folder}, and there are {free / 1e6:.0f}",
            "free some space, or give another -o: finished stages are kept",
        )


def pass_through(capture: Path, out: Path) -> Outcome:
    """Keeps given poses. Without given points the trainer starts from points in the space that the cameras see."""
    posed = read(PosedImages, capture / "posed.json")
    artefact.write_model(out / "posed.json", posed)
    given = (capture / "points.npz").exists()
    points = SparsePoints.load(capture / "points.npz") if given else scattered_points(posed)
    points.save(out / "points.npz")
    note = "the scan's own poses are used; structure from motion was skipped"
    if not given:
        note += "; it brought no points, so training starts from random ones"
    return Outcome(numbers={"views": len(posed.views), "points": len(points.xyz)}, notes=(note,))


def scattered_points(posed: PosedImages, count: int = 20_000, seed: int = 0) -> SparsePoints:
    """Grey points where at least three cameras look, out to twice the cameras' distance from what they look at."""
    rng = np.random.default_rng(seed)
    centres = np.array([view.pose.translation_m for view in posed.views])
    ahead = np.array([view.pose.rotation[:, 2] for view in posed.views])
    # the point nearest to all viewing rays
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None, :]
    focus = np.linalg.lstsq(across.sum(0), (across @ centres[:, :, None]).sum(0)[:, 0], rcond=None)[0]
    reach = 2 * float(np.median(np.linalg.norm(centres - focus, axis=1)))
    candidates = focus + rng.uniform(-reach, reach, (8 * count, 3))
    seen = np.zeros(len(candidates), np.int64)
    for view in posed.views:
        _, visible = posed.cameras[view.camera].project(view.pose.inverse().apply(candidates))
        seen += visible
    xyz = candidates[seen >= min(3, len(posed.views))][:count]
    nothing = np.zeros(len(xyz))
    return SparsePoints(xyz, np.full((len(xyz), 3), 128, np.uint8), nothing, nothing.astype(np.uint8))


def extract(config: SfmConfig, frames: Sequence[CapturedFrame], folder: Path, database: Path) -> None:
    """SIFT features of every frame; one camera per capture key, its focal length from EXIF where there is one."""
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads, options.use_gpu = thread_count(), False
    options.sift.max_num_features = config.features
    options.sift.first_octave = -1 if config.upsample else 0
    with progress("finding features", len(frames)) as advance:
        for first in by_camera(frames):
            reader = pycolmap.ImageReaderOptions()
            reader.camera_model = "OPENCV"
            prior = first[0]
            if prior.focal_px is not None:
                focal, cx, cy = prior.focal_px, prior.width_px / 2, prior.height_px / 2
                reader.camera_params = ",".join(map(str, (focal, focal, cx, cy, 0, 0, 0, 0)))
            for chunk in chunks_of(first, FRAMES_PER_CALL):
                pycolmap.extract_features(
                    database,
                    folder,
                    image_names=[frame.name for frame in chunk],
                    camera_mode=pycolmap.CameraMode.SINGLE,
                    reader_options=reader,
                    extraction_options=options,
                )
                # else each call begins a camera of its own
                reader.existing_camera_id = camera_of(database, prior.name)
                for _ in chunk:
                    advance("")


def camera_of(database: Path, frame: str) -> int:
    """The number of the camera that took it."""
    with pycolmap.Database.open(str(database)) as stored:
        return next(image.camera_id for image in stored.read_all_images() if image.name == frame)


def by_camera(frames: Sequence[CapturedFrame]) -> list[list[CapturedFrame]]:
    key = lambda frame: (frame.camera, frame.width_px, frame.height_px)  # noqa: E731
    return [list(group) for _, group in itertools.groupby(sorted(frames, key=key), key=key)]


def chunks_of[T](items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def likely_pairs(config: SfmConfig, manifest: Capture, database: Path) -> list[tuple[str, str]]:
    """Each frame with its neighbours in time and with those that share most strong features."""
    names = [frame.name for frame in manifest.kept]
    pairs = {(a, b) for a in range(len(names)) for b in range(a + 1, min(len(names), a + 1 + config.neighbours))}
    shared = shared_features(names, database)
    for a in range(len(names)):
        order = np.argsort(-shared[a], kind="stable")[: config.partners]
        pairs |= {(min(a, int(b)), max(a, int(b))) for b in order if int(b) != a}
    return [(names[a], names[b]) for a, b in sorted(pairs)]


def shared_features(names: Sequence[str], database: Path, strongest: int = 768) -> Float[ndarray, "F F"]:
    """How many of the largest features of two frames are each other's nearest, clearly so."""
    with pycolmap.Database.open(str(database)) as stored:
        numbers = {image.name: image.image_id for image in stored.read_all_images()}
        described = [largest_descriptors(stored, numbers[name], strongest) for name in names]
    shared = np.zeros((len(names), len(names)))
    with progress("comparing frames", len(names)) as advance:
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                shared[a, b] = shared[b, a] = mutual_count(described[a], described[b])
            advance("")
    return shared


def largest_descriptors(stored: Any, image_id: int, count: int) -> Float[ndarray, "M 128"]:
    """Unit vectors of the features with the largest scale: they survive a change of viewpoint best."""
    keypoints = stored.read_keypoints(image_id)
    values = np.asarray(stored.read_descriptors(image_id).data, np.float32)
    affine = keypoints.shape[1] >= 6  # x, y and a 2×2 matrix; else x, y, scale, orientation
    scale = np.hypot(keypoints[:, 2], keypoints[:, 4]) if affine else keypoints[:, 2]
    chosen = values[np.argsort(-scale, kind="stable")[:count]]
    return chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-6)


SAME_RAD = 1e-3
"""Between descriptors in single precision: a smaller angle is none."""


def mutual_count(a: Float[ndarray, "A 128"], b: Float[ndarray, "B 128"], ratio: float = 0.85) -> int:
    """Mutual nearest neighbours that pass Lowe's ratio test (on angles)."""
    if len(a) < 2 or len(b) < 2:
        return 0
    closeness = a @ b.T
    nearest = closeness.argmax(1)
    best = closeness[np.arange(len(a)), nearest]
    mutual = closeness.argmax(0)[nearest] == np.arange(len(a))
    closeness[np.arange(len(a)), nearest] = -1
    second = closeness.max(1)
    best_rad, second_rad = (np.arccos(np.clip(each, -1, 1)) for each in (best, second))
    clear = (best_rad < ratio * second_rad) & (second_rad > SAME_RAD)
    return int((mutual & clear).sum())


def match(config: SfmConfig, pairs: list[tuple[str, str]], database: Path) -> None:
    """All features of each pair, then the epipolar geometry that most of them agree on."""
    pycolmap.set_random_seed(config.seed)
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = thread_count(), False
    listed = database.with_name("pairs.txt")
    with progress("matching pairs", len(pairs)) as advance:
        for chunk in chunks_of(pairs, PAIRS_PER_CALL):
            listed.write_text("".join(f"{a} {b}\n" for a, b in chunk), encoding="utf-8")
            options = pycolmap.ImportedPairingOptions()
            options.match_list_path = str(listed)
            pycolmap.match_image_pairs(database, matching_options=matching, pairing_options=options)
            for _ in chunk:
                advance("")
    listed.unlink()


def place_cameras(config: SfmConfig, folder: Path, database: Path, out: Path, frames: int) -> list[Any]:
    """Every model that the frames fall into. Raises `BadInput` when there is none."""
    scratch = out / "models"
    artefact.remove(scratch)
    scratch.mkdir(parents=True)
    if config.mapper == "global":
        log.info("placing all cameras at once …")
        whole = pycolmap.GlobalPipelineOptions()
        whole.num_threads, whole.random_seed = thread_count(), config.seed
        models = pycolmap.global_mapping(database, folder, scratch, options=whole)
    else:
        steps = incremental_options(config, frames)
        with progress("placing cameras", frames) as advance:
            models = pycolmap.incremental_mapping(
                database, folder, scratch, options=steps, next_image_callback=lambda: advance("")
            )
    if not models:
        fix = "film again: more texture in view, small steps, each view overlapping the last by two thirds"
        raise BadInput(f"no two of the {frames} frames could be placed with respect to each other", fix)
    return list(models.values())


def incremental_options(config: SfmConfig, frames: int) -> pycolmap.IncrementalPipelineOptions:
    """A fifth of COLMAP's default time, within 0.02 % of the extent of its result on 97 phone photos."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = thread_count(), config.seed
    options.min_model_size = min(6, frames)
    options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.4
    options.ba_global_max_refinements, options.ba_local_max_refinements = 2, 1
    return options


def gates_of(
    config: SfmConfig, frames: Sequence[CapturedFrame], posed: PosedImages, points: SparsePoints
) -> tuple[Gate, ...]:
    missing = sorted({frame.name for frame in frames} - {view.image for view in posed.views})
    return (
        Gate(
            name="registered share",
            value=len(posed.views) / len(frames),
            relation=">=",
            limit=config.registered_share_limit,
            advice=f"{len(missing)} of {len(frames)} frames have no pose ({', '.join(missing[:4])} …): take "
            "more views between them and the rest, and keep the scene still.",
        ),
        Gate(
            name="mean reprojection error",
            value=float(points.reprojection_px.mean()) if len(points.xyz) else float("inf"),
            relation="<=",
            limit=config.reprojection_limit_px,
            unit="px",
            advice="things moved while filming, or the zoom changed: film a still scene with one lens.",
        ),
        Gate(
            name="focal length against EXIF",
            value=max([focal_ratio(frames, posed, view.image) for view in posed.views], default=1.0),
            relation="<=",
            limit=config.focal_ratio_limit,
            unit="×",
            advice="the solved lens is far from what the camera says: add views from other heights and distances.",
        ),
    )


def focal_ratio(frames: Sequence[CapturedFrame], posed: PosedImages, image: str) -> float:
    """Solved over stated focal length, or its inverse: 1 or more; 1 where EXIF states none."""
    stated = {frame.name: frame.focal_px for frame in frames}[image]
    if stated is None:
        return 1.0
    camera = posed.cameras[next(view.camera for view in posed.views if view.image == image)]
    ratio = (camera.fx_px + camera.fy_px) / 2 / stated
    return max(ratio, 1 / ratio)


def numbers_of(
    frames: Sequence[CapturedFrame], posed: PosedImages, points: SparsePoints, models: Sequence[Any]
) -> dict[str, float]:
    camera = posed.cameras[Counter(view.camera for view in posed.views).most_common(1)[0][0]]
    return {
        "registered": float(len(posed.views)),
        "frames": float(len(frames)),
        "models": float(len(models)),
        "points": float(len(points.xyz)),
        "track_length_mean": float(points.track_length.mean()),
        "reprojection_mean_px": float(points.reprojection_px.mean()),
        "focal_px": (camera.fx_px + camera.fy_px) / 2,
    }


def notes_of(frames: Sequence[CapturedFrame], posed: PosedImages, models: Sequence[Any]) -> tuple[str, ...]:
    notes = []
    if len(posed.views) < len(frames):
        notes.append(f"{len(frames) - len(posed.views)} frames could not be placed")
    if len(models) > 1:
        sizes = ", ".join(str(model.num_reg_images()) for model in models)
        notes.append(f"the frames fell into {len(models)} separate models ({sizes} frames); the largest is used")
    return tuple(notes)
