"""One scene.usda that OpenUSD's own validators accept, whose numbers are the bundle's."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import small_contact
import trimesh
from pxr import Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, UsdVol

from hardware.errors import BadInput
from twin import object_asset
from twin.export import mjcf, usd, usd_shapes
from twin.export.usd_robot import hull_of


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = small_contact.write(tmp_path_factory.mktemp("usd") / "twin", robot=True)
    mjcf.write(folder)
    assert usd.write(folder, folder / "scene.usda") == []
    return usd.read_stage(folder / "scene.usda")


def test_all_validators_of_usd_accept_it(stage):
    assert usd.validated(stage) == []


def test_long_arrays_lie_in_a_binary_layer_beside_it(stage):
    """The same rule as nvidia's UsdAsciiPerformanceChecker: no array of more than 64 elements in a text file."""
    root = stage.GetRootLayer()
    assert list(root.subLayerPaths) == ["./scene_arrays.usdc"]
    lengths = []

    def note(path):
        spec = root.GetAttributeAtPath(path) if path.IsPropertyPath() else None
        if spec is not None and spec.typeName.isArray and spec.default is not None:
            lengths.append(len(spec.default))

    root.Traverse(Sdf.Path.absoluteRootPath, note)
    assert lengths
    assert max(lengths) <= 64
    assert Sdf.Layer.FindOrOpen(root.ComputeAbsolutePath("scene_arrays.usdc")).GetFileFormat().formatId == "usdc"


def test_without_its_arrays_it_is_refused(tmp_path):
    folder = small_contact.write(tmp_path / "twin")
    usd.write(folder, tmp_path / "scene.usda")
    usd.read_stage(tmp_path / "scene.usda")
    (tmp_path / "scene_arrays.usdc").rename(tmp_path / "elsewhere.usdc")
    (tmp_path / "scene.usda").rename(tmp_path / "moved.usda")
    with pytest.raises(BadInput, match="lacks a layer"):
        usd.read_stage(tmp_path / "moved.usda")


def test_the_stage_is_metric_and_z_up(stage):
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert UsdPhysics.GetStageKilogramsPerUnit(stage) == 1.0
    assert stage.GetDefaultPrim().GetPath() == "/World"


def test_objects_are_rigid_bodies_where_the_bundle_has_them(stage):
    brick = stage.GetPrimAtPath("/World/brick")
    assert brick.HasAPI(UsdPhysics.RigidBodyAPI)
    assert UsdPhysics.MassAPI(brick).GetMassAttr().Get() == pytest.approx(0.2)
    T = np.array(UsdGeom.Xformable(brick).ComputeLocalToWorldTransform(Usd.TimeCode.Default())).T
    np.testing.assert_allclose(T[:3, 3], [0.1, 0.05, -0.003 + 0.025], atol=1e-9)
    cube = UsdGeom.Cube.Get(stage, "/World/brick/collision_0")
    box = (
        UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["guide"]).ComputeLocalBound(cube.GetPrim()).ComputeAlignedRange()
    )
    np.testing.assert_allclose(box.GetSize(), (0.06, 0.04, 0.05), atol=1e-6)
    assert stage.GetPrimAtPath("/World/wedge/collision_0").HasAPI(UsdPhysics.MeshCollisionAPI)


def test_splats_keep_their_gaussians(stage):
    field = UsdVol.ParticleField3DGaussianSplat.Get(stage, "/World/background")
    positions = np.array(field.GetPositionsAttr().Get())
    assert len(positions) == len(small_contact.small_objects.table())
    np.testing.assert_allclose(positions[:, 2], -0.003, atol=1e-6)
    assert field.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 0
    np.testing.assert_allclose(np.array(field.GetOpacitiesAttr().Get()), 0.9, atol=1e-5)


def test_harmonics_say_that_they_are_particle_by_particle():
    """Nvidia's rule VG.035 (usd-validation-nvidia): interpolation 'vertex', (degree + 1)² elements for each."""
    table = small_contact.small_objects.table()
    coarse = np.asarray(table.sh)[:, :1]
    splat = replace(table, sh=np.concatenate([coarse, np.zeros((len(table), 8, 3), np.float32)], axis=1))
    stage = Usd.Stage.CreateInMemory()
    usd_shapes.add_splat(stage, "/splat", splat)
    field = UsdVol.ParticleField3DGaussianSplat.Get(stage, "/splat")
    primvar = UsdGeom.Primvar(field.GetRadianceSphericalHarmonicsCoefficientsAttr())
    assert primvar.GetInterpolation() == UsdGeom.Tokens.vertex
    assert primvar.GetElementSize() == 9
    assert len(primvar.Get()) == 9 * len(field.GetPositionsAttr().Get())


def test_the_robot_is_an_articulation_with_its_hinges(stage):
    assert stage.GetPrimAtPath("/World/robot").HasAPI(UsdPhysics.ArticulationRootAPI)
    hinges = [prim for prim in stage.Traverse() if prim.IsA(UsdPhysics.RevoluteJoint)]
    assert len(hinges) == 6
    fixed = [prim for prim in stage.Traverse() if prim.IsA(UsdPhysics.FixedJoint)]
    assert len(fixed) >= 1


