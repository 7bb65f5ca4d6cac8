"""A bundle that has contact already, written by hand: a brick, a wedge of one convex piece, perhaps an SO-101."""

from pathlib import Path

import numpy as np
import small_objects
import small_twin

from hardware import artefact
from hardware.bench import so101
from hardware.spatial import Pose
from twin import collision, object_asset, splat_ply
from twin.object_asset import Convex, ObjectAsset, Plane, RobotAsset, Supports
from twin.splat_motion import moved

Z = small_objects.TABLE_Z_M
WEDGE = np.array(
    [[x, y, z] for x in (-0.03, 0.03) for y in (-0.02, 0.02) for z in (-0.02, 0.02) if (x, z) != (0.03, 0.02)]
)


def write(folder: Path, contact: bool = True, robot: bool = False) -> Path:
    (folder / "objects").mkdir(parents=True)
    plane = Plane(normal=(0.0, 0.0, 1.0), offset_m=Z, spread_mm=0.1)
    artefact.write_model(folder / object_asset.SUPPORTS, Supports(table=plane))
    splat_ply.write(folder / object_asset.BACKGROUND, small_objects.table())
    artefact.write_model(folder / "cameras.json", small_twin.cameras())
    add(folder, "brick", (0.1, 0.05, Z + 0.025), (0.06, 0.04, 0.05), contact)
    add(folder, "wedge", (-0.15, 0.0, Z + 0.02), (0.06, 0.04, 0.04), contact)
    if robot:
        base = Pose.from_parts("world", "base", np.eye(3), (-0.3, 0.2, Z - -0.0024))
        angles = dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
        asset = RobotAsset(model="so101", T_world_base=object_asset.rows(base), q_rad=angles)
        artefact.write_model(folder / object_asset.ROBOT, asset)
    return folder


def add(folder: Path, name: str, at: tuple[float, float, float], size_m, contact: bool) -> None:
    pose = Pose.from_parts("world", name, np.eye(3), at)
    home = object_asset.folder(folder, name)
    home.mkdir()
    asset = ObjectAsset(name=name, T_world_obj=object_asset.rows(pose), size_m=size_m, footprint="box", gaussians=9)
    own = small_objects.box(at=(0.0, 0.0), yaw_rad=0.0)
    splat_ply.write(home / asset.splat, moved(own, np.eye(3), np.array([0, 0, -Z - 0.025])))
    if contact:
        half = tuple(side / 2 for side in size_m)
        pieces = (Convex(kind="box", half_m=half),)
        if name == "wedge":
            mesh = collision.hull(WEDGE)
            assert mesh is not None
            shape = collision.as_collider([mesh])
            collision.write(home, shape)
            pieces = shape.pieces
        asset = asset.but(
            collision=[piece.model_dump() for piece in pieces],
            mass_kg=0.2,
            friction=0.5,
            inflation_mm=0.3,
            holes_mm=0.4,
            convex_count=1,
        )
    artefact.write_model(home / object_asset.ASSET, asset)
