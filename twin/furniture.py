"""Boxes that a person drew round things that never move, in; static box primitives on their crust out.

Furniture stays in the background's picture; in contact it is a box. What stands on the table is read from its
opaque Gaussians, as an object's outline is; what has no boxy outline, or hangs, keeps the box as it was drawn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin import object_asset, outline
from twin.object_asset import Furniture, Plane, Supports
from twin.outline import Outline
from twin.region import Box
from twin.splat import Splat
from twin.table_plane import Ground
from twin.view import covariances

OPAQUE = 0.2
LIFT_M, TOUCH_M = 2e-3, 0.015
"""Lower Gaussians are the table's; what stands on it reaches at least this far down."""
FEWEST = 12
RESERVED = ("table", "pusher", "world", "physics", "materials", "background", "cameras", "robot")
"""Names that the scene's files use themselves."""


def read(words: tuple[str, ...], splat: Splat, ground: Ground, taken: set[str]) -> tuple[Furniture, ...]:
    """Of `NAME=cx,cy,cz,sx,sy,sz[,yaw_deg]`. Raises `BadInput` for a name that is `taken` and an empty box."""
    found: dict[str, Furniture] = {}
    for word in words:
        name, equals, numbers = word.partition("=")
        if not equals or not object_asset.NAME.match(name):
            raise BadInput(f"--furniture {word}: no name", "--furniture shelf=cx,cy,cz,sx,sy,sz[,yaw_deg]")
        if name in taken or name in found or name in RESERVED or name.startswith("arm_"):
            raise BadInput(
                f"--furniture {name}: the name is taken", "objects and furniture have names of their own"
            )
        found[name] = fitted(name, Box.parse(numbers), splat, ground)
    return tuple(found.values())


def merged(before: Supports | None, table: Plane, new: tuple[Furniture, ...]) -> Supports:
    """The table as it is now; furniture from before stays unless one of its name is new."""
    if before is None:
        return Supports(table=table, furniture=new)
    names = {piece.name for piece in new}
    kept = tuple(piece for piece in before.furniture if piece.name not in names)
    return Supports(table=table, table_friction=before.table_friction, furniture=(*kept, *new))


def fitted(name: str, box: Box, splat: Splat, ground: Ground) -> Furniture:
    """Raises `BadInput` for a box in which the scan shows nothing above the table."""
    means = splat.means_m.astype(np.float64)
    held = box.holds(means) & (ground.crust.heights_m(means) > LIFT_M) & (splat.opacities > OPAQUE)
    if held.sum() < FEWEST:
        raise BadInput(
            f"furniture '{name}': the scan shows only {held.sum()} opaque Gaussians in its box, above the table",
            "is the box in the twin's world, in metres? `tandem twin view` shows the axes",
        )
    shape = _standing(splat, held, ground.plane)
    if shape is not None:
        turn = rotation_from_rotvec(np.array([0.0, 0.0, shape.yaw_rad]))
        pose = ground.plane.T_world_table @ Pose.from_parts(
            "table", name, turn, (*shape.centre_m, shape.height_m / 2)
        )
        half_m = (*shape.half_m, shape.height_m / 2)
    else:
        turn = rotation_from_rotvec(np.array([0.0, 0.0, box.yaw_rad]))
        pose = Pose.from_parts("world", name, turn, box.centre_m)
        half_m = (box.size_m[0] / 2, box.size_m[1] / 2, box.size_m[2] / 2)
    return Furniture(name=name, T_world_box=object_asset.rows(pose), half_m=half_m)


def _standing(splat: Splat, held: Bool[ndarray, " N"], table: Plane) -> Outline | None:
    """The box that the crust shows; None where it hangs, or is no box."""
    T_table_world = table.T_world_table.inverse()
    turned = T_table_world.rotation
    shapes = turned @ covariances(splat.select(held)).astype(np.float64) @ turned.T
    points = T_table_world.apply(splat.means_m[held].astype(np.float64))
    if float(np.quantile(points[:, 2] - np.sqrt(shapes[:, 2, 2]), 0.02)) > TOUCH_M:
        return None
    shape = outline.read(points, splat.opacities[held].astype(np.float64), shapes)
    return shape if shape.kind == "box" else None


def members(splat: Splat, pieces: tuple[Furniture, ...], margin_m: float = 4e-3) -> Bool[ndarray, " N"]:
    """Which Gaussians are in or at furniture."""
    means = splat.means_m.astype(np.float64)
    inside = np.zeros(len(means), bool)
    for piece in pieces:
        inside |= np.all(np.abs(local(piece, means)) < np.array(piece.half_m) + margin_m, axis=1)
    return inside


def local(piece: Furniture, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """World points in the box's frame."""
    return Pose("world", piece.name, np.array(piece.T_world_box)).inverse().apply(points)
