"""Whatever a person hands to `tandem twin`, they hear what is wrong, and nothing is left half done."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pictures
import plyfile
import pytest
import small_build
import small_twin
import test_posed_scan
import test_video

import tandem

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-c", "import sys, tandem; sys.exit(tandem.main())"]
KILOBYTE = 1024


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def one_photo(folder: Path) -> Path:
    return pictures.photos(folder, 1)


def text_named_jpg(folder: Path) -> Path:
    (pictures.photos(folder, 3) / "IMG_7.jpg").write_text("milk, bread")
    return folder


def truncated_jpeg(folder: Path) -> Path:
    file = pictures.photos(folder, 3) / "IMG_1.jpg"
    file.write_bytes(file.read_bytes()[:4000])
    return folder


def heic(folder: Path) -> Path:
    (pictures.photos(folder, 3) / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    return folder


def video_without_frames(folder: Path) -> Path:
    folder.mkdir()
    return test_video.sound_only(folder / "walk.mp4")


def video_that_is_text(folder: Path) -> Path:
    folder.mkdir()
    (folder / "walk.mov").write_text("not a film")
    return folder / "walk.mov"


def missing_images(folder: Path) -> Path:
    test_posed_scan.dataset(folder, 4)
    (folder / "images" / "002.jpg").unlink()
    return folder


def broken_transforms(folder: Path) -> Path:
    folder.mkdir()
    (folder / "transforms.json").write_text('{"frames": [')
    return folder / "transforms.json"


def nowhere(folder: Path) -> Path:
    return folder


def a_text_file(folder: Path) -> Path:
    folder.write_text("scan")
    return folder


@pytest.mark.parametrize(
    ("make", "said", "advice"),
    [
        (empty, "holds no photos (it holds nothing)", "photos end in .bmp .heic"),
        (one_photo, "holds one photo, IMG_0.jpg", "a twin needs 30 to 150"),
        (text_named_jpg, "IMG_7.jpg is not a picture, whatever its name says", "remove it from the folder"),
        (truncated_jpeg, "IMG_1.jpg is damaged or cut off", "copy it from the phone again"),
        (heic, "IMG_1.HEIC is HEIC, and there is no decoder for it", "make setup EXTRAS=heif"),
        (video_without_frames, "walk.mp4 has no video in it", "give the video file"),
        (video_that_is_text, "walk.mov is not a video", "copy it from the phone again"),
        (missing_images, "names 1 of 4 images that are missing: images/002.jpg", "paths in it are relative to"),
        (broken_transforms, "cannot read", "transforms.json"),
        (nowhere, "there is no", "give a folder of photos, a video"),
        (a_text_file, "is a single file of a kind that is not a scan", "give a folder of photos"),
    ],
)
def test_a_scan_that_is_none_is_named_and_leaves_nothing(
    make: Callable[[Path], Path], said: str, advice: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if make is heic and has_heif():
        pytest.skip("pillow-heif is installed here")
    scan = make(tmp_path / "scan")
    before = sorted(path for path in (tmp_path / "scan").rglob("*"))
    assert tandem.main(["twin", "build", str(scan), "-o", str(tmp_path / "twin")]) == 2
    heard = capfd.readouterr().err
    assert said in heard
    assert advice in heard
    assert "Traceback" not in heard
    assert not (tmp_path / "twin").exists()
    assert sorted(path for path in (tmp_path / "scan").rglob("*")) == before


def has_heif() -> bool:
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("kind", ["a file", "other files"])
def test_an_output_that_is_something_else_is_left_alone(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    output = thesis if kind == "a file" else thesis.parent
    assert tandem.main(["twin", "build", str(pictures.photos(tmp_path / "scan", 2)), "-o", str(output)]) == 2
    assert "give a folder" in capfd.readouterr().err or kind == "other files"
    assert [path.name for path in thesis.parent.iterdir()] == ["thesis.txt"]
    assert thesis.read_text() == "years of work"


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scan = pictures.photos(tmp_path / "scan", 2)
    if os.geteuid() == 0:  # nothing is read-only to root, but /proc is
        output = Path("/proc/twin")
    else:
        (tmp_path / "locked").mkdir(mode=0o555)
        output = tmp_path / "locked" / "twin"
    assert tandem.main(["twin", "build", str(scan), "-o", str(output)]) == 2
    heard = capfd.readouterr().err
    assert f"cannot write to {output}" in heard
    assert "give a writable folder" in heard
    assert not output.exists()


def limited(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Where no file can grow beyond `size` bytes: as on a disk that is full, whoever asks."""
    return subprocess.run(
        [*START, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
    )


def test_a_disk_that_is_full_at_once_leaves_nothing(tmp_path: Path) -> None:
    scan = pictures.photos(tmp_path / "scan", 4, 640, 480)
    done = limited(8 * KILOBYTE, "twin", "build", str(scan), "-o", str(tmp_path / "twin"))
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr
    assert "free some space in" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "twin").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_later_keeps_what_was_finished(tmp_path: Path) -> None:
    """The checkpoint does not fit; when there is room again the same command goes on to a whole bundle."""
    scan, twin = small_build.scan(tmp_path), tmp_path / "twin"
    flags = ["--training.steps", "300", "--training.max-gaussians", "4000"]
    flags += ["--mesh.voxel-m", "0.012", "--mesh.long-side-px", "160"]
    done = limited(256 * KILOBYTE, "twin", "build", str(scan), "-o", str(twin), *flags)
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr
    assert [path.name for path in twin.iterdir()] == ["work"]
    kept = (twin / "work" / "alignment" / "stage.json").stat().st_mtime_ns
    again = limited(resource.RLIM_INFINITY, "twin", "build", str(scan), "-o", str(twin), *flags)
    assert again.returncode == 0, again.stderr
    assert (twin / "twin.json").is_file()
    assert (twin / "work" / "alignment" / "stage.json").stat().st_mtime_ns == kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Three megabytes; only root can have one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], check=False)
    if made.returncode:
        pytest.skip("a small file system can only be made as root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can only be made as root")
