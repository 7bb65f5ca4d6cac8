"""`tandem twin segment`: a bundle and where its movable things are, in; objects, background and table out.

Objects are taken from the scan as it was built, whatever was segmented before: naming one again replaces it.
"""

from __future__ import annotations

import hashlib
import logging
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import Field
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin import furniture, hole_fill, mask, object_asset, outline, region, robot_splat, splat_ply, table_plane
from twin.object_asset import ObjectAsset, Plane, RobotAsset, Supports
from twin.outline import Outline
from twin.posed_images import PosedImages
from twin.rasterise.choose import rasteriser
from twin.region import Box
from twin.render import scene
from twin.splat import Splat
from twin.splat_motion import moved
from twin.table_plane import Ground
from twin.view import covariances

log = logging.getLogger(__name__)

OPAQUE = 0.2
LIFT_M = 2e-3
"""Gaussians lower than this belong to the table when an outline is read."""
MARGIN_M = 3e-3
"""Round the outline: what lies in it is the object's."""
TOUCH_M = 0.015
"""The lowest Gaussians of a thing that stands on the table reach at least this far down."""
FEWEST = 12
SAME_M, SAME_RAD = 5e-4, 2e-3
"""Tables no farther apart are one."""


class SegmentTwin(Config):
    """Takes movable things out of a twin's scene. `--object` and `--box` belong together, in their order."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made."""
    object: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name of a thing; give it once per thing."""
    box: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """cx,cy,cz,sx,sy,sz[,yaw_deg] in metres in the twin's world: an upright box round the whole thing and no other."""
    fixed: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name of a thing that never moves although it is no box: a tray, a socket. It keeps its convex pieces."""
    without: Path | None = None
    """A bundle of the same cell without the things: what it lacks needs no box."""
    find: bool = False
    """Take all that stands on the table round the board, as thing_1, thing_2, …, the largest first."""
    furniture: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=cx,cy,cz,sx,sy,sz[,yaw_deg]: a box round something that never moves. It stays in the picture and becomes a
    static box of contact; furniture of earlier calls stays."""
    masks: Literal["none", "grabcut"] = "none"
    """grabcut: photos decide which Gaussians in a box are the thing's. For boxes that hold other things, too."""
    robot: Path | None = None
    """A file with `model` (so101, panda), `T_world_base` (4×4) and `q_rad` by joint: the arm as it stood in the scan.
    It leaves the background and becomes one splat per link."""
    least_opacity: Annotated[float, Field(ge=0, lt=1)] = OPAQUE
    """Of Gaussians that decide an outline."""


def segment(config: SegmentTwin) -> int:
    """Writes objects/NAME/{object.json,splat.ply}, background.ply and supports.json. Returns the exit code."""
    object_asset.require_metric(config.bundle)
    splat, posed = scene(config.bundle)
    ground = table_plane.ground(config.bundle, splat)
    supports = stood_on(config, splat, ground)
    things = config.object or config.box or config.without or config.find
    no_things = (config.robot or config.furniture) and not things
    assets = {}
    boxes = {} if no_things else asked(config, splat, ground.crust, supports)
    if unknown := sorted(set(config.fixed) - boxes.keys()):
        raise BadInput(
            f"--fixed {unknown[0]}: nothing of this name is taken now; have: {', '.join(boxes) or 'none'}",
            "--fixed goes with the --object (or the --find) that takes the thing",
        )
    for name, box in boxes.items():
        try:
            asset, members = cut(config, splat, posed, ground, name, box)
        except BadInput as error:
            if not config.find:
                raise
            log.warning("left in the scene: %s", error.problem)
            continue
        asset = asset.but(fixed=name in config.fixed)
        assets[name] = asset
        write(config.bundle, splat, asset, members)
    artefact.write_model(config.bundle / object_asset.SUPPORTS, supports)
    if config.robot is not None:
        given = read(RobotAsset, config.robot)
        asset = robot_splat.take(config.bundle, splat, ground.crust, given.model, given.pose, given.q_rad)
        log.info("the %s: %d links", given.model, len(asset.links))
    rebuild_background(config.bundle, splat, ground.crust)
    Console().print(_table(assets))
    return 0