def test_contacts_are_as_stiff_and_as_rough_as_in_the_mjcf_scene(stage):
    """Newton takes contacts of its own stiffness where it is told nothing, and a dropped block bounces."""
    model = mjcf.load(Path(stage.GetRootLayer().realPath).parent)
    arm = next(number for number in range(model.ngeom) if model.geom(number).name == "arm_fixed_jaw_box1")
    shapes = {
        "/World/brick/collision_0": model.geom("brick_0").id,
        "/World/table": model.geom("table").id,
        f"/World/robot/arm_gripper/collision_{arm}": arm,
    }
    for path, geom in shapes.items():
        prim = stage.GetPrimAtPath(path)
        for name, expected in (("solref", model.geom_solref), ("solimp", model.geom_solimp)):
            np.testing.assert_allclose(prim.GetAttribute(f"mjc:{name}").Get(), expected[geom], err_msg=path)
        assert prim.GetAttribute("mjc:priority").Get() == model.geom_priority[geom]
        assert prim.GetAttribute("mjc:condim").Get() == model.geom_condim[geom]
        bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")[0].GetPrim()
        found = [UsdPhysics.MaterialAPI(bound).GetDynamicFrictionAttr().Get()]
        found += [bound.GetAttribute(f"mjc:{kind}friction").Get() for kind in ("torsional", "rolling")]
        np.testing.assert_allclose(found, model.geom_friction[geom], rtol=1e-6, err_msg=path)
    assert model.geom_solref[arm, 0] != model.geom_solref[0, 0]  # the jaws are stiffer: a default would not do


def test_the_jaws_have_the_hulls_that_mujoco_collides(tmp_path_factory):
    """Engines make hulls of whole meshes each in their own way, within 64 vertices; of these there is one hull."""
    folder = small_contact.write(tmp_path_factory.mktemp("hulls") / "twin", robot=True)
    mjcf.write(folder)
    model = mjcf.load(folder)
    touching = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_MESH) & (model.geom_contype > 0))
    meshes = {int(model.geom_dataid[geom]) for geom in touching}
    bounded = [mesh for mesh in meshes if model.mesh_vertnum[mesh] > 64]
    assert bounded
    for mesh in bounded:
        points, faces = hull_of(model, mesh)
        assert len(points) <= 64
        hull = trimesh.Trimesh(points, faces, process=False)
        assert hull.is_watertight
        assert hull.volume == pytest.approx(hull.convex_hull.volume, rel=1e-6)
        first = model.mesh_vertadr[mesh]
        whole = {tuple(row) for row in model.mesh_vert[first : first + model.mesh_vertnum[mesh]].tolist()}
        assert {tuple(row) for row in points.tolist()} <= whole


def test_the_arm_stays_with_a_clone_of_the_stage(stage):
    """Its anchor is a prim that the clone takes along, so that two metres aside it is anchored two metres aside."""
    anchor = UsdPhysics.FixedJoint.Get(stage, "/World/robot/joint_arm_base")
    world = Usd.Stage.CreateInMemory()
    clone = UsdGeom.Xform.Define(world, "/env_0")
    clone.GetPrim().GetReferences().AddReference(stage.GetRootLayer().identifier)
    clone.ClearXformOpOrder()
    clone.AddTranslateOp().Set((2.0, 0.0, 0.0))
    joint = UsdPhysics.FixedJoint.Get(world, "/env_0/robot/joint_arm_base")
    cache = UsdGeom.XformCache()
    frames = []
    for body, at in (
        (joint.GetBody0Rel(), joint.GetLocalPos0Attr()),
        (joint.GetBody1Rel(), joint.GetLocalPos1Attr()),
    ):
        (path,) = body.GetTargets()
        frames.append(cache.GetLocalToWorldTransform(world.GetPrimAtPath(path)).Transform(at.Get()))
    np.testing.assert_allclose(frames[0], frames[1], atol=1e-6)
    assert frames[0][0] == pytest.approx(anchor.GetLocalPos0Attr().Get()[0] + 2.0, abs=1e-6)


def test_cameras_look_where_the_scan_did(stage):
    cameras = [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Camera)]
    assert 1 <= len(cameras) <= usd.MOST_CAMERAS
    camera = UsdGeom.Camera(cameras[0]).GetCamera(Usd.TimeCode.Default())
    # f = 150 px of 160 px: 2 atan(80 / 150) = 56.15°
    assert camera.GetFieldOfView(camera.FOVHorizontal) == pytest.approx(56.145, abs=0.01)


def test_a_missing_layer_is_refused(tmp_path):
    stage = Usd.Stage.CreateInMemory()
    prim = stage.DefinePrim("/World", "Xform")
    stage.SetDefaultPrim(prim)
    UsdGeom.SetStageUpAxis(stage, "Z")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    prim.GetReferences().AddReference("./gone.usda")
    stage.GetRootLayer().Export(str(tmp_path / "broken.usda"))
    with pytest.raises(BadInput, match="lacks a layer"):
        usd.read_stage(tmp_path / "broken.usda")
    (tmp_path / "text.usda").write_text("no usd")
    with pytest.raises(BadInput, match="cannot open"):
        usd.read_stage(tmp_path / "text.usda")


def test_objects_without_contact_are_refused(tmp_path):
    folder = small_contact.write(tmp_path / "twin", contact=False)
    with pytest.raises(BadInput, match="no contact yet"):
        usd.write(folder, folder / "scene.usda")
    assert not (folder / object_asset.SCENE_USD).exists()
