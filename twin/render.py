"""`tandem twin render`: a twin bundle and a camera path in, pictures or a video out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import tyro
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field, PositiveFloat, PositiveInt

from hardware import artefact
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.progress import progress
from twin import splat_ply
from twin.camera_path import Shot, framed, from_nerfstudio, orbit, poses, walk
from twin.posed_images import PosedImages
from twin.rasterise.choose import rasteriser
from twin.rasterise.protocol import Rendering
from twin.splat import Splat

log = logging.getLogger(__name__)

LONG_SIDE_PX = 960
"""Pictures of the photos' shape are this long where no size is asked for."""
DEPTH_UNIT = 1000
"""Depth pictures count thousandths of the world's unit: millimetres in a metric twin, as most depth cameras do."""
SOLID = 0.5
"""Pixels covered less than this have no depth."""
VIDEO_CRF = "18"
"""x264's constant quality; 18 is commonly called visually lossless."""

Draw = Callable[[Shot], Rendering]


class RenderTwin(Config):
    """Pictures or a video of a twin along a camera path."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A new or empty folder for PNG files, or a name that ends in .mp4 for a video."""
    path: str = "orbit"
    """orbit: a circle round what the cameras saw. walk: a smooth way through the training cameras, in order.
    held-out: the views that training never saw. Or a camera_path.json that nerfstudio's viewer saved."""
    frames: PositiveInt = 120
    """How many pictures an orbit or a walk has."""
    size_px: tuple[PositiveInt, PositiveInt] | None = None
    """Width and height; else the shape of the photos, at most 960 pixels long."""
    fov_deg: Annotated[float, Field(gt=0, lt=180)] | None = None
    """Horizontal field of view in degrees; else the photos' own."""
    rate_hz: PositiveFloat = 30.0
    """Pictures per second of a video."""
    depth: bool = False
    """Also write depth: 16-bit PNG in thousandths of the world's unit (millimetres where the twin is metric, 0
    where nothing is seen) in the folder's `depth`, or a second, coloured video NAME.depth.mp4."""


def render(config: RenderTwin) -> int:
    """Leaves all pictures or none. Raises `BadInput` for a path, size or output that cannot be."""
    splat, posed = scene(config.bundle)
    shots = planned(config, posed)
    require_usable(config.output)
    rasterise = rasteriser()
    started = time.monotonic()

    def draw(shot: Shot) -> Rendering:
        return rasterise.render(splat, shot.camera, shot.T_cam_world)

    if config.output.suffix.lower() == ".mp4":
        write_videos(config, shots, draw, splat)
    else:
        write_pictures(config, shots, draw)
    seconds = time.monotonic() - started
    log.info("%d pictures in %.1f s, %.1f a second → %s", len(shots), seconds, len(shots) / seconds, config.output)
    return 0


def scene(bundle: Path) -> tuple[Splat, PosedImages]:
    """What a bundle shows and who looked at it."""
    if not (bundle / "scene.ply").is_file():
        raise BadInput(
            f"{bundle} holds no twin (no scene.ply in it)", "give the folder that `tandem twin build` made"
        )
    if not (bundle / "cameras.json").is_file():
        raise BadInput(
            f"{bundle} is no whole twin (no cameras.json in it)", "run the same `tandem twin build` again"
        )
    return splat_ply.read(bundle / "scene.ply"), read(PosedImages, bundle / "cameras.json")


# ── what to render ──────────────────────────────────────────────────────────────────────────────────────────────


def planned(config: RenderTwin, posed: PosedImages) -> list[Shot]:
    """The shots of the asked path at the asked size."""
    if config.path.endswith(".json"):
        shots = from_nerfstudio(Path(config.path))
        return [
            Shot(shot.name, framed(shot.camera, config.size_px, config.fov_deg), shot.T_world_cam) for shot in shots
        ]
    if not posed.views:
        raise BadInput(f"{config.bundle / 'cameras.json'} holds no cameras, so no path can be made")
    if config.path == "held-out":
        if not posed.held_out:
            raise BadInput("the twin was built without held-out views", "render --path walk or --path orbit")
        cameras = [as_asked(config, posed, view.camera) for view in posed.held_out]
        names = [Path(view.image).stem for view in posed.held_out]
        return list(map(Shot, names, cameras, poses(posed.held_out)))
    makers = {
        "orbit": lambda: orbit(posed, config.frames),
        "walk": lambda: walk(posed.training or posed.views, config.frames),
    }
    if config.path not in makers:
        raise BadInput(f"no path '{config.path}'; have: {', '.join(makers)}, held-out, or a camera_path.json")
    camera = as_asked(config, posed, posed.views[0].camera)
    return [Shot(f"frame_{index:05d}", camera, T) for index, T in enumerate(makers[config.path]())]


