# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# USD's and MuJoCo's compiled modules have incomplete stubs.
"""A bundle with contact in, one `scene.usda` out: rigid bodies, colliders, materials, articulation, cameras, splats.

Metres, kilograms, z up; the stage's world is the bundle's. Splats are `ParticleField3DGaussianSplat` (OpenUSD 26.x).
Every stage is put through all validators that usd-core ships before it is written. nvidia's own rule set
(`usd-validation-nvidia`) is not in this environment and was not run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, UsdValidation, UsdVol, Vt

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation
from twin import object_asset, splat_ply
from twin.camera_path import T_gl_from_optical
from twin.export import mjcf
from twin.object_asset import Convex, ObjectAsset, RobotAsset, Supports
from twin.posed_images import PosedImages
from twin.splat import Splat

WORLD = "/World"
MOST_CAMERAS = 8
APERTURE_MM = 36.0
FAINTEST = 1 / 255


def write(bundle: Path, file: Path) -> list[str]:
    """Returns the validators' complaints: none, or `BadInput` is raised and nothing is written."""
    stage = build(bundle)
    complaints = validated(stage)
    if complaints:
        raise BadInput(
            f"the stage is not valid: {'; '.join(complaints[:5])}", "a defect of the exporter: report it"
        )
    with artefact.staged_file(file) as temporary:
        stage.GetRootLayer().Export(str(temporary))
    return complaints


def read_stage(file: Path) -> Usd.Stage:
    """Raises `BadInput` for a file that is no USD, and for one whose layers are missing."""
    try:
        stage = Usd.Stage.Open(str(file))
    except Exception as error:  # pxr's Tf.ErrorException
        raise BadInput(f"cannot open {file} as USD: {error}") from error
    complaints = validated(stage)
    missing = [text for text in complaints if "MissingReference" in text or "Composition" in text]
    if missing:
        raise BadInput(f"{file} lacks a layer: {missing[0]}", "copy the files it refers to beside it")
    return stage


def validated(stage: Usd.Stage) -> list[str]:
    """What all of usd-core's validators say against the stage, as `validator: message`."""
    registry = UsdValidation.ValidationRegistry()
    context = UsdValidation.ValidationContext(registry.GetOrLoadAllValidators())
    found = []
    for error in context.Validate(stage):
        validator = error.GetValidator()
        name = validator.GetMetadata().name if validator else "usd"
        found.append(f"{name}: {error.GetMessage()}")
    return found


