# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# USD's and MuJoCo's compiled modules have incomplete stubs.
"""The arm of a bundle as a UsdPhysics articulation, read from its compiled MuJoCo model at the scan's pose.

Loops that MuJoCo closes with constraints (the Panda's gripper) stay open: USD has no joint for them that engines share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

from hardware.spatial import quat_wxyz_from_rotation
from twin import splat_ply
from twin.export import mjcf
from twin.export.usd_shapes import (
    WORLD,
    add_cube,
    add_hull,
    add_material,
    add_splat,
    as_mujoco,
    collide,
    place,
)
from twin.object_asset import RobotAsset


def add_robot(stage: Usd.Stage, bundle: Path, robot: RobotAsset) -> None:
    """The articulation, read from the arm's compiled MuJoCo model at the scan's pose: links, hinges, hulls."""
    model = mjcf.load(bundle)
    data = mjcf.at_scan(model, robot)
    root = UsdGeom.Xform.Define(stage, f"{WORLD}/robot")
    UsdPhysics.ArticulationRootAPI.Apply(root.GetPrim())
    bodies = [number for number in range(model.nbody) if model.body(number).name.startswith(mjcf.ARM_PREFIX)]
    for number in bodies:
        add_link(stage, model, data, number)
    for number in bodies:
        add_joint(stage, model, data, number, set(bodies))
    for name, file in robot.links.items():
        link = f"{WORLD}/robot/{_plain(mjcf.ARM_PREFIX + name)}"
        if stage.GetPrimAtPath(link) and (bundle / file).is_file():
            add_splat(stage, f"{link}/splat", splat_ply.read(bundle / file))


def add_link(stage: Usd.Stage, model: mujoco.MjModel, data: mujoco.MjData, body: int) -> None:
    path = f"{WORLD}/robot/{_plain(model.body(body).name)}"
    link = UsdGeom.Xform.Define(stage, path)
    place(link, _matrix(data.xpos[body], data.xmat[body]))
    UsdPhysics.RigidBodyAPI.Apply(link.GetPrim())
    mass = UsdPhysics.MassAPI.Apply(link.GetPrim())
    mass.CreateMassAttr(float(max(model.body_mass[body], 1e-4)))
    mass.CreateCenterOfMassAttr(Gf.Vec3f(*map(float, model.body_ipos[body])))
    mass.CreateDiagonalInertiaAttr(Gf.Vec3f(*(max(float(x), 1e-8) for x in model.body_inertia[body])))
    mass.CreatePrincipalAxesAttr(Gf.Quatf(*map(float, model.body_iquat[body])))
    start, count = model.body_geomadr[body], model.body_geomnum[body]
    for geom in range(start, start + count):
        shape = add_link_shape(stage, model, geom, f"{path}/collision_{geom}")
        if shape is not None:
            collide(shape, material_of(stage, model, geom))
            priority, condim = int(model.geom_priority[geom]), int(model.geom_condim[geom])
            as_mujoco(shape, priority, condim, model.geom_solref[geom].tolist(), model.geom_solimp[geom].tolist())


def material_of(stage: Usd.Stage, model: mujoco.MjModel, geom: int) -> UsdShade.Material:
    """One for each kind of friction that the arm has, such as its links' and its jaws'."""
    kinds = list(dict.fromkeys(tuple(row) for row in model.geom_friction.tolist()))
    kind = tuple(model.geom_friction[geom].tolist())
    name = f"robot_{kinds.index(kind)}"
    known = UsdShade.Material.Get(stage, f"{WORLD}/materials/{name}")
    return known if known else add_material(stage, name, *kind)


def add_link_shape(stage: Usd.Stage, model: mujoco.MjModel, geom: int, path: str) -> UsdGeom.Gprim | None:
    """None for what touches nothing."""
    if model.geom_contype[geom] == 0:
        return None
    kind, size = model.geom_type[geom], [float(x) for x in model.geom_size[geom]]
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    T = _matrix(model.geom_pos[geom], turn)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return add_cube(stage, path, T, tuple(size))
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        hull = add_hull(stage, path, *hull_of(model, int(model.geom_dataid[geom])))
        place(hull, T)
        return hull
    shape = add_round(stage, path, kind, size)
    if shape is not None:
        shape.CreatePurposeAttr(UsdGeom.Tokens.guide)
        place(shape, T)
    return shape


def hull_of(model: mujoco.MjModel, mesh: int) -> tuple[Float[ndarray, "N 3"], Int[ndarray, "M 3"]]:
    """The hull that MuJoCo itself collides, in the mesh's frame: vertices (m) and triangles.

    The whole mesh has one too, but every engine bounds its vertices (`maxhullvert` of the arm's model, 64 in Newton and
    PhysX) and drops others: the jaws' hulls then part by 0.3 mm. This one is within the bound already.
    """
    graph, first = model.mesh_graph[model.mesh_graphadr[mesh] :], int(model.mesh_vertadr[mesh])
    vertices, faces = map(int, graph[:2])  # then: edges' places, vertices' numbers in the mesh, edges, faces
    numbers = graph[2 + vertices : 2 + 2 * vertices]
    edges = vertices + 3 * faces
    corners = graph[2 + 2 * vertices + edges :][: 3 * faces].reshape(-1, 3)
    place_of = {int(number): place for place, number in enumerate(numbers)}
    triangles = np.array([[place_of[int(number)] for number in corner] for corner in corners])
    return np.asarray(model.mesh_vert[first + numbers], np.float64), triangles


def add_round(stage: Usd.Stage, path: str, kind: int | np.integer, size: list[float]) -> UsdGeom.Gprim | None:
    """A sphere, a capsule or a cylinder, axis z; None for a kind that USD has no shape for."""
    radius, half = size[0], size[1]
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        sphere = UsdGeom.Sphere.Define(stage, path)
        sphere.CreateRadiusAttr(radius)
        sphere.CreateExtentAttr([(-radius,) * 3, (radius,) * 3])
        return sphere
    if kind not in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER):
        return None
    capsule = kind == mujoco.mjtGeom.mjGEOM_CAPSULE
    shape = (UsdGeom.Capsule if capsule else UsdGeom.Cylinder).Define(stage, path)
    shape.CreateRadiusAttr(radius)
    shape.CreateHeightAttr(2 * half)
    shape.CreateAxisAttr(UsdGeom.Tokens.z)
    end = half + (radius if capsule else 0.0)
    shape.CreateExtentAttr([(-radius, -radius, -end), (radius, radius, end)])
    return shape


def add_joint(stage: Usd.Stage, model: mujoco.MjModel, data: mujoco.MjData, body: int, links: set[int]) -> None:
    """A hinge about its own x, with a drive that holds the scan's angle; a fixed joint where there is none."""
    parent = int(model.body_parentid[body])
    path = f"{WORLD}/robot/joint_{_plain(model.body(body).name)}"
    T_world_body = _matrix(data.xpos[body], data.xmat[body])
    T_world_parent = _matrix(data.xpos[parent], data.xmat[parent]) if parent in links else np.eye(4)
    if model.body_jntnum[body] == 0:
        joint = UsdPhysics.FixedJoint.Define(stage, path)
        T_body_joint, angle_rad = np.eye(4), 0.0
    else:
        number = int(model.body_jntadr[body])
        joint = UsdPhysics.RevoluteJoint.Define(stage, path)
        joint.CreateAxisAttr(UsdPhysics.Tokens.x)
        low, high = np.degrees(model.jnt_range[number])
        joint.CreateLowerLimitAttr(float(low))
        joint.CreateUpperLimitAttr(float(high))
        T_body_joint = _matrix(model.jnt_pos[number], _x_to(model.jnt_axis[number]))
        angle_rad = float(data.qpos[model.jnt_qposadr[number]])
        drive = UsdPhysics.DriveAPI.Apply(joint.GetPrim(), "angular")
        drive.CreateTargetPositionAttr(float(np.degrees(angle_rad)))
        stiffness, damping, most_nm = servo_of(model, number)
        drive.CreateStiffnessAttr(stiffness * np.pi / 180)  # USD's angular drives count in degrees
        drive.CreateDampingAttr(damping * np.pi / 180)
        if most_nm > 0:
            drive.CreateMaxForceAttr(most_nm)
    back = np.eye(4)
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    back[1:3, 1:3] = [[c, s], [-s, c]]  # the parent's side of the joint is where the angle would be zero
    T_parent_joint = np.linalg.inv(T_world_parent) @ T_world_body @ T_body_joint @ back
    # without a parent the anchor is the robot's own root, not the stage's world: a clone of the stage takes it along
    anchor = f"{WORLD}/robot/{_plain(model.body(parent).name)}" if parent in links else f"{WORLD}/robot"
    joint.CreateBody0Rel().SetTargets([Sdf.Path(anchor)])
    joint.CreateBody1Rel().SetTargets([Sdf.Path(f"{WORLD}/robot/{_plain(model.body(body).name)}")])
    for frame, at, turn in (
        (T_parent_joint, joint.CreateLocalPos0Attr, joint.CreateLocalRot0Attr),
        (T_body_joint, joint.CreateLocalPos1Attr, joint.CreateLocalRot1Attr),
    ):
        _set_frame(frame, at, turn)


