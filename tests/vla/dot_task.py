"""Demonstrations of a task that only the eyes can solve: the action is where the red dot is."""

from __future__ import annotations

import numpy as np

from vla.demonstrations import ArrayDemonstrations, Demonstration, Layout

PX, T = 64, 8
LAYOUT = Layout(cameras=("front",), state_names=("a", "b"), action_names=("x", "y"), rate_hz=10.0)


def picture(x: float, y: float, noise: np.ndarray) -> np.ndarray:
    """x, y in −1 … 1, right and down; a disc of 6 px radius on a grey table."""
    rows, columns = np.mgrid[:PX, :PX] + 0.5
    centre_x, centre_y = PX * (0.5 + 0.38 * x), PX * (0.5 + 0.38 * y)
    rgb = 110 + noise
    inside = (columns - centre_x) ** 2 + (rows - centre_y) ** 2 < 36
    rgb[inside] = (220, 40, 30)
    return rgb.astype(np.uint8)


def demonstration(rng: np.random.Generator, instruction: str = "touch the dot") -> Demonstration:
    """The dot drifts; the arm's own state says nothing."""
    start, end = rng.uniform(-1, 1, (2, 2))
    share = np.linspace(0, 1, T)[:, None]
    actions = (start + share * (end - start) * 0.5).clip(-1, 1).astype(np.float32)
    noise = rng.normal(0, 4, (T, PX, PX, 3))
    images = np.stack([picture(x, y, frame) for (x, y), frame in zip(actions, noise, strict=True)])
    state = rng.normal(size=(T, 2)).astype(np.float32)
    return Demonstration(instruction, state, actions, lambda camera: images)


def demonstrations(episodes: int, name: str = "dots", seed: int = 0) -> ArrayDemonstrations:
    rng = np.random.default_rng(seed)
    return ArrayDemonstrations(name, LAYOUT, [demonstration(rng) for _ in range(episodes)])
