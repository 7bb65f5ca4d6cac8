# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# USD's compiled modules have incomplete stubs.
"""Shapes, materials, splats and places on a USD stage, in metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, UsdVol, Vt

from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation
from twin.export.mjcf import ROLLING_M, TORSION_M
from twin.splat import Splat

WORLD = "/World"
FAINTEST = 1 / 255
SOLREF, SOLIMP = (0.02, 1.0), (0.9, 0.95, 0.001, 0.5, 2.0)
"""MuJoCo's defaults, which the bundle's scene.xml has: time constant (s) and damping; impedance over depth."""


def add_hull(
    stage: Usd.Stage, path: str, vertices: Float[ndarray, "N 3"], faces: Int[ndarray, "M 3"]
) -> UsdGeom.Mesh:
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(vertices, np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(faces.ravel(), np.int32)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.repeat(face_normals(vertices, faces), 3, axis=0)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.faceVarying)
    mesh.CreateExtentAttr([tuple(map(float, vertices.min(0))), tuple(map(float, vertices.max(0)))])
    mesh.CreatePurposeAttr(UsdGeom.Tokens.guide)
    return mesh


def face_normals(vertices: Float[ndarray, "N 3"], faces: Int[ndarray, "M 3"]) -> Float[ndarray, "M 3"]:
    """One for each triangle; zero where it has no area."""
    corners = np.asarray(vertices, np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.ascontiguousarray(normals / np.maximum(lengths, 1e-12), np.float32)


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


def as_mujoco(
    shape: UsdGeom.Gprim,
    priority: int = 0,
    condim: int = 3,
    solref: Sequence[float] = SOLREF,
    solimp: Sequence[float] = SOLIMP,
) -> None:
    """What MuJoCo's solvers know of a contact beyond friction, as Newton reads it; other engines ignore it.

    Without `solref` Newton makes contacts of its own stiffness: a dropped block then bounces.
    """
    prim = shape.GetPrim()
    prim.CreateAttribute("mjc:priority", Sdf.ValueTypeNames.Int, custom=True).Set(priority)
    prim.CreateAttribute("mjc:condim", Sdf.ValueTypeNames.Int, custom=True).Set(condim)
    for name, values in (("mjc:solref", solref), ("mjc:solimp", solimp)):
        attribute = prim.CreateAttribute(name, Sdf.ValueTypeNames.DoubleArray, custom=True)
        attribute.Set(Vt.DoubleArray([float(value) for value in values]))


def add_material(
    stage: Usd.Stage, name: str, friction: float, torsion_m: float = TORSION_M, rolling_m: float = ROLLING_M
) -> UsdShade.Material:
    """Sliding friction is USD's own; the other two, metres, are MuJoCo's: see `as_mujoco`."""
    material = UsdShade.Material.Define(stage, f"{WORLD}/materials/{name}")
    physics = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    physics.CreateStaticFrictionAttr(friction)
    physics.CreateDynamicFrictionAttr(friction)
    physics.CreateRestitutionAttr(0.0)
    for kind, value in (("torsional", torsion_m), ("rolling", rolling_m)):
        extra = material.GetPrim().CreateAttribute(f"mjc:{kind}friction", Sdf.ValueTypeNames.Double, custom=True)
        extra.Set(float(value))
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
    colours = field.CreateRadianceSphericalHarmonicsCoefficientsAttr(Vt.Vec3fArray.FromNumpy(harmonics))
    primvar = UsdGeom.Primvar(colours)
    primvar.SetInterpolation(UsdGeom.Tokens.vertex)
    primvar.SetElementSize((kept.sh_degree + 1) ** 2)
    reach = 3 * kept.scales_m.max(1, keepdims=True)
    low, high = (kept.means_m - reach).min(0), (kept.means_m + reach).max(0)
    field.CreateExtentAttr([tuple(map(float, low)), tuple(map(float, high))])


def place(prim: UsdGeom.Xformable, T: Float[ndarray, "4 4"]) -> None:
    """As translation and quaternion: engines move those, not matrices."""
    quat = quat_wxyz_from_rotation(T[:3, :3])
    prim.AddTranslateOp().Set(Gf.Vec3d(*map(float, T[:3, 3])))
    prim.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Quatd(*map(float, quat)))
