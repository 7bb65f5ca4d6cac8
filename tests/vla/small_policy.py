"""A TandemVLA that is small enough to build in a test, and observations for it."""

from __future__ import annotations

import numpy as np
import torch

from hardware.messages import Observation
from vla import fast_tokens
from vla.backbone import Architecture
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy import Interface, ObservationBatch
from vla.tandem_vla import TandemConfig, TandemVLA

torch.set_num_threads(1)  # layers this small are slower in two threads, far slower on a busy machine
H, D, PX = 6, 2, 64
SMALL = Architecture(
    image_px=PX, width=32, heads=4, readers=4, context_layers=1, token_layers=2, consistency_layers=1
)


def interface(cameras: tuple[str, ...] = ("front",), **changes: object) -> Interface:
    values = {
        "cameras": cameras,
        "state_names": ("x", "y"),
        "action_names": ("x", "y"),
        "rate_hz": 10.0,
        "horizon_steps": H,
    }
    return Interface.model_validate(values | changes)


def unit(dims: int = D) -> DatasetQuantiles:
    whole = Quantiles(low=(-1.0,) * dims, high=(1.0,) * dims)
    return DatasetQuantiles(state=whole, action=whole)


def smooth_chunks(count: int, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(scale=0.2, size=(count, H, D))
    return np.clip(np.cumsum(steps, axis=1), -1, 1).astype(np.float32)


def tokens() -> fast_tokens.FastTokens:
    return fast_tokens.fit(smooth_chunks(200), vocabulary=128)


def policy(seed: int = 0, cameras: tuple[str, ...] = ("front",), **changes: object) -> TandemVLA:
    config = TandemConfig(interface=interface(cameras), normalisation={"arm": unit()}, architecture=SMALL)
    return TandemVLA(config.but(**changes), tokens(), seed).eval()


def batch(count: int, cameras: tuple[str, ...] = ("front",), seed: int = 0) -> ObservationBatch:
    rng = np.random.default_rng(seed)
    images = {camera: rng.integers(0, 255, (count, PX, PX, 3), np.uint8) for camera in cameras}
    state = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    return ObservationBatch(state, images, ("push the dot",) * count)


def observation(stamp_ns: int = 5, **changes: object) -> Observation:
    values = {
        "stamp_ns": stamp_ns,
        "joint_names": ("y", "x"),
        "q_rad": np.array([0.2, -0.4]),
        "images": {"front": np.full((48, 80, 3), 90, np.uint8)},
        "image_stamps_ns": {"front": stamp_ns},
        "instruction": "push the dot",
    }
    return Observation(**(values | changes))
