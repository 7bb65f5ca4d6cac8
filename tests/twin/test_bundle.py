"""A bundle says what it is, is whole or is none, and notices files that were changed."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import small_build

from hardware.config import read
from hardware.errors import BadInput
from twin import bundle, manifest
from twin.bundle import ShowInfo, scale_in_words, show
from twin.manifest import Twin, read_twin


@pytest.fixture
def copied(small_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle, tmp_path / "twin"))


def test_the_manifest_names_the_frame_the_origin_and_the_quality(small_bundle: Path) -> None:
    twin = read_twin(small_bundle)
    assert (twin.frames.world, twin.frames.metric) == ("sfm", False)  # nerfstudio's poses carry no unit
    assert twin.scale.kind == "none"
    assert twin.provenance.scan == "scan"
    assert twin.provenance.scan_kind == "nerfstudio"
    assert twin.provenance.trainer == "tandem"
    assert twin.provenance.config["training"]["steps"] == small_build.TRAINING.steps
    assert (twin.quality.registered, twin.quality.frames, twin.quality.held_out_photos) == (16, 16, 2)
    assert twin.quality.psnr_db is not None
    assert 14 < twin.quality.psnr_db < 50
    assert [stage.name for stage in twin.stages] == list(manifest.STAGES)
    assert twin.seconds == pytest.approx(sum(stage.seconds for stage in twin.stages))


def test_every_file_is_listed_with_its_sum(small_bundle: Path) -> None:
    for name, file in read_twin(small_bundle).files.items():
        data = (small_bundle / name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert sorted(read_twin(small_bundle).files) == ["cameras.json", "mesh.ply", "scene.ply"]


def test_the_resolved_config_can_be_built_again(small_bundle: Path) -> None:
    from twin.build_config import BuildTwin

    again = BuildTwin.model_validate(read_twin(small_bundle).provenance.config)
    assert again.training == small_build.TRAINING
    assert again == read(BuildTwin, small_bundle / "work" / "config.json")


def test_info_prints_the_twin_and_writes_it_as_json(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(ShowInfo(bundle=small_bundle, json_file=tmp_path / "twin.json")) == 0
    said = capsys.readouterr().out
    for words in ("16 of 16", "not metric", "Gaussians", "held-out PSNR", "scene.ply"):
        assert words in said
    assert "changed" not in said
    assert read(Twin, tmp_path / "twin.json") == read_twin(small_bundle)


def test_info_notices_a_file_that_was_changed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (copied / "scene.ply").open("ab") as stream:
        stream.write(b"\0")
    show(ShowInfo(bundle=copied))
    changed = [line for line in capsys.readouterr().out.splitlines() if "changed or gone" in line]
    assert len(changed) == 1
    assert "scene.ply" in changed[0]


def test_a_bundle_that_could_not_be_finished_is_none(copied: Path) -> None:
    """The old manifest goes before anything is replaced: no mixture of two builds is ever taken for a twin."""
    config = small_build.config(copied.parent / "scan", copied)
    stages = list(read_twin(copied).stages)
    (copied / "work" / "mesh" / "mesh.ply").unlink()
    with pytest.raises(OSError, match=r"mesh\.ply"):
        bundle.write(copied, config, stages)
    with pytest.raises(BadInput, match="did not finish"):
        read_twin(copied)


def test_a_folder_without_a_twin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no twin"):
        show(ShowInfo(bundle=tmp_path))


def test_a_manifest_of_another_format_is_refused(copied: Path) -> None:
    values = json.loads((copied / "twin.json").read_text())
    (copied / "twin.json").write_text(json.dumps(values | {"format_version": 2}))
    with pytest.raises(BadInput, match="format_version"):
        read_twin(copied)


def test_scale_is_said_with_its_error(small_bundle: Path) -> None:
    twin = read_twin(small_bundle)
    frames = twin.frames.but(world="board", metric=True)
    scale = twin.scale.but(kind="board", scale_uncertainty_percent=0.02, held_out_median_mm=0.14)
    said = scale_in_words(twin.but(frames=frames, scale=scale))
    assert said == "metres, frame 'board', ± 0.02 %; corners of unused photos 0.14 mm off"
