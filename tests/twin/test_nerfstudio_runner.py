"""What nerfstudio learned comes back in our world and scale; what goes wrong there is said in its own words."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import small_twin

from hardware.errors import BadInput
from twin import nerfstudio_runner, splat_ply
from twin.nerfstudio_runner import DataparserTransforms, TrainerFailed, train
from twin.training_config import TrainingConfig

ROOT = Path(__file__).parents[2]
CONFIG = TrainingConfig(steps=200)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two programs, as an environment has them; they export the small twin's own splat."""
    stand_in = Path(__file__).with_name("stand_in_nerfstudio.py")
    programs = tmp_path / "nerfstudio" / "bin"
    programs.mkdir(parents=True)
    for name in ("ns-train", "ns-export"):
        file = programs / name
        file.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{stand_in}" {name} "$@"\n')
        file.chmod(0o755)
    splat_ply.write(tmp_path / "learned.ply", small_twin.splat())
    monkeypatch.setenv("STAND_IN_SPLAT", str(tmp_path / "learned.ply"))
    return programs.parent


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    small_twin.write_stages(folder, small_twin.splat(), small_twin.cameras(8))
    (folder / "out").mkdir()
    return folder


def trained(work: Path, environment: Path):
    return train(CONFIG, environment, work / "capture" / "frames", work / "alignment", work / "out")


@pytest.mark.slow
def test_the_splat_comes_back_metric_with_its_quality_measured(work: Path, environment: Path) -> None:
    outcome = trained(work, environment)
    back, known = splat_ply.read(work / "out" / "scene.ply"), small_twin.splat()
    np.testing.assert_allclose(back.means_m, known.means_m, atol=2e-6)
    np.testing.assert_allclose(back.scales_m, known.scales_m, rtol=1e-4)
    assert outcome.numbers["psnr_db"] > 35  # the photos are JPEGs of this very splat
    assert outcome.numbers["held_out_photos"] == 2
    assert outcome.numbers["steps"] == 200
    assert (work / "out" / "held_out" / "photo_003.error.png").is_file()
    assert json.loads((work / "out" / "curve.json").read_text()) == []
    assert "190 (95.00%)" in (work / "out" / nerfstudio_runner.LOG).read_text()
    assert not (work / "out" / "dataset").exists()  # the photos are in the capture


def test_a_training_that_fails_is_told_with_its_last_words(
    work: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "1")
    with pytest.raises(TrainerFailed, match=r"ns-train ended with 1: .*CUDA out of memory"):
        trained(work, environment)
    assert not (work / "out" / "scene.ply").exists()


def test_a_folder_without_nerfstudio_is_refused(work: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no ns-train"):
        trained(work, tmp_path / "empty")


def test_a_world_that_was_skewed_cannot_be_undone() -> None:
    skewed = DataparserTransforms(transform=[[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], scale=1.0)
    with pytest.raises(BadInput, match="no rotation and translation"):
        _ = skewed.applied


def test_the_transform_is_turned_then_scaled() -> None:
    """x → scale · (R x + t): with R a quarter turn about z, (1, 0, 0) → 2 · ((0, 1, 0) + (3, 0, 0)) = (6, 2, 0)."""
    quarter = [[0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0]]
    applied = DataparserTransforms(transform=quarter, scale=2.0).applied
    np.testing.assert_allclose(applied.apply(np.array([1.0, 0, 0])), [6, 2, 0], atol=1e-12)
