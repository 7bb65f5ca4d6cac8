"""A build ends in a whole bundle or says why not, and goes on where it was stopped."""

import fcntl
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_build

from hardware.bench.scan import ScanBench
from hardware.bench.scan import scan as film
from hardware.config import read
from hardware.errors import BadInput, GateFailed
from twin import checkpoint
from twin.build import build
from twin.build_config import BuildTwin
from twin.evaluate import EvaluateTwin, compare
from twin.manifest import read_twin
from twin.mesh import MeshConfig
from twin.posed_images import PosedImages
from twin.training_config import TrainingConfig

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-c", "import sys, tandem; sys.exit(tandem.main())"]
WAIT_S = 120.0


@pytest.mark.slow
def test_a_filmed_bench_becomes_a_metric_twin(tmp_path: Path) -> None:
    """The whole chain on 24 small photos: scale, cameras and pictures are near the truth that it never read."""
    film(ScanBench(output=tmp_path / "bench", photos=24, width_px=640, height_px=480))
    shutil.move(tmp_path / "bench" / "truth.json", tmp_path / "truth.json")
    config = BuildTwin(
        scan=tmp_path / "bench" / "scan",
        output=tmp_path / "twin",
        training=TrainingConfig(steps=150, max_gaussians=6000, long_side_px=240),
        mesh=MeshConfig(long_side_px=240, voxel_m=0.01),
    )
    assert build(config) == 0
    found = compare(EvaluateTwin(bundle=tmp_path / "twin", reference=tmp_path / "truth.json"))
    assert found.cameras is not None
    assert found.held_out is not None
    assert found.cameras.compared_in == "board"
    assert found.registered >= 22
    assert found.cameras.scale_error_percent < 1  # 0.055 % measured
    assert found.cameras.position_median_mm < 5  # 1.2 measured
    assert len(read(PosedImages, tmp_path / "twin" / "work" / "sfm" / "posed.json").cameras) == 1  # one phone
    assert found.cameras.rotation_median_deg < 0.3  # 0.10 measured
    assert found.held_out.psnr_db > 18
    twin = read_twin(tmp_path / "twin")
    assert twin.frames.metric
    assert twin.frames.world == "board"
    names = sorted(path.name for path in (tmp_path / "twin").iterdir())
    assert names == ["cameras.json", "mesh.ply", "report.html", "scene.ply", "twin.json", "work"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_build.scan(tmp_path_factory.mktemp("photos"))


def test_an_unchanged_build_is_reused_and_a_changed_setting_redoes_what_follows(
    photos: Path, tmp_path: Path
) -> None:
    config = small_build.config(photos, tmp_path / "twin")
    build(config)
    first = read_twin(tmp_path / "twin")
    build(config)
    again = read_twin(tmp_path / "twin")
    assert again.stages == first.stages
    assert again.files == first.files
    build(config.but(mesh=config.mesh.but(voxel_m=0.015)))
    changed = read_twin(tmp_path / "twin")
    assert changed.stages[:4] == first.stages[:4]
    assert changed.stages[4].fingerprint != first.stages[4].fingerprint
    assert changed.files["scene.ply"] == first.files["scene.ply"]
    assert changed.files["mesh.ply"] != first.files["mesh.ply"]


def started(photos: Path, output: Path) -> subprocess.Popen[str]:
    """A build in a process of its own that trains until it is stopped, with a checkpoint after every step."""
    words = ["twin", "build", str(photos), "-o", str(output), "--training.steps", "400"]
    words += ["--training.max-gaussians", "3000", "--training.checkpoint-every-s", "0", "--mesh.voxel-m", "0.02"]
    return subprocess.Popen(
        [*START, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def stopped_in_training(process: subprocess.Popen[str], output: Path, how: signal.Signals) -> str:
    """Waits for some steps, sends the signal, and returns what the build said."""
    until = time.monotonic() + WAIT_S
    while not list(output.glob(f"work/splat.partial-*/{checkpoint.NAME}")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(how)
    return process.communicate(timeout=WAIT_S)[1]


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "twin"
    first = started(photos, output)
    stopped_in_training(first, output, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not (output / "twin.json").exists()
    second = started(photos, output)
    said = second.communicate(timeout=WAIT_S)[1]
    assert second.returncode == 0, said
    assert "training goes on from step" in " ".join(said.split())
    assert "capture: unchanged, reused" in " ".join(said.split())
    assert read_twin(output).quality.gaussians == 3000


@pytest.mark.slow
def test_ctrl_c_keeps_the_training_and_says_so(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "twin"
    process = started(photos, output)
    said = stopped_in_training(process, output, signal.SIGINT)
    assert process.returncode == 130
    assert "Stopped" in said
    assert "Traceback" not in said
    assert [path.name for path in output.iterdir()] == ["work"]
    assert list(output.glob(f"work/splat.partial-*/{checkpoint.NAME}"))


def test_a_second_build_into_the_same_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "twin"
    (output / "work").mkdir(parents=True)
    with (output / "work" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match="another build is running"):
            build(small_build.config(photos, output))
    assert [path.name for path in output.iterdir()] == ["work"]


def test_a_failed_gate_leaves_an_explanation_and_no_twin(tmp_path: Path) -> None:
    """Fourteen copies of one photo: a scan that shows nothing from a second side."""
    scan = tmp_path / "scan"
    scan.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for number in range(14):
        cv2.imwrite(str(scan / f"IMG_{number:02d}.jpg"), noise)
    with pytest.raises(GateFailed, match="copies share"):
        build(BuildTwin(scan=scan, output=tmp_path / "twin"))
    page = (tmp_path / "twin" / "report.html").read_text(encoding="utf-8")
    assert "13 of 14 photos show the same view as the one before: walk round the scene." in page
    assert "copies share" in page
    assert sorted(path.name for path in (tmp_path / "twin").iterdir()) == ["report.html", "work"]
    with pytest.raises(BadInput, match="did not finish"):
        read_twin(tmp_path / "twin")


def test_a_failed_gate_leaves_an_earlier_twin_as_it_was(photos: Path, tmp_path: Path) -> None:
    config = small_build.config(photos, tmp_path / "twin")
    build(config)
    before = (tmp_path / "twin" / "report.html").read_bytes()
    with pytest.raises(GateFailed, match="mesh triangles"):
        build(config.but(mesh=config.mesh.but(voxel_m=0.2)))
    assert read_twin(tmp_path / "twin").quality.triangles > 100
    assert (tmp_path / "twin" / "report.html").read_bytes() == before
    assert "mesh triangles" in (tmp_path / "twin" / "failed.html").read_text(encoding="utf-8")
    build(config)
    assert not (tmp_path / "twin" / "failed.html").exists()


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for scan in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(BadInput):
            build(BuildTwin(scan=scan, output=tmp_path / "twin"))
        assert not (tmp_path / "twin").exists()


def test_a_folder_with_somebody_s_files_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="not a twin bundle"):
        build(small_build.config(photos, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
