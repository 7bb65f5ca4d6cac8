# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The SO-101 arm for a MuJoCo scene: the model of the `so101-nexus` wheel with visual meshes light enough to draw.

The wheel's meshes come from CAD and have 350 000 triangles together; ours keep the shape within a fraction of a
millimetre. They are simplified once and kept in the user's cache folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from pathlib import Path

import mujoco

from hardware.bench.light_mesh import light_copy
from hardware.errors import BadInput

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

REST_RAD = tuple(math.radians(angle) for angle in (0.0, -90.0, 90.0, 38.0, 0.0, -5.0))
"""Folded over its own base, jaw nearly closed: where the arm lies without power (the wheel's own rest pose)."""

TRIANGLES_PER_MESH = 3500
COLLISION_MESHES = ("part0", "part1")
"""In the names of the meshes that only touch things: they are convex already and stay as they are."""


def spec(triangles: int = TRIANGLES_PER_MESH) -> mujoco.MjSpec:
    """A fresh copy of the arm's model, its base frame at the origin, x forward, z up. Metres, radians, kilograms.

    No drawn mesh has more than `triangles`. Raises `BadInput` when the wheel is not installed.
    """
    arm = mujoco.MjSpec.from_file(str(model_file()))
    arm.meshdir = str(light_meshes(triangles))
    arm.compiler.degree = False
    return arm


def model_file() -> Path:
    found = importlib.util.find_spec("so101_nexus")
    if found is None or not found.submodule_search_locations:
        raise BadInput("the bench needs the arm model of the wheel 'so101-nexus'", "make setup")
    return Path(found.submodule_search_locations[0]) / "assets/SO101_menagerie/so101.xml"


def light_meshes(triangles: int = TRIANGLES_PER_MESH) -> Path:
    """A folder with the wheel's meshes under their own names, the drawn ones simplified. Made on first use."""
    version = importlib.metadata.version("so101-nexus")
    source = model_file().parent / "assets"
    return light_copy(source, f"so101-{version}-{triangles}", triangles, _only_touches)


def _only_touches(mesh: Path) -> bool:
    return any(mark in mesh.stem for mark in COLLISION_MESHES)