def build(bundle: Path) -> Usd.Stage:
    """In memory. Raises `BadInput` where contact is missing."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, WORLD)
    stage.SetDefaultPrim(world.GetPrim())
    physics = UsdPhysics.Scene.Define(stage, f"{WORLD}/physics")
    physics.CreateGravityDirectionAttr(Gf.Vec3f(0, 0, -1))
    physics.CreateGravityMagnitudeAttr(9.81)
    UsdGeom.Scope.Define(stage, f"{WORLD}/materials")
    add_supports(stage, object_asset.supports(bundle))
    for asset in object_asset.objects(bundle):
        add_object(stage, bundle, asset)
    if (bundle / object_asset.BACKGROUND).is_file():
        add_splat(stage, f"{WORLD}/background", splat_ply.read(bundle / object_asset.BACKGROUND))
    robot = object_asset.robot(bundle)
    if robot is not None:
        add_robot(stage, bundle, robot)
    if (bundle / "cameras.json").is_file():
        add_cameras(stage, read(PosedImages, bundle / "cameras.json"))
    return stage


# ── things ──────────────────────────────────────────────────────────────────────────────────────────────────────


def add_supports(stage: Usd.Stage, supports: Supports) -> None:
    material = add_material(stage, "table", supports.table_friction)
    T = supports.table.T_world_table.matrix.copy()
    T[:3, 3] -= mjcf.TABLE_THICK_M / 2 * T[:3, 2]
    half = (mjcf.TABLE_HALF_M, mjcf.TABLE_HALF_M, mjcf.TABLE_THICK_M / 2)
    collide(add_cube(stage, f"{WORLD}/table", T, half), material)
    for piece in supports.furniture:
        collide(add_cube(stage, f"{WORLD}/{piece.name}", np.array(piece.T_world_box), piece.half_m), material)


def add_object(stage: Usd.Stage, bundle: Path, asset: ObjectAsset) -> None:
    """A rigid body: its colliders (guides, not drawn) and its splat as children."""
    if not asset.collision or asset.mass_kg is None or asset.friction is None:
        raise BadInput(f"object '{asset.name}' has no contact yet", f"tandem twin contact {bundle}")
    path = f"{WORLD}/{asset.name}"
    body = UsdGeom.Xform.Define(stage, path)
    place(body, asset.pose.matrix)
    UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
    UsdPhysics.MassAPI.Apply(body.GetPrim()).CreateMassAttr(asset.mass_kg)
    material = add_material(stage, asset.name, asset.friction)
    folder = object_asset.folder(bundle, asset.name)
    for number, piece in enumerate(asset.collision):
        collide(add_piece(stage, f"{path}/collision_{number}", folder, piece), material)
    if (folder / asset.splat).is_file():
        add_splat(stage, f"{path}/splat", splat_ply.read(folder / asset.splat))


def add_piece(stage: Usd.Stage, path: str, folder: Path, piece: Convex) -> UsdGeom.Gprim:
    c, s = np.cos(piece.yaw_rad), np.sin(piece.yaw_rad)
    T = np.eye(4)
    T[:2, :2], T[:3, 3] = [[c, -s], [s, c]], piece.at_m
    if piece.kind == "box":
        return add_cube(stage, path, T, piece.half_m)
    if piece.kind == "cylinder":
        cylinder = UsdGeom.Cylinder.Define(stage, path)
        radius, half = piece.half_m
        cylinder.CreateRadiusAttr(radius)
        cylinder.CreateHeightAttr(2 * half)
        cylinder.CreateAxisAttr(UsdGeom.Tokens.z)
        cylinder.CreateExtentAttr([(-radius, -radius, -half), (radius, radius, half)])
        cylinder.CreatePurposeAttr(UsdGeom.Tokens.guide)
        place(cylinder, T)
        return cylinder
    import trimesh

    file = folder / str(piece.file)
    if not file.is_file():
        raise BadInput(f"there is no {file}", "tandem twin contact BUNDLE")
    mesh = trimesh.load_mesh(file)
    return add_hull(stage, path, np.asarray(mesh.vertices), np.asarray(mesh.faces))


def add_hull(
    stage: Usd.Stage, path: str, vertices: Float[ndarray, "N 3"], faces: Int[ndarray, "M 3"]
) -> UsdGeom.Mesh:
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(vertices, np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(faces.ravel(), np.int32)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr([tuple(map(float, vertices.min(0))), tuple(map(float, vertices.max(0)))])
    mesh.CreatePurposeAttr(UsdGeom.Tokens.guide)
    return mesh


def add_cube(stage: Usd.Stage, path: str, T: Float[ndarray, "4 4"], half_m: tuple[float, ...]) -> UsdGeom.Cube:
    """A unit cube that is scaled: USD's cubes have one size."""
    cube = UsdGeom.Cube.Define(stage, path)
    cube.CreateSizeAttr(1.0)
    cube.CreateExtentAttr([(-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)])
    cube.CreatePurposeAttr(UsdGeom.Tokens.guide)
    place(cube, T)
    cube.AddScaleOp().Set(Gf.Vec3f(*(2 * float(half) for half in half_m)))
    return cube


def collide(shape: UsdGeom.Gprim, material: UsdShade.Material) -> None:
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
    if shape.GetPrim().IsA(UsdGeom.Mesh):
        UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)
    binding = UsdShade.MaterialBindingAPI.Apply(shape.GetPrim())
    binding.Bind(material, UsdShade.Tokens.weakerThanDescendants, "physics")


def add_material(stage: Usd.Stage, name: str, friction: float) -> UsdShade.Material:
    material = UsdShade.Material.Define(stage, f"{WORLD}/materials/{name}")
    physics = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    physics.CreateStaticFrictionAttr(friction)
    physics.CreateDynamicFrictionAttr(friction)
    physics.CreateRestitutionAttr(0.0)
    return material


def add_splat(stage: Usd.Stage, path: str, splat: Splat) -> None:
    """Gaussians that any rasteriser would draw; harmonics particle by particle, as they are in memory."""
    kept = splat.select(splat.opacities > FAINTEST)
    if not len(kept):
        raise BadInput(f"the splat of {path} has no visible Gaussian")
    field = UsdVol.ParticleField3DGaussianSplat.Define(stage, path)
    quats = kept.quats_wxyz / np.linalg.norm(kept.quats_wxyz, axis=1, keepdims=True)
    field.CreatePositionsAttr(Vt.Vec3fArray.FromNumpy(kept.means_m))
    field.CreateOrientationsAttr(Vt.QuatfArray([Gf.Quatf(*map(float, quat)) for quat in quats]))
    field.CreateScalesAttr(Vt.Vec3fArray.FromNumpy(kept.scales_m))
    field.CreateOpacitiesAttr(Vt.FloatArray.FromNumpy(kept.opacities))
    field.CreateRadianceSphericalHarmonicsDegreeAttr(kept.sh_degree)
    harmonics = np.ascontiguousarray(kept.sh.reshape(-1, 3))
    field.CreateRadianceSphericalHarmonicsCoefficientsAttr(Vt.Vec3fArray.FromNumpy(harmonics))
    reach = 3 * kept.scales_m.max(1, keepdims=True)
    low, high = (kept.means_m - reach).min(0), (kept.means_m + reach).max(0)
    field.CreateExtentAttr([tuple(map(float, low)), tuple(map(float, high))])


