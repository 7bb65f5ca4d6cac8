"""Small real datasets: a store with three episodes, and a LeRobot v2.1 set written file by file."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy import ndarray

from hardware.dataset.frame_grid import Alignment
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.video import Encoder, encode

HEIGHT, WIDTH, FPS = 64, 96, 30
LENGTHS = (12, 20, 9)
START_NS = 5_000_000_000
JOINTS = ("shoulder", "elbow", "gripper")
H264 = Encoder(codec="h264", crf=18)


def picture(number: int, camera: str = "front") -> ndarray:
    """A smooth picture whose shade tells its number and camera."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    base = 40 + number * 7 % 150
    return np.stack([base + x // 4, base + y // 4, np.full_like(x, base + len(camera))], -1).astype(np.uint8)


def record(store: Path, frames: int, first: int = 0, success: bool | None = True, task: str = "pick") -> None:
    """Joints at 90 Hz, commands at 30, two cameras at 30 with their own delays; a person acts from the middle on."""
    config = RecordingConfig(alignment=Alignment(rate_hz=FPS))
    recording = Recording(store, task, ["front", "wrist"], JOINTS, cell="bench", config=config)
    period = round(1e9 / FPS)
    for number in range(frames + 1):
        stamp_ns = START_NS + number * period
        for part in range(3):
            recording.joint(stamp_ns + part * period // 3, np.array([first + number, number / 7, 0.5]))
        source = "human" if number > frames // 2 else "policy"
        recording.sent(stamp_ns + period // 2, np.array([first + number + 0.5, number / 7, 1.0]), source)
        recording.image("front", stamp_ns - 4_000_000, picture(first + number))
        recording.image("wrist", stamp_ns - 9_000_000, picture(first + number, "wrist"))
    recording.finish(success)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "store"
    for number, length in enumerate(LENGTHS):
        record(folder, length, first=100 * number, success=(True, False, None)[number])
    return folder


@pytest.fixture(scope="session")
def v21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not change it: copy it."""
    root = tmp_path_factory.mktemp("v21") / "set"
    write_v21(root)
    return root


def states(episode: int, length: int) -> ndarray:
    return (np.arange(length * 3).reshape(length, 3) / 10 + 100 * episode).astype(np.float32)


def pictures(episode: int, length: int) -> Iterator[ndarray]:
    return (picture(20 * episode + number) for number in range(length))


def write_v21(root: Path) -> None:
    (root / "meta").mkdir(parents=True)
    episodes, stats, before = [], [], 0
    for number, length in enumerate(LENGTHS):
        values = states(number, length)
        rows = np.arange(length)
        columns = {
            "observation.state": vectors(values),
            "action": vectors(values + 1),
            "timestamp": pa.array((rows / FPS).astype(np.float32)),
            "frame_index": pa.array(rows),
            "episode_index": pa.array(np.full(length, number)),
            "index": pa.array(before + rows),
            "task_index": pa.array(np.full(length, number % 2)),
        }
        data = root / f"data/chunk-000/episode_{number:06d}.parquet"
        movie = root / f"videos/chunk-000/observation.images.front/episode_{number:06d}.mp4"
        data.parent.mkdir(parents=True, exist_ok=True)
        movie.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), data)
        encode(H264, movie, pictures(number, length), FPS)
        episodes.append({"episode_index": number, "tasks": [("pick", "place")[number % 2]], "length": length})
        of = {name: getattr(values, name)(0).tolist() for name in ("min", "max", "mean", "std")} | {
            "count": [length]
        }
        stats.append({"episode_index": number, "stats": {"observation.state": of}})
        before += length
    write_lines(root / "meta/episodes.jsonl", episodes)
    write_lines(root / "meta/episodes_stats.jsonl", stats)
    tasks = [{"task_index": number, "task": text} for number, text in enumerate(("pick", "place"))]
    write_lines(root / "meta/tasks.jsonl", tasks)
    (root / "meta/info.json").write_text(json.dumps(info(before)))


def vectors(values: ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def write_lines(file: Path, lines: list[dict]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def info(frames: int) -> dict:
    number = {"dtype": "int64", "shape": [1], "names": None}
    vector = {"dtype": "float32", "shape": [3], "names": [list(JOINTS)]}
    movie = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.fps": FPS}
    return {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "total_episodes": len(LENGTHS),
        "total_frames": frames,
        "chunks_size": 1000,
        "fps": FPS,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": vector,
            "action": vector,
            "observation.images.front": {
                "dtype": "video",
                "shape": [HEIGHT, WIDTH, 3],
                "names": ["height", "width", "channels"],
                "info": movie,
            },
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), number),
        },
    }