def stood_on(config: SegmentTwin, splat: Splat, ground: Ground) -> Supports:
    """Table and furniture, also what earlier calls wrote. Raises `BadInput` for furniture that is none."""
    file = config.bundle / object_asset.SUPPORTS
    before = read(Supports, file) if file.is_file() else None
    taken = {*config.object, *object_asset.names(config.bundle)}
    if {*object_asset.names(config.bundle)} - {*config.object}:
        warn_of_another_table(config.bundle, ground.plane)
    supports = furniture.merged(before, ground.plane, furniture.read(config.furniture, splat, ground, taken))
    for piece in supports.furniture:
        if piece.name in config.object:
            raise BadInput(f"--object {piece.name}: furniture has this name", "objects have names of their own")
    return supports


def warn_of_another_table(bundle: Path, plane: Plane) -> None:
    """Where what was taken earlier stands on a table that is elsewhere now."""
    file = bundle / object_asset.SUPPORTS
    if not file.is_file():
        return
    T_now, T_then = plane.T_world_table, read(Supports, file).table.T_world_table
    moved_m, turned_rad = T_now.distance_to(T_then)
    if moved_m > SAME_M or turned_rad > SAME_RAD:
        log.warning(
            "things and furniture of earlier calls stand on a table %.1f mm and %.2f° elsewhere: segment them again",
            1e3 * moved_m,
            math.degrees(turned_rad),
        )


def asked(config: SegmentTwin, splat: Splat, table: Plane, supports: Supports) -> dict[str, Box]:
    """A box per name. Raises `BadInput` for names and boxes that do not pair up."""
    doubled = {name for name in config.object if config.object.count(name) > 1}
    if doubled:
        raise BadInput(f"the name '{min(doubled)}' is given twice", "each --object has its own name")
    for name in config.object:
        object_asset.folder(config.bundle, name)
    if config.find:
        if config.object or config.box or config.without is not None:
            raise BadInput("--find names its things itself", "leave out --object, --box and --without")
        fixed = np.flatnonzero(furniture.members(splat, supports.furniture))
        found = region.standing(splat, table, np.union1d(robot_members(config.bundle), fixed))
        return {f"thing_{number}": box for number, box in enumerate(found, start=1)}
    if config.box:
        if len(config.box) != len(config.object):
            raise BadInput(
                f"{len(config.object)} --object and {len(config.box)} --box", "one --box after each --object"
            )
        return dict(zip(config.object, map(Box.parse, config.box), strict=True))
    if config.without is None:
        raise BadInput(
            "no --box, no --without and no --find",
            "--find, --object cup --box cx,cy,cz,sx,sy,sz, or --without BUNDLE2",
        )
    other, _ = scene(config.without)
    found = region.lacking(splat, other, table)
    given = config.object or tuple(f"object_{number}" for number in range(1, len(found) + 1))
    if len(given) > len(found):
        raise BadInput(
            f"{len(given)} names, but the second scan lacks {len(found)} thing(s)",
            "give fewer --object, or boxes: things that touch count as one",
        )
    return dict(zip(given, found, strict=False))


