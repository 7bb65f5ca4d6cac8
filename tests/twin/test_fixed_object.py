"""A tray that is screwed to the table keeps its convex pieces, and stays where it is in every engine's file."""

import numpy as np
import pushable_twin
import pytest
import small_objects as small
from pxr import Usd, UsdPhysics

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import collision_report, object_asset, splat_ply
from twin.export import mjcf, usd
from twin.object_asset import ObjectAsset
from twin.segment import SegmentTwin, segment
from twin.sim import parts, scene
from twin.sim.mujoco import MujocoSim
from twin.sim.protocol import Start


def change(bundle, name, **changes):
    file = object_asset.folder(bundle, name) / object_asset.ASSET
    artefact.write_model(file, read(ObjectAsset, file).but(**changes))
    mjcf.write(bundle)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = pushable_twin.write(tmp_path_factory.mktemp("fixed") / "twin")
    change(folder, "brick", fixed=True)
    return folder


def test_it_is_contact_and_picture_but_nothing_that_starts_somewhere(bundle):
    read_scene = scene.read(bundle)
    assert read_scene.object_names == ("block", "wedge")
    model = read_scene.compile()
    assert model.body("brick").jntnum[0] == 0
    still = parts.still(read_scene, model)
    background = splat_ply.read(bundle / object_asset.BACKGROUND)
    assert len(still) > len(background) + 500
    assert "brick" not in [part.name for part in parts.moving(read_scene, model)]


def test_what_is_dropped_on_it_rests_on_it(bundle):
    """The brick is 50 mm high and the block 30 mm: its middle comes to lie 65 mm above the table."""
    sim = MujocoSim(scene.read(bundle), 1, 1, 50.0)
    T_base_world = scene.read(bundle).T_world_base.inverse()
    at = Pose.from_parts("world", "block", np.eye(3), (0.1, 0.05, small.TABLE_Z_M + 0.068))
    sim.reset([Start(objects={"block": T_base_world @ at})])
    hold = np.append(scene.read(bundle).hand.home, 1.0)[None]
    for _ in range(30):
        state = sim.step(hold)
    at_m = (scene.read(bundle).T_world_base.matrix @ state.Ts_base_object["block"][0])[:3, 3]
    assert at_m[2] - small.TABLE_Z_M == pytest.approx(0.065, abs=1e-3)
    sim.close()


def test_usd_has_its_colliders_and_no_rigid_body(bundle):
    assert usd.write(bundle, bundle / "scene.usda") == []
    stage = Usd.Stage.Open(str(bundle / "scene.usda"))
    assert not stage.GetPrimAtPath("/World/brick").HasAPI(UsdPhysics.RigidBodyAPI)
    assert stage.GetPrimAtPath("/World/brick/collision_0").HasAPI(UsdPhysics.CollisionAPI)
    assert stage.GetPrimAtPath("/World/wedge").HasAPI(UsdPhysics.RigidBodyAPI)


def test_it_does_not_drift(bundle):
    report = collision_report.measure(bundle)
    assert next(row for row in report.objects if row.name == "brick").drift_mm == 0.0


def test_a_bundle_of_fixed_things_alone_is_refused(tmp_path):
    folder = pushable_twin.write(tmp_path / "twin", robot=False)
    for name in object_asset.names(folder):
        change(folder, name, fixed=True)
    with pytest.raises(BadInput, match="are fixed"):
        scene.read(folder)


def test_segmenting_marks_it_and_refuses_a_name_that_nothing_has(tmp_path):
    folder = small.write(tmp_path / "twin", small.box(), small.can())
    chosen = {"object": ("box", "can"), "box": (small.BOX_FLAG, small.CAN_FLAG)}
    with pytest.raises(BadInput, match="--fixed tray: nothing of this name is taken now; have: box, can"):
        segment(SegmentTwin(bundle=folder, fixed=("tray",), **chosen))
    assert object_asset.names(folder) == []
    segment(SegmentTwin(bundle=folder, fixed=("can",), **chosen))
    assert {asset.name: asset.fixed for asset in object_asset.objects(folder)} == {"box": False, "can": True}
