"""Random batches of frames with two cameras: Tandem's store against `LeRobotDataset`, on the same episodes.

Records episodes of moving phone photos (or of textured noise, where there are none) into a store, publishes them with
LeRobot's own coding (AV1, a keyframe every second picture) and reads batches of both in alternation. LeRobot reads
with the decoder that it prefers, torchcodec, whose FFmpeg is lent by PyAV's wheel if the system has none, and with
PyAV; in this process and with two worker processes. It is asked for uint8, as the store gives.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import machine
import numpy as np
from numpy import ndarray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PHOTOS = ROOT.parent / "shared" / "data" / "scan_plush"
HEIGHT, WIDTH, RATE_HZ, BATCH = 480, 640, 30, 32
CAMERAS = ("front", "wrist")
START_NS = 1_000_000_000
LENT = "TANDEM_FFMPEG_LENT"
OURS = "Tandem store"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lend_ffmpeg()
    os.environ["HF_HUB_OFFLINE"] = "1"
    atexit.register(shutil.rmtree, os.environ.get(LENT, ""), ignore_errors=True)
    console = Console()
    console.print(machine.line())
    with tempfile.TemporaryDirectory() as folder:
        episodes, frames = (2, 60) if options.quick else (6, 240)
        pictures = material()
        codecs = compare_codecs(list(moving(pictures, 0, 12, seed=0)))
        store, published, sizes = prepare(Path(folder), pictures, episodes, frames)
        rounds = 3 if options.quick else 8
        seconds, processor = race(readers(store, published), episodes * frames, rounds)
    show(console, codecs, seconds, processor, sizes)
    ratios = {"time": ratio(seconds), "processor_time": ratio(processor)}
    console.print(
        f"against LeRobot's best: [bold]{ratios['time']:.1f}×[/] in time, {ratios['processor_time']:.1f}× in processor "
        "time (wanted: 3×)"
    )
    if options.json is not None:
        result = {
            "machine": machine.describe(),
            "batch": BATCH,
            "cameras": len(CAMERAS),
            "picture": [HEIGHT, WIDTH],
            "pictures_from": "photos" if PHOTOS.is_dir() else "textured noise",
            "seconds_per_batch": seconds,
            "processor_seconds_per_batch": processor,
            "ratio_to_best": ratios,
            "bytes_per_picture": sizes,
            "codecs": codecs,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def lend_ffmpeg() -> None:
    """Starts this script again with PyAV's FFmpeg under the names by which torchcodec looks for it."""
    if os.environ.get(LENT) or not sys.platform.startswith("linux"):
        return
    import av

    libraries = Path(av.__file__).parents[1] / "av.libs"
    folder = Path(tempfile.mkdtemp(prefix="ffmpeg-"))
    for file in libraries.glob("*.so*"):
        (folder / file.name).symlink_to(file)
        stem, _, version = file.name.partition(".so.")
        plain = f"{stem.rsplit('-', 1)[0]}.so.{version.split('.')[0]}"
        if not (folder / plain).exists():
            (folder / plain).symlink_to(file)
    path = os.pathsep.join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), str(folder)]))
    os.environ.update({LENT: str(folder), "LD_LIBRARY_PATH": path})
    os.execv(sys.executable, [sys.executable, *sys.argv])


def material() -> list[ndarray]:
    """A few large pictures to move over."""
    files = sorted(PHOTOS.rglob("*.jpg"))[:6] if PHOTOS.is_dir() else []
    if files:
        return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    rng = np.random.default_rng(0)
    octaves = [
        cv2.resize(rng.normal(0, 1, (n * 3, n * 4, 3)), (1280, 960), interpolation=cv2.INTER_CUBIC)
        for n in (2, 5, 12, 30, 80, 200)
    ]
    texture = sum(octave / 1.8**power for power, octave in enumerate(octaves))
    return [np.clip(128 + 45 * texture, 0, 255).astype(np.uint8)]


