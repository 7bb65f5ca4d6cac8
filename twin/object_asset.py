"""What a bundle says of its movable things, of what they stand on, and of the robot in the scan: models and paths.

Files lie in the bundle as `objects/<name>/object.json`, `supports.json` and `robot.json`. Physics needs metres, so a
bundle without a metric world is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.manifest import read_twin

OBJECTS, BACKGROUND, SUPPORTS, ROBOT = "objects", "background.ply", "supports.json", "robot.json"
SCENE_XML, SCENE_USD, REPORT = "scene.xml", "scene.usda", "collision.json"
ASSET, SPLAT, VISUAL, COLLISION = "object.json", "splat.ply", "visual.ply", "collision"
MEMBERS = "members.npz"
"""Which Gaussians of the scene are an object's, or the robot's."""
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
"""Of objects: they become names in MJCF, USD and file systems."""

Rows = tuple[tuple[float, float, float, float], ...]
Vector = tuple[float, float, float]
Source = Literal["given", "table", "estimated"]
"""given: by a person. table: of a material. estimated: from pushing or lifting on the cell."""


class Measured(Config):
    """A physical quantity and how it is known."""

    value: PositiveFloat
    source: Source
    note: str
    """Which material, of which reference; or from which measurement."""


class Convex(Config):
    """One convex piece of contact, in the frame of whatever it belongs to."""

    kind: Literal["box", "cylinder", "mesh"]
    half_m: tuple[PositiveFloat, ...] = ()
    """Half sizes of a box; radius and half height of a cylinder, whose axis is z."""
    at_m: Vector = (0.0, 0.0, 0.0)
    yaw_rad: float = 0.0
    file: str | None = None
    """An .obj beside the object.json, for a mesh."""


class ObjectAsset(Config):
    """A thing that was taken out of the scene.

    Its frame: origin at the centre of its bounding box, z up out of the table as it stands."""

    name: str
    T_world_obj: Rows
    size_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    footprint: Literal["box", "cylinder", "free"]
    """How its outline on the table was read; free: the smallest rectangle round it."""
    gaussians: NonNegativeInt
    fixed: bool = False
    """It never moves: a tray or a socket that is screwed to the table."""
    splat: str = SPLAT
    """Gaussians in the object's frame, beside the object.json."""
    visual: str | None = None
    """Triangle mesh in the object's frame; None until `tandem twin contact` ran, as all below."""
    collision: tuple[Convex, ...] = ()
    material: str | None = None
    mass_kg: PositiveFloat | None = None
    mass: Measured | None = None
    friction: PositiveFloat | None = None
    """Sliding friction of a pair with the table."""
    friction_known: Measured | None = None
    volume_m3: PositiveFloat | None = None
    inflation_mm: NonNegativeFloat | None = None
    holes_mm: NonNegativeFloat | None = None
    seen_into_mm: NonNegativeFloat | None = None
    """How far the scan's cameras see into the collision shape: the depth of a hollow that it fills."""
    unseen_share: float | None = Field(default=None, ge=0, le=1)
    """Of the collision surface that no camera sees: the shape there is a guess."""
    convex_count: NonNegativeInt = 0

    @property
    def pose(self) -> Pose:
        return Pose("world", self.name, np.array(self.T_world_obj))


class Plane(Config):
    """`normal · x = offset_m`, the normal up out of the table."""

    normal: Vector
    offset_m: float
    spread_mm: NonNegativeFloat
    """Median distance of the points that it was fitted to."""
    source: Literal["gaussians", "triangulated"] = "gaussians"
    """Of those points: centres of Gaussians, or what SfM triangulated."""

    def heights_m(self, points: Float[ndarray, "N 3"]) -> Float[ndarray, " N"]:
        return points @ np.array(self.normal) - self.offset_m

    @property
    def T_world_table(self) -> Pose:
        """Origin below the world's, z along the normal, x along the world's as far as the plane lets it."""
        z = np.array(self.normal)
        x = np.array([1.0, 0.0, 0.0]) - z[0] * z
        x /= np.linalg.norm(x)
        return Pose.from_parts("world", "table", np.stack([x, np.cross(z, x), z], 1), self.offset_m * z)


class Furniture(Config):
    """A box that never moves, in the world frame."""

    name: str
    T_world_box: Rows
    half_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Supports(Config):
    """What things stand on and bump into."""

    table: Plane
    table_friction: PositiveFloat = 1.0
    """MuJoCo takes the larger one of a pair; an object's own friction is meant for the pair, so this is its floor."""
    furniture: tuple[Furniture, ...] = ()


class RobotAsset(Config):
    """The arm as it stood in the scan."""

    model: Literal["so101", "panda"]
    T_world_base: Rows
    q_rad: dict[str, float]
    """By the joint's name in the arm's own model, gripper included."""
    links: dict[str, str] = Field(default_factory=dict)
    """Link (body of the model) → splat in that link's frame, a path inside the bundle."""

    @property
    def pose(self) -> Pose:
        return Pose("world", "base", np.array(self.T_world_base))


def rows(pose: Pose) -> Rows:
    return tuple((row[0], row[1], row[2], row[3]) for row in pose.to_list())


def require_metric(bundle: Path) -> None:
    """Raises `BadInput` for what is no bundle, or whose lengths are no metres."""
    if (bundle / "twin.json").is_file() and not read_twin(bundle).frames.metric:
        raise BadInput(
            f"{bundle} is not metric: contact needs metres",
            "put a printed board into the scan (`tandem calibrate board`) and build again",
        )


def folder(bundle: Path, name: str) -> Path:
    """Where an object's files lie. Raises `BadInput` for a name that MJCF, USD and folders cannot all have."""
    if not NAME.match(name):
        raise BadInput(f"'{name}' cannot name an object", "small letters, digits and _, a letter first: red_cup")
    return bundle / OBJECTS / name


def names(bundle: Path) -> list[str]:
    return sorted(file.parent.name for file in (bundle / OBJECTS).glob(f"*/{ASSET}"))


def objects(bundle: Path) -> list[ObjectAsset]:
    """All, by name. Raises `BadInput` where there are none."""
    found = [read(ObjectAsset, bundle / OBJECTS / name / ASSET) for name in names(bundle)]
    if not found:
        raise BadInput(f"{bundle} has no objects", f"tandem twin segment {bundle} --object NAME --box …")
    return found


def supports(bundle: Path) -> Supports:
    if not (bundle / SUPPORTS).is_file():
        raise BadInput(f"{bundle} has no {SUPPORTS}", f"tandem twin segment {bundle} --object NAME --box …")
    return read(Supports, bundle / SUPPORTS)


def robot(bundle: Path) -> RobotAsset | None:
    """None where the scan has no robot that anybody named."""
    return read(RobotAsset, bundle / ROBOT) if (bundle / ROBOT).is_file() else None