def as_asked(config: RenderTwin, posed: PosedImages, key: str) -> CameraModel:
    """A camera of the scan at the asked size, or at most `LONG_SIDE_PX` long with even sides (video needs them)."""
    camera = posed.cameras[key]
    if config.size_px is not None:
        return framed(camera, config.size_px, config.fov_deg)
    shrink = min(1.0, LONG_SIDE_PX / max(camera.width_px, camera.height_px))
    size_px = even(camera.width_px * shrink), even(camera.height_px * shrink)
    return framed(camera, size_px, config.fov_deg)


def even(length_px: float) -> int:
    return max(2, 2 * round(length_px / 2))


def require_usable(output: Path) -> None:
    """Raises `BadInput` rather than write over somebody's files."""
    if output.suffix.lower() == ".mp4":
        if output.is_dir():
            raise BadInput(f"{output} is a folder", "give a file name for the video: -o film.mp4")
    elif output.is_file() or output.suffix:
        raise BadInput(
            f"{output} is neither a folder nor a video", "give a new folder, or a name that ends in .mp4"
        )
    elif output.is_dir() and any(output.iterdir()):
        raise BadInput(f"{output} is not empty", "give a new or empty folder")


# ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────


def write_pictures(config: RenderTwin, shots: Sequence[Shot], draw: Draw) -> None:
    with artefact.staged_folder(config.output) as folder:
        for shot, rendering in drawn(shots, draw):
            save_png(folder / f"{shot.name}.png", as_uint8(rendering.rgb)[..., ::-1])
            if config.depth:
                save_png(folder / "depth" / f"{shot.name}.png", depth_counts(rendering))


def drawn(shots: Sequence[Shot], draw: Draw) -> Iterator[tuple[Shot, Rendering]]:
    with progress("rendering", len(shots)) as advance:
        for shot in shots:
            yield shot, draw(shot)
            advance("")


def as_uint8(rgb: Float[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def depth_m(rendering: Rendering) -> Float[ndarray, "H W"]:
    """Expected depth along z; 0 where too little covers the pixel."""
    solid = rendering.alpha >= SOLID
    return np.where(solid, rendering.depth_m / np.where(solid, rendering.alpha, 1), 0).astype(np.float32)


def depth_counts(rendering: Rendering) -> ndarray:
    """uint16 H W, thousandths of the world's unit. Beyond 65 units: the largest number."""
    return np.clip(np.round(depth_m(rendering) * DEPTH_UNIT), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def save_png(file: Path, pixels: ndarray) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


# ── video ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write_videos(config: RenderTwin, shots: Sequence[Shot], draw: Draw, splat: Splat) -> None:
    sizes = {(shot.camera.width_px, shot.camera.height_px) for shot in shots}
    if len(sizes) > 1 or any(length % 2 for size in sizes for length in size):
        listed = ", ".join(f"{width} × {height}" for width, height in sorted(sizes))
        raise BadInput(f"a video needs one even size, not {listed}", "give --size-px WIDTH HEIGHT, both even")
    depth_file = config.output.with_suffix(".depth.mp4")
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(video(config.output, shots[0], config.rate_hz))
        depth_film = stack.enter_context(video(depth_file, shots[0], config.rate_hz)) if config.depth else None
        near, far = depth_range(splat, shots)
        for _, rendering in drawn(shots, draw):
            film(as_uint8(rendering.rgb))
            if depth_film is not None:
                depth_film(coloured(depth_m(rendering), near, far))


@contextlib.contextmanager
def video(file: Path, shot: Shot, rate_hz: float) -> Generator[Callable[[UInt8[ndarray, "H W 3"]], None]]:
    """Gives a function to call with each frame. H.264 in 4:2:0, which every player and browser knows."""
    with artefact.staged_file(file) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1001))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = shot.camera.width_px, shot.camera.height_px
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": VIDEO_CRF}

        def add(rgb: UInt8[ndarray, "H W 3"]) -> None:
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)

        yield add
        for packet in stream.encode():
            container.mux(packet)


def depth_range(splat: Splat, shots: Sequence[Shot]) -> tuple[float, float]:
    """Near and far for one film: the middle 96 % of the solid Gaussians that a few of its shots hold."""
    solid = splat.means_m[splat.opacities > SOLID].astype(np.float64)
    depths = []
    for shot in shots[:: max(1, len(shots) // 8)]:
        T = shot.T_cam_world
        points = solid @ T[:3, :3].T + T[:3, 3]
        depths.append(points[shot.camera.project(points)[1], 2])
    seen = np.concatenate(depths)
    if not len(seen):
        return 0.1, 10.0
    near, far = np.percentile(seen, [2, 98])
    return float(near), float(max(far, near * 1.01))


def coloured(depth: Float[ndarray, "H W"], near: float, far: float) -> UInt8[ndarray, "H W 3"]:
    """Even steps of 1/depth in Turbo's colours, near red and far blue; black where there is none."""
    seen = depth > 0
    nearness = (1 / np.where(seen, depth, 1) - 1 / far) / (1 / near - 1 / far)
    bgr = cv2.applyColorMap((np.clip(nearness, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.where(seen[..., None], bgr[..., ::-1], 0).astype(np.uint8)
