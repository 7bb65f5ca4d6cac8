"""Capture: all four kinds of scan, sharp and different frames, no metadata, and advice when it will not do."""

import re
from pathlib import Path

import numpy as np
import pictures
import pytest
import test_posed_scan
import test_video
from PIL import Image

from hardware.config import read
from hardware.errors import BadInput, GateFailed
from hardware.gate import check
from twin import capture
from twin.capture import Capture, CaptureConfig, frame_names, kind_of, pictures_in
from twin.posed_images import PosedImages

FEW = CaptureConfig(fewest=3)


def take(scan: Path, out: Path, config: CaptureConfig = FEW) -> tuple[Capture, capture.Outcome]:
    out.mkdir(parents=True, exist_ok=True)
    outcome = capture.capture(config, scan, out)
    return read(Capture, out / "capture.json"), outcome


def test_photos_become_frames_without_a_trace_of_where(tmp_path: Path):
    manifest, outcome = take(pictures.photos(tmp_path / "scan", 4), tmp_path / "out")
    check(outcome.gates)
    assert manifest.kind == "photos"
    assert [frame.name for frame in manifest.kept] == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg"]
    frame = manifest.frames[0]
    assert (frame.width_px, frame.height_px) == (320, 240)
    assert frame.focal_px == pytest.approx(26 / 43.2666 * 400, rel=1e-4)
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert b"GPS" not in file.read_bytes()
            assert b"Exif" not in file.read_bytes()
        if file.suffix == ".jpg":
            with Image.open(file) as picture:
                assert not picture.getexif()
    assert outcome.numbers["frames_kept"] == 4


def test_large_photos_are_shrunk_and_their_focal_length_with_them(tmp_path: Path):
    pictures.photos(tmp_path / "scan", 3, 1600, 1200)
    manifest, _ = take(tmp_path / "scan", tmp_path / "out", FEW.but(max_size_px=400))
    frame = manifest.frames[0]
    assert (frame.width_px, frame.height_px) == (400, 300)
    assert frame.focal_px == pytest.approx(26 / 43.2666 * 500, rel=1e-4)
    with Image.open(tmp_path / "out" / "frames" / frame.name) as picture:
        assert picture.size == (400, 300)


def test_blurred_photos_and_copies_are_left_out(tmp_path: Path):
    scan = pictures.photos(tmp_path / "scan", 6)
    pictures.save(scan / "IMG_2.jpg", pictures.smeared(pictures.detail(320, 240, 2), 15), pictures.exif())
    pictures.save(scan / "IMG_4.jpg", pictures.detail(320, 240, 3), pictures.exif())  # as IMG_3
    manifest, outcome = take(scan, tmp_path / "out")
    assert {frame.name: frame.reason for frame in manifest.frames if not frame.kept} == {
        "IMG_2.jpg": "blurred",
        "IMG_4.jpg": "too like the one before",
    }
    assert sorted(file.name for file in (tmp_path / "out" / "frames").iterdir()) == [
        f"IMG_{n}.jpg" for n in (0, 1, 3, 5)
    ]
    assert "1 of 6 frames left out: blurred" in outcome.notes


def test_a_blurred_scan_ends_with_how_to_film_it_again(tmp_path: Path):
    scan = pictures.photos(tmp_path / "scan", 5)
    for number in range(3):
        pictures.save(scan / f"IMG_{number}.jpg", pictures.smeared(pictures.detail(320, 240, number), 15))
    _, outcome = take(scan, tmp_path / "out")
    with pytest.raises(GateFailed, match=r"blurred share: 0\.6 .*\n.*3 of 5 photos are blurred: walk slower"):
        check(outcome.gates)


