"""Demonstrations of a task that only the eyes can solve: the action is where the dot is, or its mirror image."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla.demonstrations import ArrayDemonstrations, Demonstration, Layout

PX, T = 64, 8
RED = (220, 40, 30)
LAYOUT = Layout(cameras=("front",), state_names=("a", "b"), action_names=("x", "y"), rate_hz=10.0)


def picture(x: float, y: float, noise: np.ndarray, colour: tuple[int, int, int] = RED) -> np.ndarray:
    """x, y in −1 … 1, right and down; a disc of 6 px radius on a grey table."""
    rows, columns = np.mgrid[:PX, :PX] + 0.5
    centre_x, centre_y = PX * (0.5 + 0.38 * x), PX * (0.5 + 0.38 * y)
    rgb = 110 + noise
    inside = (columns - centre_x) ** 2 + (rows - centre_y) ** 2 < 36
    rgb[inside] = colour
    return rgb.astype(np.uint8)


def demonstration(
    rng: np.random.Generator,
    instruction: str = "touch the dot",
    colour: tuple[int, int, int] = RED,
    mirrored: bool = False,
) -> Demonstration:
    """The dot drifts; the arm's own state says nothing. `mirrored`: the action is left where the dot is right."""
    start, end = rng.uniform(-1, 1, (2, 2))
    share = np.linspace(0, 1, T)[:, None]
    actions = (start + share * (end - start) * 0.5).clip(-1, 1).astype(np.float32)
    noise = rng.normal(0, 4, (T, PX, PX, 3))
    images = np.stack([picture(x, y, frame, colour) for (x, y), frame in zip(actions, noise, strict=True)])
    actions = actions * np.array([-1, 1], np.float32) if mirrored else actions
    state = rng.normal(size=(T, 2)).astype(np.float32)
    return Demonstration(instruction, state, actions, lambda camera: images)


def demonstrations(episodes: int, name: str = "dots", seed: int = 0, **task: Any) -> ArrayDemonstrations:
    """`task`: as `demonstration` takes it."""
    rng = np.random.default_rng(seed)
    return ArrayDemonstrations(name, LAYOUT, [demonstration(rng, **task) for _ in range(episodes)])
