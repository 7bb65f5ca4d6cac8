# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""An arm's MJCF as URDF, for ROS tools that draw it: its links, joints and meshes, the latter where they lie.

Inertia and contact are left out: nothing simulates this. Names are the MJCF's own.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import mujoco
import numpy as np
from numpy import ndarray
from scipy.spatial.transform import Rotation

DRAWN_GROUPS = range(3)
"""MuJoCo's convention: groups from 3 on are collision shapes."""


def urdf(spec: mujoco.MjSpec, name: str) -> str:
    """Base link: the only body under the world. A body with several joints is refused (`ValueError`)."""
    robot = Element("robot", name=name)
    meshes = {mesh.name or Path(mesh.file).stem: mesh for mesh in spec.meshes}
    folder = Path(spec.modelfiledir) / spec.meshdir
    for body in spec.bodies:
        if body.name == "world":
            continue
        link = SubElement(robot, "link", name=body.name)
        for geom in body.geoms:
            if geom.type == mujoco.mjtGeom.mjGEOM_MESH and geom.group in DRAWN_GROUPS:
                _add_visual(link, geom, meshes[geom.meshname], folder)
        if body.parent.name != "world":
            _add_joint(robot, body)
    return tostring(robot, encoding="unicode")


def _add_visual(link: Element, geom: mujoco.MjsGeom, mesh: mujoco.MjsMesh, folder: Path) -> None:
    visual = SubElement(link, "visual")
    _add_origin(visual, geom.pos, geom.quat)
    shape = SubElement(SubElement(visual, "geometry"), "mesh", filename=f"file://{folder / mesh.file}")
    shape.set("scale", _numbers(mesh.scale))


def _add_joint(robot: Element, body: mujoco.MjsBody) -> None:
    if len(body.joints) > 1:
        raise ValueError(f"body '{body.name}' has {len(body.joints)} joints; URDF has one between two links")
    moves = bool(body.joints)
    name = body.joints[0].name if moves else f"{body.name}_fixed"
    joint = SubElement(robot, "joint", name=name, type="revolute" if moves else "fixed")
    SubElement(joint, "parent", link=body.parent.name)
    SubElement(joint, "child", link=body.name)
    _add_origin(joint, body.pos, body.quat)
    if moves:
        lower, upper = body.joints[0].range
        SubElement(joint, "axis", xyz=_numbers(body.joints[0].axis))
        SubElement(joint, "limit", lower=f"{lower:.9g}", upper=f"{upper:.9g}", effort="0", velocity="0")


def _add_origin(element: Element, position_m: ndarray, quat_wxyz: ndarray) -> None:
    """URDF's rpy are rotations about the fixed axes x, y, z, in this order."""
    rpy = Rotation.from_quat(np.array(quat_wxyz), scalar_first=True).as_euler("xyz", suppress_warnings=True)
    SubElement(element, "origin", xyz=_numbers(position_m), rpy=_numbers(rpy))


def _numbers(values: ndarray) -> str:
    return " ".join(f"{value:.9g}" for value in values)
