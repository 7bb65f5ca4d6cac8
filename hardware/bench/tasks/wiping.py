# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Wiping: the sponge over the stain on the table until no more than a twentieth of it is left."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from numpy.random import Generator

from hardware.bench import shapes, textures
from hardware.bench.arm_models import ArmName
from hardware.bench.props import Collider, Part, Prop
from hardware.bench.scene import TABLE_Z_M
from hardware.bench.tasks.start import StartRegion, TaskStart
from hardware.bench.tasks.task import Decal, Layout, body_pose, layout_for, on_table
from hardware.spatial import Pose

SPONGE_M = (0.038, 0.06, 0.028)
STAIN_HALF_M = (0.05, 0.044)
CELL_M = 0.004
"""The stain is judged in squares of this side."""
CLEAN = 0.95
"""The share of the stain that has to go."""
PRESSED_M = 0.002
"""The sponge wipes where its lower side is no higher than this over the table, and moves."""
WIPING_M_S = 0.01
RIM_M = 0.002
"""The outermost part of the sponge does not wipe."""
EVERY_STEPS = 5
"""In which the sponge moves some 2 mm."""
INK = (0.2, 0.12, 0.3, 1.0)
YELLOW = (214, 178, 60)
HALF_TURN = (-math.pi / 3, math.pi / 3)

LAYOUTS: dict[ArmName, Layout] = {
    "so101": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.17, -0.14), upper_m=(0.23, -0.06), yaw_rad=HALF_TURN),),
            "ood": (
                StartRegion(name="middle", lower_m=(0.18, -0.05), upper_m=(0.23, 0.0), yaw_rad=HALF_TURN),
                StartRegion(name="far_right", lower_m=(0.13, -0.18), upper_m=(0.16, -0.13), yaw_rad=HALF_TURN),
            ),
        },
        goal=TaskStart(x_m=0.195, y_m=0.115, yaw_rad=0.2),
    ),
    "panda": Layout(
        starts={
            "id": (StartRegion(name="right", lower_m=(0.38, -0.32), upper_m=(0.54, -0.18), yaw_rad=HALF_TURN),),
            "ood": (
                StartRegion(name="near_right", lower_m=(0.28, -0.32), upper_m=(0.36, -0.2), yaw_rad=HALF_TURN),
            ),
        },
        goal=TaskStart(x_m=0.42, y_m=0.24, yaw_rad=0.2),
    ),
}


