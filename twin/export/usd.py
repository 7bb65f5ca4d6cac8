# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# USD's and MuJoCo's compiled modules have incomplete stubs.
"""A bundle with contact in, `scene.usda` out: rigid bodies, colliders, materials, articulation, cameras, splats.

Metres, kilograms, z up; the stage's world is the bundle's. Splats are `ParticleField3DGaussianSplat` (OpenUSD 26.x).
`scene.usda` is the file to open, and can be read by people; long arrays lie in the binary layer beside it that it
names, `scene_arrays.usdc`. Every stage is put through all validators that usd-core ships before it is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdValidation, UsdVol

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput
from twin import object_asset, splat_ply
from twin.camera_path import T_gl_from_optical
from twin.export import mjcf
from twin.export.usd_robot import add_robot
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
from twin.object_asset import Convex, ObjectAsset, Supports
from twin.posed_images import PosedImages

MOST_CAMERAS = 8
LONG_ARRAY = 64
"""More elements than this are read faster from a binary layer (nvidia's validator has the same limit)."""
APERTURE_MM = 36.0


def write(bundle: Path, file: Path) -> list[str]:
    """Also the arrays' layer beside the file. Returns the validators' complaints: none, or `BadInput` is raised and
    nothing is written."""
    stage = build(bundle)
    complaints = validated(stage)
    if complaints:
        raise BadInput(
            f"the stage is not valid: {'; '.join(complaints[:5])}", "a defect of the exporter: report it"
        )
    text = Sdf.Layer.CreateAnonymous(".usda")
    text.TransferContent(stage.GetRootLayer())
    binary = without_long_arrays(text)
    beside = arrays_file(file)
    text.subLayerPaths.append(f"./{beside.name}")
    with artefact.staged_file(beside) as temporary:
        binary.Export(str(temporary), args={"format": "usdc"})
    with artefact.staged_file(file) as temporary:
        text.Export(str(temporary))
    return complaints


def arrays_file(file: Path) -> Path:
    """Where the long arrays of a `.usda` lie."""
    return file.with_name(f"{file.stem}_arrays.usdc")


def without_long_arrays(layer: Sdf.Layer) -> Sdf.Layer:
    """Takes every attribute whose value is a long array out of the layer; returns the layer that holds them."""
    found: list[Sdf.Path] = []

    def note(path: Sdf.Path) -> None:
        spec = layer.GetAttributeAtPath(path) if path.IsPropertyPath() else None
        if spec is not None and spec.typeName.isArray and len(spec.default or ()) > LONG_ARRAY:
            found.append(path)

    layer.Traverse(Sdf.Path.absoluteRootPath, note)
    arrays = Sdf.Layer.CreateAnonymous(".usdc")
    for path in found:
        owner = path.GetPrimPath()
        Sdf.CreatePrimInLayer(arrays, owner)
        Sdf.CopySpec(layer, path, arrays, path)
        prim = layer.GetPrimAtPath(owner)
        prim.RemoveProperty(prim.properties[path.name])
    return arrays


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


def contents(stage: Usd.Stage) -> dict[str, str]:
    """What a person asks of a stage, in words."""
    kinds = {
        "rigid bodies": lambda prim: prim.HasAPI(UsdPhysics.RigidBodyAPI),
        "colliders": lambda prim: prim.HasAPI(UsdPhysics.CollisionAPI),
        "joints": lambda prim: prim.IsA(UsdPhysics.Joint),
        "cameras": lambda prim: prim.IsA(UsdGeom.Camera),
        "splats": lambda prim: prim.IsA(UsdVol.ParticleField3DGaussianSplat),
    }
    prims = list(stage.Traverse())
    counted = {name: str(sum(bool(test(prim)) for prim in prims)) for name, test in kinds.items()}
    layers = [layer.realPath.rpartition("/")[2] for layer in stage.GetUsedLayers() if layer.realPath]
    complaints = validated(stage)
    verdict = "all accept it" if not complaints else "; ".join(complaints[:5])
    return counted | {"layers": ", ".join(sorted(layers)), "usd-core's validators": verdict}


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
    boxes = [("table", T, half)]
    boxes += [(piece.name, np.array(piece.T_world_box), piece.half_m) for piece in supports.furniture]
    for name, T_world_box, half_m in boxes:
        shape = add_cube(stage, f"{WORLD}/{name}", T_world_box, half_m)
        collide(shape, material)
        as_mujoco(shape)


def add_object(stage: Usd.Stage, bundle: Path, asset: ObjectAsset) -> None:
    """A rigid body, unless it is fixed: its colliders (guides, not drawn) and its splat as children."""
    if not asset.collision or asset.mass_kg is None or asset.friction is None:
        raise BadInput(f"object '{asset.name}' has no contact yet", f"tandem twin contact {bundle}")
    path = f"{WORLD}/{asset.name}"
    body = UsdGeom.Xform.Define(stage, path)
    place(body, asset.pose.matrix)
    if not asset.fixed:
        UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
        UsdPhysics.MassAPI.Apply(body.GetPrim()).CreateMassAttr(asset.mass_kg)
    material = add_material(stage, asset.name, asset.friction)
    folder = object_asset.folder(bundle, asset.name)
    for number, piece in enumerate(asset.collision):
        shape = add_piece(stage, f"{path}/collision_{number}", folder, piece)
        collide(shape, material)
        as_mujoco(shape, priority=1, condim=4)
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