def test_a_disk_too_small_for_matching_is_noticed_beforehand(
    small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """COLMAP itself would end the process."""
    scan = pictures.photos(tmp_path / "scan", 12)
    assert tandem.main(["twin", "build", str(scan), "-o", str(small_disk / "twin")]) == 2
    assert "structure from motion needs up to 15 MB" in capfd.readouterr().err
    assert (small_disk / "twin" / "work" / "capture" / "stage.json").is_file()


def positions_only(file: Path) -> str:
    table = np.zeros(5, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(str(file))
    return "holds positions only, no Gaussians"


def with_nan(file: Path) -> str:
    ply = plyfile.PlyData.read(str(file), mmap=False)
    ply["vertex"]["y"][3] = np.nan
    ply.write(str(file))
    return "means_m[3] is not finite (1 of 3000"


def cut_off(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:-100])
    return "is not a whole PLY file"


@pytest.mark.parametrize("spoil", [positions_only, with_nan, cut_off])
@pytest.mark.parametrize("verb", ["render", "export"])
def test_a_splat_that_is_none_is_named(
    spoil: Callable[[Path], str], verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, out = small_twin.write(tmp_path / "twin"), tmp_path / "out"
    said = spoil(bundle / "scene.ply")
    flags = {"render": ["-o", str(out), "--frames", "2"], "export": ["--to", "spz", "-o", str(out / "a.spz")]}[verb]
    assert tandem.main(["twin", verb, str(bundle), *flags]) == 2
    heard = capfd.readouterr().err
    assert said in heard
    assert "scene.ply" in heard
    assert "Traceback" not in heard
    assert not list(tmp_path.glob("out/*"))


def test_a_blurred_scan_ends_with_advice_and_an_explanation(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(14):
        pictures.save(tmp_path / "scan" / f"{number}.jpg", pictures.smeared(pictures.detail(320, 240, number), 21))
    assert tandem.main(["twin", "build", str(tmp_path / "scan"), "-o", str(tmp_path / "twin")]) == 3
    assert "14 of 14 photos are blurred: walk slower" in capfd.readouterr().err
    assert (tmp_path / "twin" / "report.html").is_file()
    assert not (tmp_path / "twin" / "twin.json").exists()


@pytest.mark.parametrize(
    "flags",
    [["--sfm.features", "3"], ["--capture.blur-limit", "2"], ["--training.colour", "red"], ["--sfm.mapper", "x"]],
)
def test_a_wrong_flag_is_refused_before_anything_is_written(tmp_path: Path, flags: list[str]) -> None:
    scan = pictures.photos(tmp_path / "scan", 2)
    with pytest.raises(SystemExit) as stop:
        tandem.main(["twin", "build", str(scan), "-o", str(tmp_path / "twin"), *flags])
    assert stop.value.code == 2
    assert not (tmp_path / "twin").exists()


def test_a_wrong_value_in_the_config_file_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"sfm": {"partners": "many"}}))
    scan = pictures.photos(tmp_path / "scan", 2)
    assert tandem.main(["twin", "build", str(scan), "-o", str(tmp_path / "twin"), "--config", str(file)]) == 2
    assert "mine.yaml: sfm.partners" in capfd.readouterr().err
    assert not (tmp_path / "twin").exists()
