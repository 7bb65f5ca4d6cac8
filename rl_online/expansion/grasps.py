"""An object's surface and a jaw in; places to take hold of it out, best first.

Antipodal pairs (Nguyen 1988): two points of the surface whose normals lie inside the friction cones of the line
between them, no further apart than the jaws open. Scored by how squarely the jaws meet the surface, how near the line
passes to the middle of the object, and how little the tool leans.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, PositiveFloat, PositiveInt

from hardware.bench.arm_models import ArmModel
from hardware.bench.scripts import Grip
from hardware.config import Config
from hardware.errors import BadInput
from hardware.spatial import Pose

LEANS_RAD = (0.0, math.radians(20), math.radians(-20), math.radians(40), math.radians(-40))
"""Of the tool about the closing direction."""
STEEPEST_RAD = math.radians(50)
"""The tool leans no more than this."""


class GraspSearch(Config):
    """How grasps are looked for."""

    points: PositiveInt = 400
    """On the surface."""
    friction: PositiveFloat = 0.5
    """Half width of the friction cone is its arctangent."""
    least_width_m: PositiveFloat = 0.008
    most_width_m: PositiveFloat = 0.055
    room_m: PositiveFloat = 0.0035
    """Between a jaw that does not move and the surface, before the jaws close."""
    candidates: PositiveInt = 40
    """Tried for reach and collision, in an order drawn by score."""
    temperature: float = Field(default=0.15, gt=0)
    """Of that draw: near 0 the best come first, large: any order."""


@dataclass(frozen=True, eq=False)
class Grasp:
    """Where the tip goes before the jaws close."""

    T_obj_tip: Pose
    width_m: float
    score: float
    """1: square, through the middle, upright."""


def find(
    surface: trimesh.Trimesh,
    T_base_object: Pose,
    arm: ArmModel,
    search: GraspSearch,
    rng: np.random.Generator,
) -> list[Grasp]:
    """`search.candidates` grasps at most, in the order to try them; none where the tool would have to lie down.

    `surface` is in the object's frame. The same random state gives the same grasps.
    """
    points, normals = sampled(surface, search.points, rng)
    one, other, square = antipodal(points, normals, search)
    middle, size = surface.bounds.mean(axis=0), float(np.linalg.norm(surface.extents))
    rotation = T_base_object.rotation
    best = np.argsort(-square)[: 40 * search.candidates]
    chosen = rng.permutation(best)[: 2 * search.candidates]
    found = []
    for pair in chosen.tolist():
        here, there = points[one[pair]], points[other[pair]]
        away_m = np.linalg.norm((here + there) / 2 - middle)
        for T_obj_tip, lean in postures(here, there, rotation, arm, search):
            score = float(square[pair] * (1 - away_m / size) * math.cos(lean) ** 2)
            found.append(Grasp(T_obj_tip, float(np.linalg.norm(there - here)), score))
    ease = np.array([grasp.score for grasp in found]) / search.temperature + rng.gumbel(size=len(found))
    return [found[number] for number in np.argsort(-ease)[: search.candidates]]


def require_graspable(surface: trimesh.Trimesh, search: GraspSearch) -> None:
    """Raises `BadInput` for what these jaws cannot hold, whichever way it stands."""
    points, normals = sampled(surface, search.points, np.random.default_rng(0))
    if len(antipodal(points, normals, search)[0]) == 0:
        size = " × ".join(f"{1e3 * side:.0f}" for side in surface.extents)
        raise BadInput(
            f"no grasp of an object of {size} mm with jaws that open {1e3 * search.most_width_m:.0f} mm",
            "--plan.grasps.most-width-m, if they open wider",
        )


def sampled(
    surface: trimesh.Trimesh, count: int, rng: np.random.Generator
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Points, even over the area, and the outward normals there."""
    points, faces, *_ = trimesh.sample.sample_surface(surface, count, seed=int(rng.integers(2**31)))
    return np.asarray(points), np.asarray(surface.face_normals[faces])


def antipodal(
    points: Float[ndarray, "N 3"], normals: Float[ndarray, "N 3"], search: GraspSearch
) -> tuple[ndarray, ndarray, Float[ndarray, " P"]]:
    """Numbers of the two points of each pair, and the cosine of the worse of the two contacts' angles."""
    between = points[None] - points[:, None]
    width_m = np.linalg.norm(between, axis=2)
    line = between / np.maximum(width_m, 1e-9)[..., None]
    square = np.minimum(-np.einsum("ijk,ik->ij", line, normals), np.einsum("ijk,jk->ij", line, normals))
    fits = (width_m >= search.least_width_m) & (width_m <= search.most_width_m)
    one, other = np.nonzero(np.triu(fits & (square >= math.cos(math.atan(search.friction)))))
    return one, other, square[one, other]


def postures(
    here_m: Float[ndarray, " 3"],
    there_m: Float[ndarray, " 3"],
    rotation: Float[ndarray, "3 3"],
    arm: ArmModel,
    search: GraspSearch,
) -> Iterator[tuple[Pose, float]]:
    """T_obj_tip of the pair, either way round and leaning several ways; and the tool's angle from straight down."""
    line = (there_m - here_m) / np.linalg.norm(there_m - here_m)
    down = rotation.T @ np.array([0.0, 0.0, -1.0])
    level = down - (down @ line) * line
    if np.linalg.norm(level) < math.cos(STEEPEST_RAD):
        return
    level /= np.linalg.norm(level)
    side = np.cross(line, level)
    shift_m = Grip(float(np.linalg.norm(there_m - here_m)), 0.0, search.room_m).shift_m(arm)
    for lean in LEANS_RAD:
        z = math.cos(lean) * level + math.sin(lean) * side
        angle = math.acos(float(np.clip(z @ down, -1, 1)))
        if angle > STEEPEST_RAD:
            continue
        for x in (line, -line):
            turn = np.stack([x, np.cross(z, x), z], axis=1)
            yield Pose.from_parts("obj", "tip", turn, (here_m + there_m) / 2 + shift_m * x), angle
