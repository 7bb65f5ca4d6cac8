"""What the bench knows of itself for a guided run: how its front camera stands, the colours of the object, and, as a
scripted stand-in for a policy, how to undo the task."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware import config as configs
from hardware.bench import reset_guide
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.link import PlantLink
from hardware.bench.plant import Plant
from hardware.bench.plant_config import LiveCamera, PlantConfig
from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from hardware.page.silhouette import outline, standing
from hardware.ports import JointReading
from hardware.spatial import Pose
from rl_online.real.config import WANTED, Colours
from vla import exchange
from vla.policy import Interface

SAMPLES = 600
VIEWS = 4
"""Starts at which the object is looked at, so that its sides are all seen in the light."""


def plant_of(cell: CellConfig) -> PlantConfig:
    """The plant that this cell's processes will run, seen by its own cameras."""
    if cell.bench is None or not isinstance(cell.arm, BenchArm):
        raise BadInput(f"'{cell.name}' is no bench", "--guide and --colours say what its camera sees")
    camera = cell.cameras[reset_guide.CAMERA]
    live = LiveCamera(width_px=camera.width_px, height_px=camera.height_px)
    return PlantConfig(
        task=cell.bench.task,
        starts=cell.bench.starts,
        arm_model=cell.arm.model,
        seed=cell.bench.seed,
        cameras={reset_guide.CAMERA: live},
    )


def look(config: PlantConfig) -> tuple[Guide, Colours]:
    """The guide, and the object's colours where it stands at a few known starts."""
    guide = reset_guide.guide(config, 0, VIEWS)
    plant = Plant(config)
    try:
        pixels = [
            inside(guide, start, _seen(plant, start))
            for start in (plant.draw_start("ood" if number % 2 else "id", number) for number in range(VIEWS))
        ]
    finally:
        plant.close()
    every = np.concatenate(pixels)
    chosen = every[np.random.default_rng(0).permutation(len(every))[:SAMPLES]]
    return guide, Colours(rgb=tuple((int(r), int(g), int(b)) for r, g, b in chosen))


def inside(guide: Guide, start: TaskStart, rgb: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "N 3"]:
    """The pixels well within the object's silhouette."""
    eye = Pose("base", "cam", np.array(guide.T_base_cam))
    line = outline(guide.intrinsics, eye, standing(start, guide.centre_z_m), np.array(guide.size_m))
    if line is None:
        return np.zeros((0, 3), np.uint8)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(line).astype(np.int32), 1)
    return rgb[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0]


def _seen(plant: Plant, start: TaskStart) -> UInt8[ndarray, "H W 3"]:
    plant.reset(start)
    return plant.glance(reset_guide.CAMERA)


class ScriptedWayBack:
    """Answers a policy server's questions with the demonstrator's chunks to the run's wanted start. One thread."""

    def __init__(self, cell: CellConfig, run: Path, interface: Interface) -> None:
        if cell.bench is None or not isinstance(cell.arm, BenchArm):
            raise BadInput(f"'{cell.name}' is no bench: nobody knows its truth", "--backward-policy FOLDER")
        self._config = PlantConfig(task=cell.bench.task, arm_model=cell.arm.model)
        self._plant = cell.plant_name
        self._wanted, self._interface = run / WANTED, interface
        self._made_ns = 0
        self._demonstrator: Demonstrator | None = None
        self._link: PlantLink | None = None

    def infer(self, observation: dict) -> dict:
        """A wanted start that was written anew is a new attempt."""
        made_ns = self._wanted.stat().st_mtime_ns
        if self._demonstrator is None or made_ns != self._made_ns:
            rate_hz, horizon = self._interface.rate_hz, self._interface.horizon_steps
            to = configs.read(TaskStart, self._wanted)
            task, arm = self._config.task, self._config.arm_model
            self._demonstrator = Demonstrator(task, arm, rate_hz, horizon, undo_to=to)
            self._made_ns = made_ns
        if self._link is None:
            self._link = PlantLink(self._plant)
        seen = exchange.observation(observation)
        reading = JointReading(seen.stamp_ns, seen.joint_names, seen.q_rad)
        chunk = self._demonstrator.chunk(seen.stamp_ns, reading, seen.gripper_open or 0.0, self._link.truth())
        return exchange.reply(chunk)
