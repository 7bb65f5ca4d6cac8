"""Furniture becomes a static box where the splat shows it, in every engine's file and in the report."""

import mujoco
import numpy as np
import pytest
import small_contact
import small_objects as small
from pxr import Usd

from hardware import artefact
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import collision_report, contact, object_asset, splat_ply
from twin.export import mjcf, usd
from twin.object_asset import Furniture, Supports
from twin.segment import SegmentTwin, segment
from twin.sim import scene


def shelf_flag(name="shelf"):
    return f"{name}={small.BOX_FLAG}"


def test_a_drawn_box_becomes_the_crusts_box_and_stays_in_the_picture(tmp_path):
    bundle = small.write(tmp_path / "twin", small.box(), small.can())
    segment(SegmentTwin(bundle=bundle, furniture=(shelf_flag(),)))
    (piece,) = object_asset.supports(bundle).furniture
    np.testing.assert_allclose(sorted(2 * np.array(piece.half_m)), sorted(small.BOX_M), atol=1.5e-3)
    at = np.array(piece.T_world_box)[:3, 3]
    np.testing.assert_allclose(at, [*small.BOX_AT, small.TABLE_Z_M + 0.025], atol=1e-3)
    segment(SegmentTwin(bundle=bundle, find=True))  # the shelf is known: only the can stands free
    assert object_asset.names(bundle) == ["thing_1"]
    (thing,) = object_asset.objects(bundle)
    np.testing.assert_allclose(thing.pose.translation_m[:2], small.CAN_AT, atol=2e-3)
    assert [kept.name for kept in object_asset.supports(bundle).furniture] == ["shelf"]
    background = splat_ply.read(bundle / "background.ply")
    assert (background.means_m[:, 2] > small.TABLE_Z_M + 0.04).sum() > 100


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("only 0 opaque Gaussians", ("shelf=0.2,-0.2,0.1,0.05,0.05,0.05",)),
        ("the name is taken", ("table=" + small.BOX_FLAG,)),
        ("the name is taken", (shelf_flag(), shelf_flag())),
        ("no name", ("0.1,0.05,0.022,0.085,0.065,0.07",)),
        ("is no box", ("shelf=big",)),
    ],
)
def test_furniture_that_is_none_is_refused(tmp_path, words, flags):
    bundle = small.write(tmp_path / "twin", small.box())
    with pytest.raises(BadInput, match=words):
        segment(SegmentTwin(bundle=bundle, furniture=flags))
    assert not (bundle / "supports.json").exists()


def with_shelf(folder, at, half_m=(0.03, 0.02, 0.025)):
    """The small bundle whose brick stands at (0.1, 0.05); the shelf elsewhere."""
    bundle = small_contact.write(folder / "twin")
    pose = Pose.from_parts("world", "shelf", np.eye(3), at)
    shelf = Furniture(name="shelf", T_world_box=object_asset.rows(pose), half_m=half_m)
    table = object_asset.supports(bundle).table
    artefact.write_model(bundle / object_asset.SUPPORTS, Supports(table=table, furniture=(shelf,)))
    mjcf.write(bundle)
    return bundle


def test_mujoco_usd_and_the_simulators_have_it_where_it_is_and_it_does_not_move(tmp_path):
    at = (0.1, 0.05, small.TABLE_Z_M + 0.2)
    bundle = with_shelf(tmp_path, at)
    model = scene.read(bundle).compile()
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 200)
    np.testing.assert_allclose(data.body("shelf").xpos, at)
    np.testing.assert_allclose(model.geom("shelf").size, (0.03, 0.02, 0.025))
    assert usd.write(bundle, bundle / "scene.usda") == []
    stage = Usd.Stage.Open(str(bundle / "scene.usda"))
    prim = stage.GetPrimAtPath("/World/shelf")
    assert "PhysicsCollisionAPI" in prim.GetAppliedSchemas()
    assert "PhysicsRigidBodyAPI" not in prim.GetAppliedSchemas()
    (bundle / "scene.xml").unlink()
    empty = Supports(table=object_asset.supports(bundle).table)
    kept = object_asset.supports(bundle)
    artefact.write_model(bundle / object_asset.SUPPORTS, empty)
    mjcf.write(bundle)
    artefact.write_model(bundle / object_asset.SUPPORTS, kept)
    with pytest.raises(BadInput, match="lacks shelf"):
        scene.read(bundle).compile()


def test_the_report_says_how_deep_things_are_in_it_and_how_far_it_is_off_the_splat(tmp_path):
    inside = with_shelf(tmp_path / "inside", (0.155, 0.05, small.TABLE_Z_M + 0.025))
    report = collision_report.measure(inside)  # shelf from x = 0.125, brick to x = 0.13: 5 mm
    assert report.furniture[0].penetration_mm == pytest.approx(5.0, abs=0.1)
    assert report.furniture[0].inflation_mm is None
    assert list(contact._table(report).columns[0].cells)[-1] == "shelf"
    assert "penetration with furniture" in [row.name for row in report.gates if not row.passed]
    clear = with_shelf(tmp_path / "clear", (0.1, -0.15, small.TABLE_Z_M + 0.0265), (0.03, 0.02, 0.0265))
    splat_ply.write(clear / object_asset.BACKGROUND, small.box(at=(0.1, -0.15), yaw_rad=0.0))
    report = collision_report.measure(clear)  # 3 mm higher than the crust plus its skin of 0.26 mm
    assert report.furniture[0].penetration_mm == 0.0
    assert report.furniture[0].inflation_mm == pytest.approx(3.0 - 0.26, abs=0.2)
    assert "furniture inflation" in [row.name for row in report.gates if not row.passed]