def test_photos_from_one_place_end_with_the_advice_to_walk(tmp_path: Path):
    for number in range(6):
        pictures.save(tmp_path / "scan" / f"{number}.jpg", pictures.detail(320, 240, number // 4))
    _, outcome = take(tmp_path / "scan", tmp_path / "out", CaptureConfig())
    with pytest.raises(GateFailed, match=r"4 of 6 photos show the same view as the one before: walk round") as stop:
        check(outcome.gates)
    assert "take 30 to 150 sharp photos" in stop.value.fix


@pytest.mark.parametrize(("level", "what"), [(6, "nearly black"), (250, "white")])
def test_photos_in_the_dark_end_with_advice_on_light(tmp_path: Path, level: int, what: str):
    for number in range(4):
        rgb = pictures.detail(320, 240, number) // 32 + level - 4
        pictures.save(tmp_path / "scan" / f"{number}.png", rgb.astype(np.uint8))
    _, outcome = take(tmp_path / "scan", tmp_path / "out")
    gate = next(gate for gate in outcome.gates if gate.name == "badly lit share")
    assert not gate.passed
    assert what in gate.advice


def test_a_few_photos_of_another_camera_end_with_its_name(tmp_path: Path):
    scan = pictures.photos(tmp_path / "scan", 4)
    pictures.save(scan / "IMG_9.jpg", pictures.detail(320, 240, 9), pictures.exif(focal_mm=9.0))
    manifest, outcome = take(scan, tmp_path / "out")
    with pytest.raises(GateFailed, match=r"only 1 photos come from 'Maker Phone 1 9\.00 mm 320×240'"):
        check(outcome.gates)
    assert len({frame.camera for frame in manifest.kept}) == 2
    assert any(note.startswith("2 cameras or zooms") for note in outcome.notes)


def test_file_names_out_of_time_are_noted(tmp_path: Path):
    scan = tmp_path / "scan"
    for number, second in enumerate((5, 3, 9, 11)):
        tags = pictures.exif(taken=f"2025:03:04 05:06:{second:02d}")
        pictures.save(scan / f"{number}.jpg", pictures.detail(320, 240, number), tags)
    assert any("not in the order" in note for note in take(scan, tmp_path / "out")[1].notes)


def test_a_video_becomes_frames(tmp_path: Path):
    film = test_video.film(tmp_path / "walk.mp4", test_video.pan(90, 4.0))
    manifest, outcome = take(film, tmp_path / "out", CaptureConfig(video_frames=12, fewest=6))
    check(outcome.gates)
    assert manifest.kind == "video"
    assert 6 <= len(manifest.kept) <= 12
    stamps = [frame.stamp_s for frame in manifest.frames]
    assert stamps == sorted(stamps)
    assert all(re.fullmatch(r"frame_\d{7}\.jpg", frame.name) for frame in manifest.frames)


def test_poses_that_come_with_the_scan_are_kept(tmp_path: Path):
    scan = test_posed_scan.dataset(tmp_path / "scan")
    manifest, _ = take(scan, tmp_path / "out", FEW.but(max_size_px=320))
    posed = read(PosedImages, tmp_path / "out" / "posed.json")
    assert manifest.kind == "nerfstudio"
    assert [view.image for view in posed.views] == [frame.name for frame in manifest.frames]
    assert all((tmp_path / "out" / "frames" / view.image).is_file() for view in posed.views)


def test_a_colmap_model_is_found_where_its_tools_put_it(tmp_path: Path):
    scan, _ = test_posed_scan.colmap_scan(tmp_path / "scan")
    assert kind_of(scan) == "colmap"
    take(scan, tmp_path / "out")
    assert (tmp_path / "out" / "points.npz").is_file()


def test_photos_are_taken_in_the_order_a_person_numbers_them(tmp_path: Path):
    for name in ("IMG_10.jpg", "IMG_9.JPG", "img_1.png", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in pictures_in(tmp_path)] == ["img_1.png", "IMG_9.JPG", "IMG_10.jpg"]


def test_photos_of_sub_folders_are_taken_when_there_are_no_others(tmp_path: Path):
    for folder in ("left", "right"):
        pictures.photos(tmp_path / folder, 2)
    files = pictures_in(tmp_path)
    assert frame_names(files) == ["left_IMG_0.jpg", "left_IMG_1.jpg", "right_IMG_0.jpg", "right_IMG_1.jpg"]


def test_names_never_meet(tmp_path: Path):
    files = [tmp_path / name for name in ("a.png", "a.jpg", "b.png", "a.JPEG", "A.jpg")]
    names = frame_names(files)
    assert names[2] == "b.jpg"
    assert len({name.lower() for name in names}) == 5
    nested = [tmp_path / name for name in ("x/y_z.jpg", "x_y/z.jpg", "x.jpg")]
    assert len(set(frame_names(nested))) == 3


def test_what_is_no_scan_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"there is no .*nowhere"):
        kind_of(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(BadInput, match=r"a\.txt is a single file of a kind that is not a scan\n.*\.mp4"):
        kind_of(tmp_path / "a.txt")


def test_a_second_try_clears_the_frames_of_the_first(tmp_path: Path):
    out = tmp_path / "out"
    (out / "frames").mkdir(parents=True)
    (out / "frames" / "old.jpg").touch()
    take(pictures.photos(tmp_path / "scan", 3), out)
    assert not (out / "frames" / "old.jpg").exists()