def add_cameras(stage: Usd.Stage, posed: PosedImages) -> None:
    """Some of the scan's cameras. USD's look along −z with y up; their principal point is an aperture offset."""
    UsdGeom.Scope.Define(stage, f"{WORLD}/cameras")
    chosen = np.unique(np.linspace(0, len(posed.views) - 1, MOST_CAMERAS).round().astype(int))
    for number in chosen if posed.views else ():
        view = posed.views[number]
        lens = posed.cameras[view.camera]
        camera = UsdGeom.Camera.Define(stage, f"{WORLD}/cameras/view_{number:03d}")
        unit_mm = APERTURE_MM / lens.width_px
        camera.CreateHorizontalApertureAttr(APERTURE_MM)
        camera.CreateVerticalApertureAttr(lens.height_px * unit_mm * lens.fx_px / lens.fy_px)
        camera.CreateFocalLengthAttr(lens.fx_px * unit_mm)
        camera.CreateHorizontalApertureOffsetAttr((lens.width_px / 2 - lens.cx_px) * unit_mm)
        camera.CreateVerticalApertureOffsetAttr((lens.cy_px - lens.height_px / 2) * unit_mm)
        camera.CreateClippingRangeAttr(Gf.Vec2f(0.01, 100.0))
        place(camera, np.array(view.T_world_cam) @ T_gl_from_optical)


def place(prim: UsdGeom.Xformable, T: Float[ndarray, "4 4"]) -> None:
    """As translation and quaternion: engines move those, not matrices."""
    quat = quat_wxyz_from_rotation(T[:3, :3])
    prim.AddTranslateOp().Set(Gf.Vec3d(*map(float, T[:3, 3])))
    prim.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Quatd(*map(float, quat)))


# ── robot ───────────────────────────────────────────────────────────────────────────────────────────────────────


def add_robot(stage: Usd.Stage, bundle: Path, robot: RobotAsset) -> None:
    """The articulation, read from the arm's compiled MuJoCo model at the scan's pose: links, hinges, hulls."""
    model = mjcf.load(bundle)
    data = mjcf.at_scan(model, robot)
    root = UsdGeom.Xform.Define(stage, f"{WORLD}/robot")
    UsdPhysics.ArticulationRootAPI.Apply(root.GetPrim())
    material = add_material(stage, "robot", 1.0)
    bodies = [number for number in range(model.nbody) if model.body(number).name.startswith(mjcf.ARM_PREFIX)]
    for number in bodies:
        add_link(stage, model, data, number, material)
    for number in bodies:
        add_joint(stage, model, data, number, set(bodies))
    for name, file in robot.links.items():
        link = f"{WORLD}/robot/{_plain(mjcf.ARM_PREFIX + name)}"
        if stage.GetPrimAtPath(link) and (bundle / file).is_file():
            add_splat(stage, f"{link}/splat", splat_ply.read(bundle / file))


def add_link(
    stage: Usd.Stage, model: mujoco.MjModel, data: mujoco.MjData, body: int, material: UsdShade.Material
) -> None:
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
        if model.geom_contype[geom] == 0 or model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
            continue
        mesh = model.geom_dataid[geom]
        first, vertices = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        corner, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        hull = add_hull(
            stage,
            f"{path}/collision_{geom}",
            model.mesh_vert[first : first + vertices],
            model.mesh_face[corner : corner + faces],
        )
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        place(hull, _matrix(model.geom_pos[geom], turn))
        collide(hull, material)


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
        drive.CreateStiffnessAttr(20.0 * np.pi / 180)
        drive.CreateDampingAttr(1.0 * np.pi / 180)
    back = np.eye(4)
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    back[1:3, 1:3] = [[c, s], [-s, c]]  # the parent's side of the joint is where the angle would be zero
    T_parent_joint = np.linalg.inv(T_world_parent) @ T_world_body @ T_body_joint @ back
    if parent in links:
        joint.CreateBody0Rel().SetTargets([Sdf.Path(f"{WORLD}/robot/{_plain(model.body(parent).name)}")])
    joint.CreateBody1Rel().SetTargets([Sdf.Path(f"{WORLD}/robot/{_plain(model.body(body).name)}")])
    for frame, at, turn in (
        (T_parent_joint, joint.CreateLocalPos0Attr, joint.CreateLocalRot0Attr),
        (T_body_joint, joint.CreateLocalPos1Attr, joint.CreateLocalRot1Attr),
    ):
        _set_frame(frame, at, turn)


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
