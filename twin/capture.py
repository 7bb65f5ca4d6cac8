"""A scan in (photos, video, or posed images); upright frames and a verdict on their quality out."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from pydantic import Field

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.progress import progress
from twin import photo, posed_scan, sharpness, video
from twin.stage import Outcome
from twin.threads import thread_count

MANIFEST = "capture.json"
FRAMES = "frames"
FEWEST_OF_A_CAMERA = 3
JPEG_QUALITY = 95
COPIES = "too like the one before"
BLURRED = "blurred"
DARK, BRIGHT = 18, 240
"""Mean grey values beyond which a picture shows little."""


class CaptureConfig(Config):
    """What is taken from the scan, and what makes it unusable."""

    max_size_px: Annotated[int, Field(ge=320)] = 1280
    """Longer side of the frames; larger photos are shrunk."""
    video_frames: Annotated[int, Field(ge=12)] = 120
    """How many frames are taken from a video, spread by camera motion."""
    fewest: Annotated[int, Field(ge=3)] = 12
    """Usable frames needed."""
    blur_limit: Annotated[float, Field(gt=0, lt=1)] = 0.55
    """Crété blur above which a frame is left out (sharp phone photos: 0.2 … 0.45; smeared over 15 px: 0.6)."""
    blurred_share_limit: Annotated[float, Field(gt=0, le=1)] = 0.35
    """More blurred frames than this share stop the build."""
    copy_likeness: Annotated[float, Field(gt=0, le=1)] = 0.995
    """Two pictures in a row that correlate more than this show the same view: the second is left out."""
    alike_share_limit: Annotated[float, Field(gt=0, le=1)] = 0.5
    """More such copies than this share stop the build."""


class CapturedFrame(Config):
    """One picture of the scan, and whether it is used."""

    name: str
    """File name in the frames folder (also of one that is not kept, and so not there)."""
    source: str
    """Path in the scan, or the time in the video."""
    width_px: int
    height_px: int
    blur: float
    """0 sharp … 1 blurred (Crété)."""
    brightness: float
    """Mean grey, 0 … 255."""
    camera: str
    """Photos with the same key share their intrinsics."""
    focal_px: float | None = None
    """From EXIF, for the size in the frames folder."""
    stamp_s: float | None = None
    kept: bool = True
    reason: str = ""
    """Why it is not kept."""


class Capture(Config):
    """Everything that later stages need to know of the scan."""

    kind: Literal["photos", "video", "nerfstudio", "colmap"]
    frames: tuple[CapturedFrame, ...]

    @property
    def kept(self) -> tuple[CapturedFrame, ...]:
        return tuple(frame for frame in self.frames if frame.kept)


@dataclass(frozen=True, eq=False)
class Measured:
    """A frame and the tiny sketch that its neighbours are compared with."""

    frame: CapturedFrame
    sketch: Float[ndarray, "24 32"]


def capture(config: CaptureConfig, scan: Path, out: Path) -> Outcome:
    """Writes `frames/`, `capture.json` and, where the scan brings poses, `posed.json` and `points.npz` into `out`.

    Raises `BadInput` for what cannot be read; the gates stop a scan that cannot become a twin.
    """
    artefact.remove(out / FRAMES)
    (out / FRAMES).mkdir(parents=True)
    kind = kind_of(scan)
    if kind in ("nerfstudio", "colmap"):
        measured = take_posed(config, kind, scan, out)
    elif kind == "video":
        measured = take_video(config, scan, out / FRAMES)
    else:
        measured = take_photos(config, scan, out / FRAMES)
    judged = [item.frame for item in measured] if kind in ("nerfstudio", "colmap") else judge(config, measured)
    for frame in judged:
        if not frame.kept:
            (out / FRAMES / frame.name).unlink(missing_ok=True)
    manifest = Capture(kind=kind, frames=tuple(judged))
    artefact.write_model(out / MANIFEST, manifest)
    return Outcome(gates=gates_of(config, manifest), numbers=numbers_of(manifest), notes=notes_of(manifest))


def kind_of(scan: Path) -> Literal["photos", "video", "nerfstudio", "colmap"]:
    """Raises `BadInput` for a path that is none of the four."""
    if not scan.exists():
        raise BadInput(
            f"there is no {scan}", "give a folder of photos, a video, a transforms.json or a COLMAP model"
        )
    if scan.is_file():
        if scan.suffix.lower() == ".json":
            return "nerfstudio"
        if scan.suffix.lower() in video.SUFFIXES:
            return "video"
        fix = f"give a folder of photos, a video ({' '.join(sorted(video.SUFFIXES))}) or a transforms.json"
        raise BadInput(f"{scan} is a single file of a kind that is not a scan", fix)
    if (scan / "transforms.json").exists():
        return "nerfstudio"
    return "colmap" if posed_scan.colmap_model(scan) is not None else "photos"


def take_photos(config: CaptureConfig, scan: Path, frames: Path) -> list[Measured]:
    """Reads every picture of the folder (not of its sub-folders, unless it holds nothing else) on all cores."""
    files = pictures_in(scan)
    names = frame_names(files)
    unreadable: list[BadInput] = []

    def take(source: Path, name: str) -> Measured | None:
        try:
            taken = photo.read(source)
        except BadInput as error:
            unreadable.append(error)
            return None
        return save(config, taken.rgb, frames / name, str(source.relative_to(scan)), taken)

    with progress("reading photos", len(files)) as advance, ThreadPoolExecutor(thread_count()) as pool:
        measured = []
        for item in pool.map(take, files, names):
            measured.append(item)
            advance("")
    if unreadable:
        others = f" (and {len(unreadable) - 1} more like it)" if len(unreadable) > 1 else ""
        raise BadInput(unreadable[0].problem + others, unreadable[0].fix)
    return [item for item in measured if item is not None]


def pictures_in(scan: Path) -> list[Path]:
    """In the order a person numbers files: IMG_9 before IMG_10."""

    def natural(file: Path) -> list[tuple[int, int | str]]:
        return [
            (0, int(part)) if part.isdigit() else (1, part)
            for part in re.split(r"(\d+)", str(file).lower())
            if part
        ]

    found = [file for file in scan.iterdir() if file.suffix.lower() in photo.SUFFIXES and file.is_file()]
    found = found or [file for file in scan.rglob("*") if file.suffix.lower() in photo.SUFFIXES and file.is_file()]
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        held = ", ".join(sorted(file.name for file in scan.iterdir())[:4]) or "nothing"
        raise BadInput(
            f"{scan} holds no photos (it holds {held})", f"photos end in {' '.join(sorted(photo.SUFFIXES))}"
        )
    if len(found) == 1:
        raise BadInput(f"{scan} holds one photo, {found[0].name}", "a twin needs 30 to 150 from all sides")
    return sorted(found, key=natural)


def frame_names(files: Sequence[Path]) -> list[str]:
    """`IMG_1.heic` → `IMG_1.jpg`; sub-folders become part of the name; names that would meet keep their suffix."""
    shared = Path(os.path.commonpath([file.parent for file in files]))
    plain = ["_".join(file.relative_to(shared).with_suffix("").parts) for file in files]
    count = Counter(plain)
    named = [
        name if count[name] == 1 else f"{name}_{file.suffix[1:].lower()}"
        for name, file in zip(plain, files, strict=True)
    ]
    if len(set(named)) < len(named):  # sub/a_b.jpg and sub_a/b.jpg
        named = [f"{number:04d}_{name}" for number, name in enumerate(named)]
    return [f"{name}.jpg" for name in named]


def take_video(config: CaptureConfig, scan: Path, frames: Path) -> list[Measured]:
    """The sharpest frame of each stretch of equal camera motion."""
    taken = []
    for stamp_s, rgb in video.spread_frames(scan, config.video_frames):
        like = photo.Photo(rgb, None, f"video {rgb.shape[1]}×{rgb.shape[0]}", stamp_s)
        name = f"frame_{round(stamp_s * 1000):07d}.jpg"
        taken.append(save(config, rgb, frames / name, f"{stamp_s:.3f} s", like))
    return taken


def take_posed(config: CaptureConfig, kind: str, scan: Path, out: Path) -> list[Measured]:
    """Frames whose cameras and poses are given; they are kept, sharp or not."""
    given = posed_scan.read_nerfstudio(scan) if kind == "nerfstudio" else posed_scan.read_colmap(scan)
    names = frame_names([given.root / view.image for view in given.posed.views])
    measured, views, cameras = [], [], {}
    with progress("reading photos", len(names)) as advance:
        for view, name in zip(given.posed.views, names, strict=True):
            source, camera = given.root / view.image, given.posed.cameras[view.camera]
            taken = posed_scan.matching(photo.read(source, upright=False), photo.read, source, camera)
            measured.append(save(config, taken.rgb, out / FRAMES / name, view.image, taken))
            frame = measured[-1].frame
            cameras[view.camera] = posed_scan.resized(camera, frame.width_px, frame.height_px)
            views.append(view.but(image=name))
            advance("")
    artefact.write_model(out / "posed.json", given.posed.but(cameras=cameras, views=tuple(views)))
    if given.points is not None:
        given.points.save(out / "points.npz")
    return measured


def save(
    config: CaptureConfig, rgb: UInt8[ndarray, "H W 3"], file: Path, source: str, taken: photo.Photo
) -> Measured:
    """Shrinks, measures and writes one frame, without any metadata."""
    factor = min(1.0, config.max_size_px / max(rgb.shape[:2]))
    if factor < 1:
        size = round(rgb.shape[1] * factor), round(rgb.shape[0] * factor)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    Image.fromarray(rgb).save(file, quality=JPEG_QUALITY, subsampling=0)
    grey = sharpness.grey(rgb)
    frame = CapturedFrame(
        name=file.name,
        source=source,
        width_px=rgb.shape[1],
        height_px=rgb.shape[0],
        blur=sharpness.blur(grey),
        brightness=float(grey.mean()),
        camera=taken.camera,
        focal_px=None if taken.focal_px is None else taken.focal_px * factor,
        stamp_s=taken.stamp_s,
    )
    return Measured(frame, sharpness.sketch(grey))


def judge(config: CaptureConfig, measured: Iterable[Measured]) -> list[CapturedFrame]:
    """Leaves out blurred frames, and copies of the last frame that was kept."""
    judged: list[CapturedFrame] = []
    last: Measured | None = None
    for item in measured:
        frame = item.frame
        if frame.blur > config.blur_limit:
            frame = frame.but(kept=False, reason=BLURRED)
        elif last is not None and sharpness.likeness(last.sketch, item.sketch) > config.copy_likeness:
            frame = frame.but(kept=False, reason=COPIES)
        else:
            last = item
        judged.append(frame)
    return judged


def gates_of(config: CaptureConfig, manifest: Capture) -> tuple[Gate, ...]:
    """What must hold before hours of work are put into a scan; the advice says how to film it again."""
    total = len(manifest.frames)
    blurred = sum(frame.reason == BLURRED for frame in manifest.frames)
    copies = sum(frame.reason == COPIES for frame in manifest.frames)
    badly_lit = sum(not DARK < frame.brightness < BRIGHT for frame in manifest.frames)
    of_cameras = Counter(frame.camera for frame in manifest.kept)
    rare, rare_count = min(of_cameras.items(), key=lambda item: item[1], default=("", 0))
    what = "frames" if manifest.kind == "video" else "photos"
    return (
        Gate(
            name="blurred share",
            value=blurred / total,
            relation="<=",
            limit=config.blurred_share_limit,
            advice=f"{blurred} of {total} {what} are blurred: walk slower, hold still for each shot, or add light.",
        ),
        Gate(
            name="copies share",
            value=copies / total,
            relation="<=",
            limit=config.alike_share_limit,
            advice=f"{copies} of {total} {what} show the same view as the one before: walk round the scene.",
        ),
        Gate(
            name="usable frames",
            value=len(manifest.kept),
            relation=">=",
            limit=config.fewest,
            advice=f"take 30 to 150 sharp {what} from all sides, each overlapping the last by two thirds.",
        ),
        Gate(
            name="badly lit share",
            value=badly_lit / total,
            relation="<=",
            limit=0.3,
            advice=f"{badly_lit} of {total} {what} are nearly black or white: even out the light.",
        ),
        Gate(
            name="photos of the rarest camera",
            value=rare_count,
            relation=">=",
            limit=min(FEWEST_OF_A_CAMERA, config.fewest),
            advice=f"only {rare_count} photos come from '{rare}': remove them, or use one camera, lens and zoom.",
        ),
    )


def numbers_of(manifest: Capture) -> dict[str, float]:
    blurs = [frame.blur for frame in manifest.frames]
    return {
        "frames": float(len(manifest.frames)),
        "frames_kept": float(len(manifest.kept)),
        "blur_median": float(np.median(blurs)),
        "blur_worst": max(blurs),
    }


def notes_of(manifest: Capture) -> tuple[str, ...]:
    notes = []
    reasons = Counter(frame.reason for frame in manifest.frames if not frame.kept)
    notes += [f"{count} of {len(manifest.frames)} frames left out: {reason}" for reason, count in reasons.items()]
    cameras = sorted({frame.camera for frame in manifest.kept})
    if len(cameras) > 1:
        notes.append(f"{len(cameras)} cameras or zooms, calibrated one by one: {', '.join(cameras)}")
    stamps = [frame.stamp_s for frame in manifest.kept if frame.stamp_s is not None]
    if len(stamps) > 1 and any(b < a for a, b in itertools.pairwise(stamps)):
        notes.append("the file names are not in the order in which the photos were taken")
    return tuple(notes)
