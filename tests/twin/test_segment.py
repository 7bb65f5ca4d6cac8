"""Things come out of a scene where they stood, in their own frames; the background is left without them."""

import dataclasses
import shutil

import numpy as np
import pytest
import small_objects as small

from hardware.config import read
from hardware.errors import BadInput
from twin import object_asset, splat_ply
from twin.object_asset import ObjectAsset
from twin.segment import SegmentTwin, segment
from twin.splat import Splat


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = small.write(tmp_path_factory.mktemp("segment") / "twin", small.box(), small.can())
    assert segment(SegmentTwin(bundle=folder, object=("box", "can"), box=(small.BOX_FLAG, small.CAN_FLAG))) == 0
    return folder


def test_a_box_is_found_where_it_stands(bundle):
    asset = read(ObjectAsset, bundle / "objects" / "box" / "object.json")
    assert asset.footprint == "box"
    np.testing.assert_allclose(asset.pose.translation_m, [*small.BOX_AT, small.TABLE_Z_M + 0.025], atol=1e-3)
    yaw = np.arctan2(asset.pose.rotation[1, 0], asset.pose.rotation[0, 0])
    off = (yaw - small.BOX_YAW_RAD + np.pi / 4) % (np.pi / 2) - np.pi / 4
    assert abs(np.degrees(off)) < 1.0
    np.testing.assert_allclose(sorted(asset.size_m), sorted(small.BOX_M), atol=1.5e-3)


def test_a_can_is_a_cylinder(bundle):
    asset = read(ObjectAsset, bundle / "objects" / "can" / "object.json")
    assert asset.footprint == "cylinder"
    np.testing.assert_allclose(asset.pose.translation_m[:2], small.CAN_AT, atol=1e-3)
    np.testing.assert_allclose(asset.size_m, [0.06, 0.06, 0.08], atol=1.5e-3)


def test_the_splat_is_in_the_objects_frame(bundle):
    own = splat_ply.read(bundle / "objects" / "box" / "splat.ply")
    size = np.array(read(ObjectAsset, bundle / "objects" / "box" / "object.json").size_m)
    assert (np.abs(own.means_m) < size / 2 + 4e-3).all()
    assert len(own) > 0.9 * len(small.box())


def test_the_background_is_the_scene_without_them_and_with_their_holes_closed(bundle):
    scene, background = splat_ply.read(bundle / "scene.ply"), splat_ply.read(bundle / "background.ply")
    above = background.means_m[:, 2] > small.TABLE_Z_M + 5e-3
    assert above.sum() == 0
    assert (scene.means_m[:, 2] > small.TABLE_Z_M + 5e-3).sum() > 1000
    under = np.linalg.norm(background.means_m[:, :2] - small.CAN_AT, axis=1) < 0.02
    assert under.sum() > 50


def test_a_second_scan_without_the_things_needs_no_box(tmp_path):
    full = small.write(tmp_path / "full", small.box(), small.can())
    empty = small.write(tmp_path / "empty", small.can())
    segment(SegmentTwin(bundle=full, object=("brick",), without=empty))
    asset = read(ObjectAsset, full / "objects" / "brick" / "object.json")
    np.testing.assert_allclose(asset.pose.translation_m[:2], small.BOX_AT, atol=1.5e-3)
    with pytest.raises(BadInput, match="lacks nothing"):
        segment(SegmentTwin(bundle=empty, without=full))
    with pytest.raises(BadInput, match="2 names, but the second scan lacks 1"):
        segment(SegmentTwin(bundle=full, object=("a", "b"), without=empty))


def in_the_air():
    box = small.box()
    return dataclasses.replace(box, means_m=box.means_m + np.array([0, 0, 0.1]))


