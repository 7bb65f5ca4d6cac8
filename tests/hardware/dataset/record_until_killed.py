"""Records numbers and pictures that follow from the row number, and prints what is acknowledged, until killed."""

import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
JOINT_PERIOD_NS, CAMERA_PERIOD_NS, START_NS = 10_000_000, 33_000_000, 1_000_000_000


def angles(row: int) -> np.ndarray:
    return np.array([row, -row, row / 7])


def shade(camera: str, row: int) -> int:
    return (row * 7 + len(camera)) % 251


def record(store: str, faster: float) -> None:
    sys.path.insert(0, str(ROOT))
    from hardware.dataset.picture import Raw
    from hardware.dataset.recording import Recording, RecordingConfig

    recording = Recording(
        store,
        "pick",
        ["front", "wrist"],
        ["a", "b", "c"],
        config=RecordingConfig(encoding=Raw(), commit_every_s=0.01),
    )
    began, pictures = time.monotonic(), 0
    for row in range(1_000_000):
        stamp_ns = START_NS + row * JOINT_PERIOD_NS
        recording.joint(stamp_ns, angles(row))
        recording.sent(stamp_ns + 1, angles(row) + 1, "human" if row % 50 >= 25 else "policy")
        if stamp_ns >= START_NS + pictures * CAMERA_PERIOD_NS:
            for camera in ("front", "wrist"):
                rgb = np.full((24, 32, 3), shade(camera, pictures), np.uint8)
                recording.image(camera, START_NS + pictures * CAMERA_PERIOD_NS, rgb)
            pictures += 1
        print(json.dumps(recording.acknowledged()), flush=True)
        time.sleep(max(0.0, began + row * 0.01 / faster - time.monotonic()))


if __name__ == "__main__":
    record(sys.argv[1], float(sys.argv[2]))
