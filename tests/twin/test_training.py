"""Training learns, is the same however often it is stopped, and never looks at what it is measured on."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_twin

from hardware import artefact, config
from hardware.errors import BadInput
from twin import checkpoint, splat_ply
from twin.posed_images import PosedImages
from twin.training import Diverged, Training, train
from twin.training_config import PRESETS, LearningRates, TrainingConfig

SHORT = TrainingConfig(steps=60, max_gaussians=3000, score_every=1000)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("stages")
    small_twin.write_stages(folder, small_twin.splat(), small_twin.cameras(12))
    return folder


def fresh(work: Path, out: Path, settings: TrainingConfig = SHORT) -> Training:
    out.mkdir(parents=True, exist_ok=True)
    return Training(settings, work / "capture" / "frames", work / "alignment", out)


def run(work: Path, out: Path, settings: TrainingConfig):
    out.mkdir(parents=True)
    return train(settings, work / "capture" / "frames", work / "alignment", out)


@pytest.mark.slow
def test_a_known_scene_is_learned(tmp_path: Path):
    work, out = tmp_path / "work", tmp_path / "splat"
    small_twin.write_stages(work, small_twin.splat(), small_twin.cameras(24))
    outcome = run(work, out, TrainingConfig(steps=600, max_gaussians=4000, score_every=200))
    curve = json.loads((out / "curve.json").read_text())
    # Measured on photos that it has not seen: 17.3 dB after 200 steps, 22.6 after 400, 26.6 and SSIM 0.904 after 600.
    assert outcome.numbers["psnr_db"] >= 25.5
    assert outcome.numbers["ssim"] >= 0.88
    assert [point["step"] for point in curve] == [200, 400, 600]
    assert curve[0]["psnr_db"] < curve[-1]["psnr_db"] == pytest.approx(outcome.numbers["psnr_db"])
    assert outcome.numbers["gaussians"] == 4000
    assert outcome.numbers["training_photos"] == 18
    assert outcome.numbers["held_out_photos"] == 6
    assert len(splat_ply.read(out / "scene.ply")) == 4000
    assert cv2.imread(str(out / "preview.png")).shape == (120, 320, 3)
    assert len(list((out / "held_out").glob("*.png"))) == 18
    assert [gate.passed for gate in outcome.gates] == [True]


@pytest.mark.parametrize("stops", [(30,), (1, 17, 44)])
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(work: Path, tmp_path: Path, stops):
    settings = SHORT.but(noise=80.0, max_gaussians=5000)
    whole = fresh(work, tmp_path / "whole", settings)
    while whole.step_count < 60:
        whole.step()
    stopped = fresh(work, tmp_path / "stopped", settings)
    for stop in (*stops, 60):
        while stopped.step_count < stop:
            stopped.step()
        stopped._save()
        stopped = fresh(work, tmp_path / "stopped", settings)
        assert stopped.step_count == stop
    for name in ("rows", "first", "second"):
        np.testing.assert_array_equal(getattr(stopped.parameters, name), getattr(whole.parameters, name))
    for name, array in whole.exposures.arrays().items():
        np.testing.assert_array_equal(stopped.exposures.arrays()[name], array)


def test_ctrl_c_keeps_the_state(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = fresh(work, tmp_path / "run")
    step = run.step

    def interrupted() -> float:
        if run.step_count == 7:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert fresh(work, tmp_path / "run").step_count == 7


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(work: Path, tmp_path: Path):
    one = fresh(work, tmp_path / "run")
    one.step()
    one._save()
    assert fresh(work, tmp_path / "run").step_count == 1
    assert fresh(work, tmp_path / "run", SHORT.but(checkpoint_every_s=1.0)).step_count == 1
    assert fresh(work, tmp_path / "run", SHORT.but(seed=1)).step_count == 0
    (tmp_path / "run" / checkpoint.NAME).write_bytes(b"broken")
    assert fresh(work, tmp_path / "run").step_count == 0


def test_held_out_photos_have_no_part_in_training(work: Path, tmp_path: Path):
    """Blackening them changes the score, and not one bit of the splat."""
    changed = tmp_path / "changed"
    shutil.copytree(work, changed)
    images = config.read(PosedImages, work / "alignment" / "posed.json")
    for view in images.held_out:
        cv2.imwrite(str(changed / "capture" / "frames" / view.image), np.zeros((120, 160, 3), np.uint8))
    settings = SHORT.but(steps=30, score_every=10)
    as_it_is, blackened = run(work, tmp_path / "one", settings), run(changed, tmp_path / "two", settings)
    assert (tmp_path / "one" / "scene.ply").read_bytes() == (tmp_path / "two" / "scene.ply").read_bytes()
    assert as_it_is.numbers["psnr_db"] != blackened.numbers["psnr_db"]
    trained_on = {photo.name for photo in fresh(work, tmp_path / "three").photos}
    assert trained_on.isdisjoint(view.image for view in images.held_out)
    assert len(trained_on) == 9


def test_every_photo_has_its_turn_once_an_epoch(work: Path, tmp_path: Path):
    run = fresh(work, tmp_path)
    turns = []
    for run.step_count in range(18):
        turns.append(run._photo_of_step())
    assert sorted(turns[:9]) == sorted(turns[9:]) == list(range(9))
    assert turns[:9] != turns[9:]


def test_a_run_that_diverges_says_so_and_names_the_photo(work: Path, tmp_path: Path):
    wild = SHORT.but(rates=LearningRates(log_scales=1e4, means_extents=1e6))
    run = fresh(work, tmp_path, wild)
    with pytest.raises(Diverged, match=r"diverged at step \d+ on photo_\d+\.jpg.*\n.*lower the learning rates"):
        run.finish()
    assert not (tmp_path / checkpoint.NAME).exists()  # else every later try would begin diverged


def test_nothing_that_is_not_finite_is_drawn_copied_or_kept(work: Path, tmp_path: Path):
    """A step that ends in an infinity is the last, even where a checkpoint, a score and a preview are due after it."""
    wild = SHORT.but(rates=LearningRates(log_scales=1e4), score_every=1, checkpoint_every_s=0.0)
    with pytest.raises(Diverged):
        run(work, tmp_path / "run", wild)
    assert not list((tmp_path / "run").iterdir())


def test_different_exposures_are_told_from_the_scene(work: Path, tmp_path: Path):
    """Every photo a fifth brighter or darker: the learned exposures say which, and their mean stays none."""
    changed = tmp_path / "changed"
    shutil.copytree(work, changed)
    images = config.read(PosedImages, work / "alignment" / "posed.json")
    gains = np.where(np.arange(9) % 2 == 0, 0.85, 1.15)
    for view, gain in zip(images.training, gains, strict=True):
        file = str(changed / "capture" / "frames" / view.image)
        cv2.imwrite(file, np.clip(cv2.imread(file) * gain, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 98])
    rates = LearningRates(exposure=1e-2)
    run = fresh(changed, tmp_path / "run", SHORT.but(steps=150, rates=rates))
    run.finish()
    learned = np.array([np.trace(matrix[:, :3]) / 3 for matrix in run.exposures.matrices])
    assert np.corrcoef(learned, gains)[0, 1] > 0.9
    np.testing.assert_allclose(learned.mean(), 1, atol=0.02)


def test_without_held_out_photos_nothing_is_claimed(work: Path, tmp_path: Path):
    images = config.read(PosedImages, work / "alignment" / "posed.json")
    views = tuple(view.but(held_out=False) for view in images.views)
    alignment = tmp_path / "alignment"
    artefact.write_model(alignment / "posed.json", images.but(views=views))
    out = tmp_path / "splat"
    out.mkdir()
    outcome = train(SHORT.but(steps=5), work / "capture" / "frames", alignment, out)  # and without points
    assert "psnr_db" not in outcome.numbers
    assert outcome.notes == ("No photo was held out, so nothing measures the twin's quality.",)
    assert outcome.gates == ()


def test_one_photo_is_too_few(work: Path, tmp_path: Path):
    images = config.read(PosedImages, work / "alignment" / "posed.json")
    artefact.write_model(tmp_path / "posed.json", images.but(views=images.training[:1]))
    with pytest.raises(BadInput, match="1 photos to train on"):
        Training(SHORT, work / "capture" / "frames", tmp_path, tmp_path)


def test_what_is_not_given_comes_from_the_preset():
    assert TrainingConfig().budget == PRESETS["cpu"]
    assert TrainingConfig(preset="cuda", steps=7).budget == PRESETS["cuda"].but(steps=7)
    assert TrainingConfig(sh_degree=0).budget.sh_degree == 0