class Wiping:
    """Done when the stain is gone but for a rest. It remembers which squares have been wiped."""

    name = "wiping"
    instruction = "wipe the stain off the table with the sponge"
    object_name = "sponge"
    time_limit_s = 30.0

    def __init__(self, arm: ArmName) -> None:
        self.layout = layout_for(arm, LAYOUTS, self.name)
        self._T_base_stain = on_table("stain", self.layout.goal, 0.0)
        self._centres_m = _grid()
        self._stain = _blot(self._centres_m)
        self._dirty = self._stain.copy()

    def props(self, rng: Generator) -> tuple[Prop, ...]:
        pores = textures.noise(rng, (128, 128), (40, 40), 3)
        picture = textures.as_rgb(np.array(YELLOW, np.float32) * (1 + 0.14 * pores[..., None]))
        half = (SPONGE_M[0] / 2, SPONGE_M[1] / 2, SPONGE_M[2] / 2)
        parts = (Part(shapes.plain_box(SPONGE_M), picture, 0.0),)
        return (Prop(self.object_name, SPONGE_M, parts, (Collider("box", half),), 0.018, (0.45, 0.005, 0.0001)),)

    def add_fixtures(self, world: mujoco.MjSpec) -> None:
        """Nothing stands on the table; the sponge is soft."""
        for geom in world.body(self.object_name).geoms:
            geom.priority = 1
            geom.solref = (0.015, 1.0)
            geom.solimp = (0.7, 0.95, 0.004, 0.5, 2.0)

    def bind(self, model: mujoco.MjModel) -> None:
        self._sponge = model.body(self.object_name).id
        self._timestep_s = model.opt.timestep
        self._velocity_at = model.joint(self.object_name).dofadr[0]

    def begin(self) -> None:
        self._dirty = self._stain.copy()

    def advance(self, data: mujoco.MjData) -> None:
        """Takes away what the sponge's lower side passes over; looks at every fifth step."""
        if round(data.time / self._timestep_s) % EVERY_STEPS:
            return
        centre = data.xpos[self._sponge]
        if centre[2] - SPONGE_M[2] / 2 > TABLE_Z_M + PRESSED_M + 0.002:
            return
        speed = np.hypot(*data.qvel[self._velocity_at : self._velocity_at + 2])
        if speed < WIPING_M_S:
            return
        T_sponge_stain = body_pose(data, self._sponge, self.object_name).inverse() @ self._T_base_stain
        at_m = T_sponge_stain.apply(np.append(self._centres_m, np.zeros((*self._stain.shape, 1)), axis=-1))
        below = np.abs(at_m[..., 2] + SPONGE_M[2] / 2) < PRESSED_M
        under = (np.abs(at_m[..., 0]) < SPONGE_M[0] / 2 - RIM_M) & (np.abs(at_m[..., 1]) < SPONGE_M[1] / 2 - RIM_M)
        self._dirty = self._dirty & ~(below & under)

    def success(self, data: mujoco.MjData) -> bool:
        return self.progress(data) >= CLEAN

    def progress(self, data: mujoco.MjData) -> float:
        """The share of the stain that is gone."""
        return float(1 - self._dirty.sum() / self._stain.sum())

    def landmarks(self) -> dict[str, Pose]:
        """`stain`, and `dirt` while there is too much left: the first dirty square, row by row."""
        marks = {"stain": self._T_base_stain}
        if self._dirty.sum() > (1 - CLEAN) * self._stain.sum():
            first = self._centres_m[tuple(np.argwhere(self._dirty)[0])]
            shift = Pose.from_parts("stain", "dirt", np.eye(3), [*first, 0.0])
            marks["dirt"] = self._T_base_stain @ shift
        return marks

    def decals(self) -> Sequence[Decal]:
        """Each run of dirty squares in a row as one rectangle."""
        return [self._decal(row, start, stop) for row, start, stop in _runs(self._dirty)]

    def memory(self) -> ndarray:
        return self._dirty.copy()

    def recall(self, memory: ndarray) -> None:
        self._dirty = memory.copy()

    def _decal(self, row: int, start: int, stop: int) -> Decal:
        middle = (self._centres_m[row, start] + self._centres_m[row, stop - 1]) / 2
        centre = self._T_base_stain.apply(np.array([*middle, 0.0003]))
        half = ((stop - start) * CELL_M / 2, CELL_M / 2)
        x_m, y_m, z_m = centre.tolist()
        return Decal((x_m, y_m, z_m), half, self.layout.goal.yaw_rad, INK)


def _grid() -> ndarray:
    """Centres of the squares in the stain's frame, [rows, columns, 2]; a row runs along x."""
    columns, rows = (round(2 * half / CELL_M) for half in STAIN_HALF_M)
    x = (np.arange(columns) + 0.5) * CELL_M - STAIN_HALF_M[0]
    y = (np.arange(rows) + 0.5) * CELL_M - STAIN_HALF_M[1]
    return np.stack(np.meshgrid(x, y), -1)


def _blot(centres_m: ndarray) -> Bool[ndarray, "R C"]:
    """A spill: an uneven disc."""
    scaled = centres_m / STAIN_HALF_M
    angle = np.arctan2(scaled[..., 1], scaled[..., 0])
    edge = 0.86 + 0.07 * np.sin(3 * angle + 0.5) + 0.05 * np.sin(5 * angle + 2.0)
    return np.hypot(scaled[..., 0], scaled[..., 1]) < edge


def _runs(mask: Bool[ndarray, "R C"]) -> list[tuple[int, int, int]]:
    """(row, first, one past last) of the runs of True in each row."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