def servo_of(model: mujoco.MjModel, joint: int) -> tuple[float, float, float]:
    """(N m / rad, N m s / rad, N m) of a joint's position servo, its own damping included; zeros without one."""
    passive = float(model.dof_damping[model.jnt_dofadr[joint]])
    for servo in range(model.nu):
        drives = model.actuator_trntype[servo] == mujoco.mjtTrn.mjTRN_JOINT
        if drives and model.actuator_trnid[servo, 0] == joint:
            most_nm = float(model.actuator_forcerange[servo, 1]) if model.actuator_forcelimited[servo] else 0.0
            return (
                float(model.actuator_gainprm[servo, 0]),
                passive - float(model.actuator_biasprm[servo, 2]),
                most_nm,
            )
    return 0.0, passive, 0.0


def _set_frame(T: Float[ndarray, "4 4"], at: Callable[..., object], turn: Callable[..., object]) -> None:
    at(Gf.Vec3f(*map(float, T[:3, 3])))
    turn(Gf.Quatf(*map(float, quat_wxyz_from_rotation(T[:3, :3]))))


def _x_to(axis: Float[ndarray, 3]) -> Float[ndarray, "3 3"]:
    """A rotation whose x is the axis."""
    x = axis / np.linalg.norm(axis)
    other = np.eye(3)[int(np.abs(x).argmin())]
    y = np.cross(other, x)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], 1)


def _matrix(at: ndarray, turn: ndarray) -> Float[ndarray, "4 4"]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = np.asarray(turn).reshape(3, 3), at
    return T


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name)
