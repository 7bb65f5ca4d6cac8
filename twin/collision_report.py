# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""How good a bundle's contact is: shapes against the splat, at rest for two seconds, and clear of the robot."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt

from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.spatial import Pose
from twin import collision, object_asset, splat_ply
from twin import furniture as furniture_boxes
from twin.export import mjcf
from twin.object_asset import Convex, Furniture, ObjectAsset, RobotAsset
from twin.splat import Splat
from twin.splat_motion import moved

REST_S = 2.0
INFLATION_LIMIT_MM, HOLES_LIMIT_MM, DRIFT_LIMIT_MM, TURN_LIMIT_DEG, PENETRATION_LIMIT_MM = 2.0, 4.0, 1.0, 1.0, 0.0
SEEN_INTO_LIMIT_MM = 10.0
"""Splats are seen into by 4 to 6 mm wherever they are: see `sight`."""
FURNITURE_LIMIT_MM = 1.0
"""Both surfaces are read from a splat: what stands against furniture may be this deep in it."""
TOUCHING_M = 1e-5
"""Contacts less deep than this are touch, not penetration."""


class ObjectReport(Config):
    name: str
    inflation_mm: NonNegativeFloat
    """Of the collision shape over the splat's surface, the side where it is largest."""
    holes_mm: NonNegativeFloat
    """Of the splat's surface over the collision shape."""
    seen_into_mm: NonNegativeFloat | None = None
    """How far the scan's cameras see into the collision shape; None in bundles from before it was measured."""
    unseen_share: float | None = None
    """Of the collision surface that no camera sees."""
    convex_count: NonNegativeInt
    drift_mm: NonNegativeFloat
    """How far it moves in two seconds from where the scan saw it."""
    turn_deg: NonNegativeFloat
    robot_penetration_mm: NonNegativeFloat | None
    """None where the bundle has no robot."""
    mass_kg: float
    friction: float


class FurnitureReport(Config):
    name: str
    inflation_mm: NonNegativeFloat | None
    """Of the box over the splat's surface; None where the background shows nothing at its faces."""
    holes_mm: NonNegativeFloat | None
    penetration_mm: NonNegativeFloat
    """Of the robot, and of objects, where the scan saw them: the deepest."""


class CollisionReport(Config):
    """`collision.json`."""

    objects: tuple[ObjectReport, ...]
    furniture: tuple[FurnitureReport, ...] = ()
    gates: tuple[Gate, ...]


def measure(bundle: Path) -> CollisionReport:
    """Loads `scene.xml` and lets it run. Raises `BadInput` where contact is missing."""
    robot = object_asset.robot(bundle)
    model = mjcf.load(bundle)
    assets = object_asset.objects(bundle)
    deep = penetration_mm(model, robot, [asset.name for asset in assets])
    drift = rest(model, robot, [asset.name for asset in assets])
    reports = tuple(_report(asset, drift[asset.name], deep.get(asset.name)) for asset in assets)
    pieces = furniture(bundle, model, robot)
    return CollisionReport(
        objects=reports, furniture=pieces, gates=(*gates(reports), *(furniture_gates(pieces) if pieces else ()))
    )


def furniture(bundle: Path, model: mujoco.MjModel, robot: RobotAsset | None) -> tuple[FurnitureReport, ...]:
    """Each box against the background's Gaussians, and against all that moves."""
    pieces = object_asset.supports(bundle).furniture
    file = bundle / object_asset.BACKGROUND
    splat = splat_ply.read(file) if pieces and file.is_file() else None
    data = mjcf.at_scan(model, robot)
    found = []
    for piece in pieces:
        touching = [
            float(-1e3 * data.contact[number].dist)
            for number in range(data.ncon)
            if piece.name in _bodies(model, data, number) and data.contact[number].dist < -TOUCHING_M
        ]
        fitted = None if splat is None else _fit(piece, splat)
        found.append(
            FurnitureReport(
                name=piece.name,
                inflation_mm=None if fitted is None else fitted.inflation_mm,
                holes_mm=None if fitted is None else fitted.holes_mm,
                penetration_mm=max(touching, default=0.0),
            )
        )
    return tuple(found)


def furniture_gates(pieces: tuple[FurnitureReport, ...]) -> tuple[Gate, ...]:
    rows = (
        ("furniture inflation", INFLATION_LIMIT_MM, [piece.inflation_mm or 0.0 for piece in pieces]),
        ("penetration with furniture", FURNITURE_LIMIT_MM, [piece.penetration_mm for piece in pieces]),
    )
    found = []
    for name, limit, values in rows:
        worst = int(np.argmax(values))
        words = f"'{pieces[worst].name}' is the worst: another --furniture box"
        found.append(Gate(name=name, value=values[worst], relation="<=", limit=limit, unit="mm", advice=words))
    return tuple(found)