def cut(
    config: SegmentTwin, splat: Splat, posed: PosedImages, ground: Ground, name: str, box: Box
) -> tuple[ObjectAsset, Bool[ndarray, " N"]]:
    """The asset and which Gaussians are its own. Raises `BadInput` for an empty box and for a thing in the air."""
    means = splat.means_m.astype(np.float64)
    held = box.holds(means)
    heights = ground.crust.heights_m(means)
    candidate = held & (heights > LIFT_M) & (splat.opacities > config.least_opacity)
    if candidate.sum() < FEWEST:
        _refuse(name, box, splat, held, heights)
    if config.masks != "none":
        chosen = np.flatnonzero(candidate)
        frames = config.bundle / "work" / "capture" / "frames"
        inside = mask.agreed(mask.PROVIDERS[config.masks](), posed, frames, box.corners, means[chosen])
        candidate[chosen[~inside]] = False
        if candidate.sum() < FEWEST:
            raise BadInput(f"'{name}': the masks leave {candidate.sum()} Gaussians", "--masks none, or another box")
    T_table_world = ground.plane.T_world_table.inverse()
    turned = T_table_world.rotation
    shapes = turned @ covariances(splat.select(candidate)).astype(np.float64) @ turned.T
    lowest_m = float(np.quantile(heights[candidate] - np.sqrt(shapes[:, 2, 2]), 0.02))
    if lowest_m > TOUCH_M:
        raise BadInput(
            f"'{name}' touches nothing: its lowest Gaussians are {1e3 * lowest_m:.0f} mm above the table",
            "let the box reach down to the table; what hangs or stands on other things cannot be segmented yet",
        )
    weights = splat.opacities[candidate].astype(np.float64)
    shape = outline.read(T_table_world.apply(means[candidate]), weights, shapes)
    members = _members(splat, shape, T_table_world.apply(means), heights, held)
    return _asset(name, ground.plane, shape, int(members.sum())), members


def _refuse(name: str, box: Box, splat: Splat, held: ndarray, heights: ndarray) -> None:
    """Says what the box holds instead."""
    if not held.any():
        apart = np.linalg.norm(splat.means_m - np.array(box.centre_m), axis=1)
        raise BadInput(
            f"'{name}': the box holds no Gaussians; the nearest is {apart.min(initial=np.inf):.2f} m from its centre",
            "is the box in the twin's world, in metres? `tandem twin view` shows the axes",
        )
    above = int((held & (heights > LIFT_M)).sum())
    raise BadInput(
        f"'{name}': of {int(held.sum())} Gaussians in the box {above} lie above the table, too few of them opaque",
        "move the box up, or make it larger",
    )


def _members(
    splat: Splat,
    shape: Outline,
    points: Float[ndarray, "N 3"],
    heights: Float[ndarray, " N"],
    held: Bool[ndarray, " N"],
) -> Bool[ndarray, " N"]:
    """In the outline with a margin, from the table's crust up, and not so large that it is haze."""
    within = shape.outside_m(points[:, :2]) < MARGIN_M
    high = (heights > 0) & (points[:, 2] < shape.height_m + MARGIN_M)
    haze = splat.scales_m.max(1) > max(*shape.half_m, shape.height_m / 2)
    return (within | (held & (heights > LIFT_M))) & high & ~haze


def _asset(name: str, table: Plane, shape: Outline, gaussians: int) -> ObjectAsset:
    pose = pose_of(name, table, shape)
    size_m = 2 * shape.half_m[0], 2 * shape.half_m[1], shape.height_m
    return ObjectAsset(
        name=name,
        T_world_obj=object_asset.rows(pose),
        size_m=size_m,
        footprint=shape.kind,
        gaussians=gaussians,
    )


def pose_of(name: str, table: Plane, shape: Outline) -> Pose:
    """T_world_obj of an outline on the table."""
    turn = rotation_from_rotvec(np.array([0.0, 0.0, shape.yaw_rad]))
    return table.T_world_table @ Pose.from_parts("table", name, turn, (*shape.centre_m, shape.height_m / 2))


def write(bundle: Path, splat: Splat, asset: ObjectAsset, members: Bool[ndarray, " N"]) -> None:
    """The object's folder, whole or not at all; an earlier one of this name is replaced."""
    T_obj_world = asset.pose.inverse()
    own = moved(splat.select(members), T_obj_world.rotation, T_obj_world.translation_m)
    with artefact.staged_folder(object_asset.folder(bundle, asset.name)) as folder:
        splat_ply.write(folder / asset.splat, own)
        np.savez_compressed(folder / object_asset.MEMBERS, index=np.flatnonzero(members), scene=fingerprint(splat))
        artefact.write_model(folder / object_asset.ASSET, asset)


