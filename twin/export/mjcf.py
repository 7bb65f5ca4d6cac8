# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A bundle with objects in, `scene.xml` for MuJoCo out: table, furniture, objects that fall and rest, the robot.

The MuJoCo world is the bundle's. Meshes are read from the bundle's own folders, so the bundle can be moved.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware import artefact
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import object_asset
from twin.object_asset import Convex, ObjectAsset, RobotAsset, Supports

ARM_PREFIX = "arm_"
"""Of every name in the arm's own model, as on the bench."""
ROBOT_MESHES = "robot/assets"
DRAWN_GROUP, TOUCH_GROUP = 2, 3
TORSION_M, ROLLING_M = 0.005, 0.0001
STEP_S = 0.002
TABLE_THICK_M = 0.05
TABLE_HALF_M = 1.0
LEAST_PIECE_M3 = 1e-12


def spec(bundle: Path) -> mujoco.MjSpec:
    """Raises `BadInput` where objects lack contact, or their files are gone."""
    world = mujoco.MjSpec()
    world.modelname = "twin"
    world.compiler.degree = False
    world.modelfiledir = str(bundle.resolve())
    world.option.timestep = STEP_S
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    world.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    world.option.impratio = 10
    world.worldbody.add_light(pos=(0, 0, 2), dir=(0, 0, -1), type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    add_supports(world, object_asset.supports(bundle))
    for asset in object_asset.objects(bundle):
        add_object(world, bundle, asset)
    robot = object_asset.robot(bundle)
    if robot is not None:
        add_robot(world, bundle, robot)
    return world


def write(bundle: Path) -> Path:
    """`scene.xml` in the bundle; compiled once, so that it loads. Returns its path."""
    world = spec(bundle)
    try:
        world.compile()
    except ValueError as error:
        raise BadInput(f"MuJoCo refuses the scene: {error}", "run `tandem twin contact` again") from error
    text = world.to_xml()
    artefact.write_text(bundle / object_asset.SCENE_XML, text)
    return bundle / object_asset.SCENE_XML


def load(bundle: Path) -> mujoco.MjModel:
    """The bundle's `scene.xml`, compiled."""
    file = bundle / object_asset.SCENE_XML
    if not file.is_file():
        raise BadInput(f"{bundle} has no {file.name}", f"tandem twin contact {bundle}")
    try:
        return mujoco.MjModel.from_xml_path(str(file))
    except ValueError as error:
        raise BadInput(f"MuJoCo cannot load {file}: {error}", f"tandem twin contact {bundle}") from error


def at_scan(model: mujoco.MjModel, robot: RobotAsset | None) -> mujoco.MjData:
    """Everything where the scan saw it; the arm's drives hold it there."""
    data = mujoco.MjData(model)
    if robot is not None:
        for name, angle_rad in robot.q_rad.items():
            joint = model.joint(ARM_PREFIX + name)
            data.qpos[joint.qposadr[0]] = angle_rad
            for number in range(model.nu):
                if model.actuator_trnid[number, 0] == joint.id:
                    data.ctrl[number] = angle_rad
    mujoco.mj_forward(model, data)
    return data


def add_supports(world: mujoco.MjSpec, supports: Supports) -> None:
    """The table's top as a thick box (a plane without end would catch what falls off), and the furniture."""
    T = supports.table.T_world_table
    body = world.worldbody.add_body(name="table", pos=T.translation_m, quat=T.quat_wxyz)
    body.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(TABLE_HALF_M, TABLE_HALF_M, TABLE_THICK_M / 2),
        pos=(0, 0, -TABLE_THICK_M / 2),
        group=TOUCH_GROUP,
        friction=(supports.table_friction, TORSION_M, ROLLING_M),
    )
    for piece in supports.furniture:
        pose = Pose("world", piece.name, np.array(piece.T_world_box))
        still = world.worldbody.add_body(name=piece.name, pos=pose.translation_m, quat=pose.quat_wxyz)
        still.add_geom(name=piece.name, type=mujoco.mjtGeom.mjGEOM_BOX, size=piece.half_m, group=TOUCH_GROUP)


