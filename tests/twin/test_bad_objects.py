"""Objects, robots and stages that cannot be: by the commands, each is refused in a paragraph, with exit code 2."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_contact
import small_objects
import trimesh
from test_robot_alignment import Q_RAD

import tandem
from twin import object_asset, splat_ply
from twin.export import mjcf, usd
from twin.segment import SegmentTwin, segment


def refused(words: list[str | Path], capfd: pytest.CaptureFixture[str]) -> str:
    assert tandem.main(["twin", *map(str, words)]) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


def test_a_box_without_gaussians(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = small_objects.write(tmp_path / "twin", small_objects.box())
    said = refused(["segment", bundle, "--object", "a", "--box", "0.1,0.25,0.3,0.05,0.05,0.05"], capfd)
    assert "'a': the box holds no Gaussians; the nearest is" in said
    assert not (bundle / "objects").exists()


def test_a_scan_in_which_the_robot_is_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = small_objects.write(tmp_path / "twin", small_objects.box())
    angles = ",".join(f"{name}={angle}" for name, angle in Q_RAD.items())
    said = refused(["align", bundle, "--q", angles, "--near=-0.3,0.2,0,0", "--no-photometric"], capfd)
    assert "the scan does not overlap with the robot" in said
    assert not (bundle / object_asset.ROBOT).exists()


def test_a_thing_whose_mesh_has_no_volume(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its Gaussians lie in one plane, so nothing of it is left to carve."""
    bundle = small_objects.write(tmp_path / "twin", small_objects.box())
    segment(SegmentTwin(bundle=bundle, object=("brick",), box=(small_objects.BOX_FLAG,)))
    file = object_asset.folder(bundle, "brick") / "splat.ply"
    splat = splat_ply.read(file)
    flat = splat.means_m.copy()
    flat[:, 1] = 0.0
    splat_ply.write(file, replace(splat, means_m=flat, scales_m=splat.scales_m * np.float32(0.02)))
    assert "'brick' has no volume" in refused(["contact", bundle], capfd)
    assert not (bundle / object_asset.SCENE_XML).exists()


def test_a_collision_piece_that_is_flat(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = small_contact.write(tmp_path / "twin")
    (piece,) = (object_asset.folder(bundle, "wedge") / "collision").glob("*.obj")
    piece.write_text("v 0 0 0\nv 0.01 0 0\nv 0 0.01 0\nv 0.01 0.01 0\nf 1 2 3\nf 2 4 3\n")
    for kind, out in (("mjcf", "folder"), ("usd", "scene.usda")):
        said = refused(["export", bundle, "--to", kind, "-o", tmp_path / out], capfd)
        assert f"{piece.name} is flat: a piece without volume ('wedge')" in said
        assert not (tmp_path / out).exists()


def test_a_cloud_is_as_thick_as_it_is() -> None:
    box = trimesh.creation.box((0.1, 0.1, 0.002)).vertices
    assert mjcf.thickness_m(np.asarray(box)) > 1e-3
    assert mjcf.thickness_m(np.asarray(box) * [1, 1, 0]) == 0.0
    assert mjcf.thickness_m(np.asarray(box)[:3]) == 0.0


def test_a_stage_whose_layer_is_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Copied without the binary layer beside it, as people do."""
    bundle = small_contact.write(tmp_path / "twin", robot=True)
    mjcf.write(bundle)
    usd.write(bundle, tmp_path / "scene.usda")
    assert tandem.main(["twin", "info", str(tmp_path / "scene.usda")]) == 0
    told = capfd.readouterr().out
    assert "all accept it" in told
    assert "scene_arrays.usdc" in told
    (tmp_path / "sent").mkdir()
    shutil.copyfile(tmp_path / "scene.usda", tmp_path / "sent" / "scene.usda")
    said = refused(["info", tmp_path / "sent" / "scene.usda"], capfd)
    assert "lacks a layer" in said
    assert "copy the files it refers to beside it" in said


def test_a_stage_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.usda").write_text("no usd")
    assert "cannot open" in refused(["info", tmp_path / "text.usda"], capfd)
    assert "there is no" in refused(["info", tmp_path / "gone.usda"], capfd)