def rebuild_background(bundle: Path, splat: Splat, table: Plane) -> None:
    """The scene without any object or robot, with the table closed where they stood."""
    kept = np.ones(len(splat), bool)
    holes = []
    heights = table.heights_m(splat.means_m.astype(np.float64))
    points = table.T_world_table.inverse().apply(splat.means_m.astype(np.float64))
    for name in object_asset.names(bundle):
        folder = bundle / object_asset.OBJECTS / name
        kept[members_of(folder, splat)] = False
        asset = read(ObjectAsset, folder / object_asset.ASSET)
        hole = footprint(asset, table)
        holes.append(hole)
        kept[_buried(points, heights, hole)] = False
    kept[robot_members(bundle)] = False
    if (robot := bundle / robot_splat.FOLDER / object_asset.MEMBERS).is_file():
        with np.load(robot) as arrays:
            holes.append(arrays["hole"])
    background = splat.select(kept)
    draw = rasteriser()
    fills = [hole_fill.fill(draw, background, table, hole) for hole in holes]
    splat_ply.write(bundle / object_asset.BACKGROUND, Splat.concatenate([background, *fills]))


def members_of(folder: Path, splat: Splat) -> ndarray:
    """Indices into the scene. Raises `BadInput` when the scene was built again since."""
    with np.load(folder / object_asset.MEMBERS) as arrays:
        index, scene_then = arrays["index"], str(arrays["scene"])
    if scene_then != fingerprint(splat):
        raise BadInput(
            f"{folder.name} was taken from an earlier build of this twin", f"delete {folder}, segment again"
        )
    return index


def robot_members(bundle: Path) -> Int[ndarray, " M"]:
    """Indices into the scene of the arm's Gaussians; none without an arm."""
    file = bundle / robot_splat.FOLDER / object_asset.MEMBERS
    if not file.is_file():
        return np.zeros(0, np.int64)
    with np.load(file) as arrays:
        return arrays["index"]


def footprint(asset: ObjectAsset, table: Plane) -> Float[ndarray, "N 2"]:
    """The edge of what the object hid of the table, in the table's frame."""
    T_table_obj = table.T_world_table.inverse() @ asset.pose
    half = np.array(asset.size_m) / 2 + MARGIN_M
    if asset.footprint == "cylinder":
        return hole_fill.disc(T_table_obj.translation_m[:2], float(half[0]))
    corners = np.array([[x, y, 0.0] for x in (-half[0], half[0]) for y in (-half[1], half[1])])
    return T_table_obj.apply(corners)[:, :2]


def _buried(
    points: Float[ndarray, "N 3"], heights: Float[ndarray, " N"], hole: Float[ndarray, "M 2"]
) -> Bool[ndarray, " N"]:
    """What training left below and at the foot of an object, which nobody ever saw."""
    centre = hole.mean(0)
    reach = np.linalg.norm(hole - centre, axis=1).max()
    inside = np.linalg.norm(points[:, :2] - centre, axis=1) < 0.7 * reach
    return inside & (heights < LIFT_M) & (heights > -0.06)


def fingerprint(splat: Splat) -> str:
    return hashlib.sha256(splat.means_m.tobytes()).hexdigest()[:16]


def _table(assets: dict[str, ObjectAsset]) -> Table:
    table = Table("object", "moves", "outline", "size, mm", "at, m", "Gaussians")
    for name, asset in assets.items():
        size = " × ".join(f"{1e3 * side:.0f}" for side in asset.size_m)
        at = ", ".join(f"{x:.3f}" for x in asset.pose.translation_m)
        table.add_row(name, "no" if asset.fixed else "yes", asset.footprint, size, at, f"{asset.gaussians:,}")
    return table