def add_object(world: mujoco.MjSpec, bundle: Path, asset: ObjectAsset) -> None:
    """A free body, or one of the world's where it is fixed. Its friction is the pair's: its geoms have priority."""
    if not asset.collision or asset.mass_kg is None or asset.friction is None:
        raise BadInput(f"object '{asset.name}' has no contact yet", f"tandem twin contact {bundle}")
    pose = asset.pose
    body = world.worldbody.add_body(name=asset.name, pos=pose.translation_m, quat=pose.quat_wxyz)
    if not asset.fixed:
        body.add_freejoint(name=asset.name)
    volumes = [piece_volume_m3(bundle, asset, piece) for piece in asset.collision]
    for number, (piece, volume) in enumerate(zip(asset.collision, volumes, strict=True)):
        geom = _geom(world, body, bundle, asset, piece, f"{asset.name}_{number}")
        geom.group, geom.priority, geom.condim = TOUCH_GROUP, 1, 4
        geom.mass = asset.mass_kg * volume / sum(volumes)
        geom.friction = (asset.friction, TORSION_M, ROLLING_M)


def _geom(
    world: mujoco.MjSpec, body: mujoco.MjsBody, bundle: Path, asset: ObjectAsset, piece: Convex, name: str
) -> mujoco.MjsGeom:
    if piece.kind == "mesh":
        file = object_asset.folder(bundle, asset.name) / str(piece.file)
        world.add_mesh(name=name, file=str(file.relative_to(bundle)))
        return body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)
    kind = mujoco.mjtGeom.mjGEOM_BOX if piece.kind == "box" else mujoco.mjtGeom.mjGEOM_CYLINDER
    half = (*piece.half_m, 0.0)[:3]
    turn = np.array([0.0, 0.0, 1.0])
    quat = (float(np.cos(piece.yaw_rad / 2)), *(turn * np.sin(piece.yaw_rad / 2)))
    return body.add_geom(name=name, type=kind, size=half, pos=piece.at_m, quat=quat)


def piece_volume_m3(bundle: Path, asset: ObjectAsset, piece: Convex) -> float:
    if piece.kind == "box":
        return 8 * piece.half_m[0] * piece.half_m[1] * piece.half_m[2]
    if piece.kind == "cylinder":
        return float(2 * np.pi * piece.half_m[0] ** 2 * piece.half_m[1])
    import trimesh

    file = object_asset.folder(bundle, asset.name) / str(piece.file)
    if not file.is_file():
        raise BadInput(f"there is no {file}", f"tandem twin contact {bundle}")
    corners = np.asarray(trimesh.load_mesh(file).vertices)
    volume_m3 = float(trimesh.convex.convex_hull(corners).volume) if thickness_m(corners) > 0 else 0.0
    if not volume_m3 > LEAST_PIECE_M3:
        raise BadInput(
            f"{file} is flat: a piece without volume ('{asset.name}') collides with nothing",
            f"tandem twin contact {bundle}",
        )
    return volume_m3


def thickness_m(points: Float[ndarray, "N 3"]) -> float:
    """Of the cloud, across the plane that lies in it best; 0 where it is flat, or too few."""
    if len(points) < 4:
        return 0.0
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return float(spread[2]) if spread[2] > 1e-6 * spread[0] else 0.0


def add_robot(world: mujoco.MjSpec, bundle: Path, robot: RobotAsset) -> None:
    """The bench's model of the arm at T_world_base. Its mesh files are copied into the bundle."""
    from hardware.bench.arm_models import ARMS

    arm = ARMS[robot.model].spec()
    source = Path(arm.meshdir) if Path(arm.meshdir).is_absolute() else Path(arm.modelfiledir) / arm.meshdir
    target = bundle / ROBOT_MESHES
    target.mkdir(parents=True, exist_ok=True)
    for mesh in arm.meshes:
        if mesh.file:
            shutil.copyfile(source / mesh.file, target / Path(mesh.file).name)
            mesh.file = f"{ROBOT_MESHES}/{Path(mesh.file).name}"
    arm.meshdir = ""
    arm.modelfiledir = world.modelfiledir
    for key in list(arm.keys):
        arm.delete(key)
    for name in ("timestep", "integrator", "cone", "impratio", "iterations", "ls_iterations"):
        setattr(arm.option, name, getattr(world.option, name))
    T = robot.pose
    frame = world.worldbody.add_frame(pos=T.translation_m, quat=T.quat_wxyz)
    world.attach(arm, frame=frame, prefix=ARM_PREFIX)
