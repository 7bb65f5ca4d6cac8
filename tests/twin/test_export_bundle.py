"""Every format that a twin is exported to appears whole, or not at all."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
import small_twin

from hardware.errors import BadInput
from twin import splat_ply
from twin.export.bundle import ExportTwin, export


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_twin.write(tmp_path_factory.mktemp("twins") / "table")


def test_a_ply_holds_the_gaussians_of_the_twin(bundle, tmp_path):
    assert export(ExportTwin(bundle=bundle, to="ply", output=tmp_path / "t.ply")) == 0
    there, here = splat_ply.read(tmp_path / "t.ply"), splat_ply.read(bundle / "scene.ply")
    for field in dataclasses.fields(here):
        np.testing.assert_allclose(getattr(there, field.name), getattr(here, field.name), rtol=1e-5)


def test_faint_gaussians_can_be_left_out(bundle, tmp_path):
    export(ExportTwin(bundle=bundle, to="ply", output=tmp_path / "t.ply", min_opacity=0.8))
    whole, kept = splat_ply.read(bundle / "scene.ply"), splat_ply.read(tmp_path / "t.ply")
    expected = whole.select(whole.opacities >= 0.8)
    assert 0 < len(kept) < len(whole)
    np.testing.assert_array_equal(kept.means_m, expected.means_m)


def test_an_spz_is_small_and_counts_the_same(bundle, tmp_path):
    export(ExportTwin(bundle=bundle, to="spz", output=tmp_path / "t.spz"))
    packed = (tmp_path / "t.spz").read_bytes()
    assert int.from_bytes(gzip.decompress(packed)[8:12], "little") == 3000
    assert len(packed) < (bundle / "scene.ply").stat().st_size / 4


def test_a_nerfstudio_folder_holds_photos_poses_and_points(bundle, tmp_path):
    export(ExportTwin(bundle=bundle, to="nerfstudio", output=tmp_path / "ns"))
    meta = json.loads((tmp_path / "ns" / "transforms.json").read_text())
    assert len(meta["frames"]) == 9
    for frame in meta["frames"]:
        assert (tmp_path / "ns" / frame["file_path"]).stat().st_size > 1000
    assert (tmp_path / "ns" / meta["ply_file_path"]).exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"to": "ply", "output": "t.spz"}, r"does not end in \.ply"),
        ({"to": "ply", "output": "t.ply", "min_opacity": 1.0}, "the most opaque has"),
        ({"to": "spz", "output": "t.spz", "bundle": "nothing"}, "no twin"),
        ({"to": "nerfstudio", "output": ".."}, "not empty"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(bundle, tmp_path, monkeypatch, change, words):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(BadInput, match=words):
        export(ExportTwin.model_validate({"bundle": bundle} | change))
    assert list(here.iterdir()) == []


def test_a_bundle_without_its_photos_still_gives_a_ply_but_no_nerfstudio(tmp_path, bundle):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("scene.ply", "cameras.json"):
        (bare / name).symlink_to(bundle / name)
    export(ExportTwin(bundle=bare, to="ply", output=tmp_path / "t.ply"))
    with pytest.raises(BadInput, match="no photos any more"):
        export(ExportTwin(bundle=bare, to="nerfstudio", output=tmp_path / "ns"))
    assert not (tmp_path / "ns").exists()
