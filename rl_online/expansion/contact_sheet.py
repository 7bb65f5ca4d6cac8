"""A world with varied looks and starts in; one picture of many out: every camera at every start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from rl_online.worlds.world import World

MOST, ACROSS = 12, 4


def draw(file: Path, world: World, starts: Sequence[TaskStart]) -> None:
    """Of the first twelve starts; the cameras of one start stand side by side."""
    if not starts:
        return
    tiles = []
    for start in starts[:MOST]:
        world.reset([start], [0])
        tiles.append(np.concatenate([world.picture(camera, 0) for camera in world.camera_names], axis=1))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[at : at + ACROSS], axis=1) for at in range(0, len(tiles), ACROSS)]
    with artefact.staged_file(file) as staged:
        Image.fromarray(np.concatenate(rows)).save(staged, format="PNG")