def moving(pictures: list[ndarray], which: int, count: int, seed: int) -> Iterator[ndarray]:
    """A window that glides over a picture, with the noise of a sensor (σ 2 of 255)."""
    rng = np.random.default_rng(seed)
    large = pictures[which % len(pictures)]
    scale = max(WIDTH * 1.4 / large.shape[1], HEIGHT * 1.4 / large.shape[0], 0.6)
    large = cv2.resize(large, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    room_y, room_x = large.shape[0] - HEIGHT, large.shape[1] - WIDTH
    for number in range(count):
        y = int(room_y * (0.5 + 0.5 * np.sin(number / 40)))
        x = int(room_x * (0.5 + 0.5 * np.cos(number / 50)))
        window = large[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)
        noise = rng.standard_normal(window.shape, np.float32) * 2
        yield np.clip(window + noise, 0, 255).astype(np.uint8)


def prepare(
    folder: Path, pictures: list[ndarray], episodes: int, frames: int
) -> tuple[Path, Path, dict[str, float]]:
    """(store, published dataset, bytes per picture of each)."""
    from hardware.dataset.frame_grid import Alignment
    from hardware.dataset.publish import PublishData, publish
    from hardware.dataset.recording import Recording, RecordingConfig
    from hardware.dataset.store import EpisodeStore

    store, published = folder / "store", folder / "published"
    config = RecordingConfig(alignment=Alignment(rate_hz=RATE_HZ), queue_mib=64)
    for episode in range(episodes):
        recording = Recording(store, "move", CAMERAS, [f"joint_{n}" for n in range(7)], config=config)
        streams = [moving(pictures, 2 * episode + place, frames + 2, seed=episode) for place in range(2)]
        for number, seen in enumerate(zip(*streams, strict=True)):
            stamp_ns = START_NS + round(number * 1e9 / RATE_HZ)
            recording.joint(stamp_ns, np.full(7, number, float))
            recording.sent(stamp_ns, np.full(7, number, float), "scripted")
            for camera, rgb in zip(CAMERAS, seen, strict=True):
                while not recording.image(camera, stamp_ns, rgb):
                    recording.flush()
        recording.finish(success=True)
    publish(PublishData(store=store, output=published))
    count = episodes * frames * len(CAMERAS)
    videos = sum(file.stat().st_size for file in published.rglob("*.mp4"))
    own = sum(episode.size_bytes for episode in EpisodeStore.open(store).episodes())
    return store, published, {OURS: own / count, "LeRobot video": videos / count}


def readers(store: Path, published: Path) -> dict[str, Callable[[list[ndarray]], float]]:
    """Name → a function that reads batches of these frames and gives the seconds that it took."""
    from lerobot.datasets import LeRobotDataset, video_utils
    from lerobot.utils.import_utils import get_safe_default_video_backend
    from torch.utils.data import DataLoader

    from hardware.dataset.frames import Frames

    frames = Frames(store)

    def ours(batches: list[ndarray]) -> float:
        began = time.perf_counter()
        for batch in batches:
            frames.batch(batch)
        return time.perf_counter() - began

    def theirs(backend: str, workers: int) -> Callable[[list[ndarray]], float]:
        dataset = LeRobotDataset("local/reader", root=published, video_backend=backend, return_uint8=True)

        def read(batches: list[ndarray]) -> float:
            """With workers, batches come before and after those that count: the queue is as full at the end as it was
            at the beginning, and starting a worker is not counted.
            """
            video_utils._default_decoder_cache.clear()  # open files must not be shared with forked workers
            warm = batches[:4] * workers
            sampler = [batch.tolist() for batch in warm + batches + warm]
            loader = iter(DataLoader(dataset, batch_sampler=sampler, num_workers=workers))
            for _ in warm:
                next(loader)
            began = time.perf_counter()
            for _ in batches:
                next(loader)
            return time.perf_counter() - began

        return read

    backends = dict.fromkeys([get_safe_default_video_backend(), "pyav"])
    named: dict[str, Callable[[list[ndarray]], float]] = {OURS: ours}
    for backend in backends:
        for workers in (0, 2):
            named[f"{backend}, {workers} workers"] = theirs(backend, workers)
    return named


def race(
    named: dict[str, Callable[[list[ndarray]], float]], count: int, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds and median processor seconds per batch. All read the same batches, in turn, in every round.

    Processor seconds do not depend on what else the machine does; they are of this process, so without workers only.
    """
    rng = np.random.default_rng(1)
    wall: dict[str, list[float]] = {name: [] for name in named}
    processor: dict[str, list[float]] = {name: [] for name in named if not name.endswith("2 workers")}
    for number in range(rounds + 1):
        batches = [rng.integers(0, count, BATCH) for _ in range(4)]
        for name, read in named.items():
            began = time.process_time()
            seconds = read(batches) / len(batches)
            used = (time.process_time() - began) / len(batches)
            if number:  # the first round opens files
                wall[name].append(seconds)
                processor.get(name, []).append(used)
    return (
        {name: float(np.median(values)) for name, values in wall.items()},
        {name: float(np.median(values)) for name, values in processor.items()},
    )


def compare_codecs(pictures: list[ndarray]) -> dict[str, dict[str, float]]:
    """Milliseconds to write and to read one picture on one thread, its kB and its PSNR."""
    import numcodecs
    import numcodecs.blosc

    from hardware.dataset import picture
    from hardware.dataset.video import psnr_db

    cv2.setNumThreads(1)
    numcodecs.blosc.use_threads = False
    blosc = numcodecs.blosc.Blosc("zstd", 1, numcodecs.blosc.SHUFFLE)

    def by_opencv(suffix: str, *flags: int) -> Callable[[ndarray], bytes]:
        return lambda rgb: cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(flags))[1].tobytes()

    def opencv_back(data: bytes) -> ndarray:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)

    def ours(encoding: picture.Jpeg | picture.Raw) -> tuple[Callable[..., bytes], Callable[..., ndarray]]:
        return (
            lambda rgb: picture.encode(encoding, rgb),
            lambda data: picture.decode(encoding, data, HEIGHT, WIDTH),
        )

    pairs = {
        "JPEG 95": ours(picture.Jpeg(quality=95)),
        "JPEG 90": ours(picture.Jpeg(quality=90)),
        "WebP 90": (by_opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 90), opencv_back),
        "PNG 1": (by_opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1), opencv_back),
        "Blosc zstd": (
            lambda rgb: bytes(blosc.encode(rgb)),
            lambda data: np.frombuffer(blosc.decode(data), np.uint8).reshape(HEIGHT, WIDTH, 3),
        ),
        "raw": ours(picture.Raw()),
    }
    figures = {}
    for name, (encode, decode) in pairs.items():
        began = time.perf_counter()
        encoded = [encode(rgb) for rgb in pictures]
        middle = time.perf_counter()
        decoded = [decode(data) for data in encoded]
        ended = time.perf_counter()
        psnr = np.mean([psnr_db(one, other) for one, other in zip(pictures, decoded, strict=True)])
        figures[name] = {
            "write_ms": 1000 * (middle - began) / len(pictures),
            "read_ms": 1000 * (ended - middle) / len(pictures),
            "kb": float(np.mean(list(map(len, encoded)))) / 1000,
            "psnr_db": float(min(psnr, 99.0)),
        }
    return figures


def ratio(seconds: dict[str, float]) -> float:
    """How many times faster than the best of the others."""
    return min(value for name, value in seconds.items() if name != OURS) / seconds[OURS]


def show(
    console: Console,
    codecs: dict[str, dict[str, float]],
    seconds: dict[str, float],
    processor: dict[str, float],
    sizes: dict[str, float],
) -> None:
    table = Table("coding", "write ms", "read ms", "kB", "dB", title="one 640×480 picture, one thread")
    for name, row in codecs.items():
        table.add_row(name, *(f"{row[key]:.1f}" for key in ("write_ms", "read_ms", "kb", "psnr_db")))
    console.print(table)
    title = f"random batches of {BATCH} frames with {len(CAMERAS)} cameras"
    table = Table("reader", "ms", "frames/s", "time", "CPU ms", "CPU", title=title)
    for name, value in seconds.items():
        used = processor.get(name)
        of_processor = ("", "") if used is None else (f"{1000 * used:.0f}", f"{used / processor[OURS]:.1f}×")
        of_time = (f"{1000 * value:.0f}", f"{BATCH / value:.0f}", f"{value / seconds[OURS]:.1f}×")
        table.add_row(name, *of_time, *of_processor)
    console.print(table)
    console.print(", ".join(f"{name}: {size / 1000:.1f} kB a picture" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
