# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""How good a bundle's contact is: shapes against the splat, at rest for two seconds, and clear of the robot."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt

from hardware.config import Config
from hardware.gate import Gate
from twin import object_asset
from twin.export import mjcf
from twin.object_asset import ObjectAsset, RobotAsset

REST_S = 2.0
INFLATION_LIMIT_MM, HOLES_LIMIT_MM, DRIFT_LIMIT_MM, TURN_LIMIT_DEG, PENETRATION_LIMIT_MM = 2.0, 4.0, 1.0, 1.0, 0.0
TOUCHING_M = 1e-5
"""Contacts less deep than this are touch, not penetration."""


class ObjectReport(Config):
    name: str
    inflation_mm: NonNegativeFloat
    """Of the collision shape over the splat's surface, the side where it is largest."""
    holes_mm: NonNegativeFloat
    """Of the splat's surface over the collision shape."""
    convex_count: NonNegativeInt
    drift_mm: NonNegativeFloat
    """How far it moves in two seconds from where the scan saw it."""
    turn_deg: NonNegativeFloat
    robot_penetration_mm: NonNegativeFloat | None
    """None where the bundle has no robot."""
    mass_kg: float
    friction: float


class CollisionReport(Config):
    """`collision.json`."""

    objects: tuple[ObjectReport, ...]
    gates: tuple[Gate, ...]


def measure(bundle: Path) -> CollisionReport:
    """Loads `scene.xml` and lets it run. Raises `BadInput` where contact is missing."""
    robot = object_asset.robot(bundle)
    model = mjcf.load(bundle)
    assets = object_asset.objects(bundle)
    deep = penetration_mm(model, robot, [asset.name for asset in assets])
    drift = rest(model, robot, [asset.name for asset in assets])
    reports = tuple(_report(asset, drift[asset.name], deep.get(asset.name)) for asset in assets)
    return CollisionReport(objects=reports, gates=gates(reports))


def rest(model: mujoco.MjModel, robot: RobotAsset | None, names: list[str]) -> dict[str, tuple[float, float]]:
    """(mm, degrees) that each object moves within `REST_S`."""
    data = mjcf.at_scan(model, robot)
    before = {name: (data.body(name).xpos.copy(), data.body(name).xmat.copy()) for name in names}
    for _ in range(round(REST_S / model.opt.timestep)):
        mujoco.mj_step(model, data)
    moved = {}
    for name, (at, turn) in before.items():
        step = np.linalg.norm(data.body(name).xpos - at)
        cosine = (np.trace(turn.reshape(3, 3).T @ data.body(name).xmat.reshape(3, 3)) - 1) / 2
        moved[name] = float(1e3 * step), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return moved


def penetration_mm(model: mujoco.MjModel, robot: RobotAsset | None, names: list[str]) -> dict[str, float]:
    """How deep each object is in the robot at the scan's pose; empty without a robot."""
    if robot is None:
        return {}
    data = mjcf.at_scan(model, robot)
    deepest = dict.fromkeys(names, 0.0)
    for number in range(data.ncon):
        contact = data.contact[number]
        bodies = [model.body(model.geom_bodyid[geom]).name for geom in (contact.geom1, contact.geom2)]
        if any(name.startswith(mjcf.ARM_PREFIX) for name in bodies) and contact.dist < -TOUCHING_M:
            for name in set(bodies) & set(names):
                deepest[name] = max(deepest[name], float(-1e3 * contact.dist))
    return deepest


def gates(reports: tuple[ObjectReport, ...]) -> tuple[Gate, ...]:
    """Four limits on the worst object of each; the advice names it."""
    rows = (
        ("collision inflation", INFLATION_LIMIT_MM, "mm", [r.inflation_mm for r in reports], "a tighter --box"),
        ("collision holes", HOLES_LIMIT_MM, "mm", [r.holes_mm for r in reports], "a larger --box"),
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
        convex_count=asset.convex_count,
        drift_mm=drift[0],
        turn_deg=drift[1],
        robot_penetration_mm=deep_mm,
        mass_kg=asset.mass_kg or 0.0,
        friction=asset.friction or 0.0,
    )
