"""Short recordings into a store, as the recorder node makes them: a grey picture that brightens, joints that move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware.dataset.frame_grid import Alignment
from hardware.dataset.recording import Recording, RecordingConfig

FPS, STEPS, PX = 10, 12, 64
NAMES, CAMERAS, TASK = ("x", "y"), ("front",), "pick the cube"


def record(
    store: Path,
    first: float = 0.0,
    task: str = TASK,
    names: Sequence[str] = NAMES,
    cameras: Sequence[str] = CAMERAS,
    steps: int = STEPS,
) -> None:
    """One more episode in the store; the first joint starts at `first`, the others rest."""
    config = RecordingConfig(alignment=Alignment(rate_hz=FPS))
    recording = Recording(store, task, list(cameras), list(names), list(names), config=config)
    for step in range(steps + 1):
        stamp_ns = 5_000_000_000 + step * 1_000_000_000 // FPS
        rest = np.full(len(names) - 1, 0.5)
        for camera in cameras:
            recording.image(camera, stamp_ns, np.full((PX, PX, 3), 40 + 10 * step, np.uint8))
        recording.joint(stamp_ns, np.array([first + step / 10, *rest]))
        recording.sent(
            stamp_ns + 10_000_000, np.array([first + step / 10 + 0.02, *(2 * rest - step / 20)]), "human"
        )
    recording.finish(True)