@pytest.mark.parametrize(
    ("names", "boxes", "words"),
    [
        (("a",), ("0.1,0.25,0.3,0.05,0.05,0.05",), "holds no Gaussians; the nearest is"),
        (("a",), ("0,-0.2,0,0.1,0.1,0.1",), "too few of them opaque"),
        (("a",), ("0.1,0.05,0.122,0.09,0.07,0.07,22",), "touches nothing: its lowest Gaussians are 9"),
        (("a",), ("1,2,3",), "has 3 numbers"),
        (("a",), ("0,0,0,1,1,nan",), "finite"),
        (("a",), ("0,0,0,0.1,0.1,0",), "sides must be"),
        (("a", "a"), ("0,0,0,1,1,1",) * 2, "given twice"),
        (("A b",), ("0,0,0,1,1,1",), "cannot name"),
        (("a", "b"), ("0,0,0,1,1,1",), "2 --object and 1 --box"),
        ((), (), "no --box, no --without and no --find"),
    ],
)
def test_what_cannot_be_segmented_is_refused_by_name(tmp_path, names, boxes, words):
    bundle = small.write(tmp_path / "twin", in_the_air())
    with pytest.raises(BadInput, match=words):
        segment(SegmentTwin(bundle=bundle, object=names, box=boxes))


def test_an_object_of_an_earlier_build_is_noticed(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "twin")
    splat = splat_ply.read(copy / "scene.ply")
    splat_ply.write(copy / "scene.ply", splat.select(np.arange(len(splat) - 5)))
    with pytest.raises(BadInput, match="earlier build"):
        segment(SegmentTwin(bundle=copy, object=("can",), box=(small.CAN_FLAG,)))


def test_grabcut_leaves_a_neighbour_out(tmp_path):
    """The box is drawn round both; the masks of the photos keep to the thing that fills most of it."""
    import cv2
    import small_twin

    from twin.mask import GrabCut

    rgb = np.full((120, 160, 3), (150, 120, 90), np.uint8)
    rgb[30:90, 40:110] = (200, 40, 30)
    inside = np.zeros((120, 160), bool)
    inside[20:100, 30:120] = True
    noisy = np.clip(rgb + np.random.default_rng(0).normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
    mask = GrabCut().mask(noisy, inside)
    truth = np.zeros_like(mask)
    truth[30:90, 40:110] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    folder = small.write(tmp_path / "twin", small.box(), small.can())
    frames = folder / "work" / "capture" / "frames"
    frames.mkdir(parents=True)
    scene, posed = splat_ply.read(folder / "scene.ply"), small_twin.cameras(count=16)
    for view in posed.views:
        rendered = small_twin.rasteriser().render(
            scene, posed.cameras[view.camera].pinhole(), view.pose.inverse().matrix
        )
        pixels = (np.clip(rendered.rgb, 0, 1) * 255).astype(np.uint8)
        cv2.imwrite(str(frames / view.image), np.ascontiguousarray(pixels[..., ::-1]))
    wide = "0.1,0.05,0.022,0.12,0.1,0.08,22"
    segment(SegmentTwin(bundle=folder, object=("box",), box=(wide,), masks="grabcut"))
    asset = read(ObjectAsset, folder / "objects" / "box" / "object.json")
    np.testing.assert_allclose(sorted(asset.size_m), sorted(small.BOX_M), atol=2.5e-3)


def test_a_bundle_without_objects_says_how_to_make_some(tmp_path):
    with pytest.raises(BadInput, match="has no objects"):
        object_asset.objects(small.write(tmp_path / "twin", Splat.concatenate([small.box()])))


def test_things_on_the_table_are_found_without_a_box(tmp_path):
    bundle = small.write(tmp_path / "twin", small.box(), small.can())
    assert segment(SegmentTwin(bundle=bundle, find=True)) == 0
    found = object_asset.objects(bundle)
    assert [asset.name for asset in found] == ["thing_1", "thing_2"]
    at = np.array([asset.pose.translation_m[:2] for asset in found])
    for true in (small.BOX_AT, small.CAN_AT):
        assert np.linalg.norm(at - true, axis=1).min() < 0.002
    with pytest.raises(BadInput, match="--find names its things itself"):
        segment(SegmentTwin(bundle=bundle, find=True, without=tmp_path / "twin"))
    with pytest.raises(BadInput, match="nothing stands on the table"):
        segment(SegmentTwin(bundle=small.write(tmp_path / "empty"), find=True))