def _fit(piece: Furniture, splat: Splat) -> collision.Fit | None:
    near = furniture_boxes.members(splat, (piece,))
    T_box_world = Pose("world", piece.name, np.array(piece.T_world_box)).inverse()
    own = moved(splat.select(near), T_box_world.rotation, T_box_world.translation_m)
    box = Convex(kind="box", half_m=piece.half_m)
    try:
        return collision.fit(collision.Collider((box,), (collision.as_mesh(box),)), own)
    except BadInput:
        return None


def _bodies(model: mujoco.MjModel, data: mujoco.MjData, number: int) -> list[str]:
    contact = data.contact[number]
    return [model.body(model.geom_bodyid[geom]).name for geom in (contact.geom1, contact.geom2)]


def rest(model: mujoco.MjModel, robot: RobotAsset | None, names: list[str]) -> dict[str, tuple[float, float]]:
    """(mm, degrees) that each object moves within `REST_S`."""
    data = mjcf.at_scan(model, robot)
    before = {name: (data.body(name).xpos.copy(), data.body(name).xmat.copy()) for name in names}
    for _ in range(round(REST_S / model.opt.timestep)):
        mujoco.mj_step(model, data)
    found = {}
    for name, (at, turn) in before.items():
        step = np.linalg.norm(data.body(name).xpos - at)
        cosine = (np.trace(turn.reshape(3, 3).T @ data.body(name).xmat.reshape(3, 3)) - 1) / 2
        found[name] = float(1e3 * step), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return found


def penetration_mm(model: mujoco.MjModel, robot: RobotAsset | None, names: list[str]) -> dict[str, float]:
    """How deep each object is in the robot at the scan's pose; empty without a robot."""
    if robot is None:
        return {}
    data = mjcf.at_scan(model, robot)
    deepest = dict.fromkeys(names, 0.0)
    for number in range(data.ncon):
        contact = data.contact[number]
        bodies = _bodies(model, data, number)
        if any(name.startswith(mjcf.ARM_PREFIX) for name in bodies) and contact.dist < -TOUCHING_M:
            for name in set(bodies) & set(names):
                deepest[name] = max(deepest[name], float(-1e3 * contact.dist))
    return deepest


def gates(reports: tuple[ObjectReport, ...]) -> tuple[Gate, ...]:
    """Limits on the worst object of each; the advice names it."""
    rows = (
        ("collision inflation", INFLATION_LIMIT_MM, "mm", [r.inflation_mm for r in reports], "a tighter --box"),
        ("collision holes", HOLES_LIMIT_MM, "mm", [r.holes_mm for r in reports], "a larger --box"),
        (
            "sight into the collision shape",
            SEEN_INTO_LIMIT_MM,
            "mm",
            [r.seen_into_mm or 0.0 for r in reports],
            "it fills a hollow that the cameras look into: nothing can be put into it in the twin",
        ),
        ("resting drift", DRIFT_LIMIT_MM, "mm", [r.drift_mm for r in reports], "does it stand on the table?"),
        ("resting turn", TURN_LIMIT_DEG, "°", [r.turn_deg for r in reports], "does it stand on the table?"),
        (
            "penetration with the robot",
            PENETRATION_LIMIT_MM,
            "mm",
            [r.robot_penetration_mm or 0.0 for r in reports],
            "check T_world_base and the joint angles of robot.json",
        ),
    )
    found = []
    for name, limit, unit, values, advice in rows:
        worst = int(np.argmax(values))
        words = f"'{reports[worst].name}' is the worst: {advice}"
        found.append(Gate(name=name, value=values[worst], relation="<=", limit=limit, unit=unit, advice=words))
    return tuple(found)


def _report(asset: ObjectAsset, drift: tuple[float, float], deep_mm: float | None) -> ObjectReport:
    return ObjectReport(
        name=asset.name,
        inflation_mm=asset.inflation_mm or 0.0,
        holes_mm=asset.holes_mm or 0.0,
        seen_into_mm=asset.seen_into_mm,
        unseen_share=asset.unseen_share,
        convex_count=asset.convex_count,
        drift_mm=drift[0],
        turn_deg=drift[1],
        robot_penetration_mm=deep_mm,
        mass_kg=asset.mass_kg or 0.0,
        friction=asset.friction or 0.0,
    )
