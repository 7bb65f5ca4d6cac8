"""The photos against their truth: lens, pixels, EXIF, light."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from hardware.bench import hand, phone
from hardware.bench.scan import LOOK_AT_M, ScanBench, scan
from hardware.bench.truth import Truth, read_truth
from hardware.board import CharucoBoard

PHOTOS = 4


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "out"
    assert scan(ScanBench(output=folder, photos=PHOTOS, seed=3)) == 0
    return folder


@pytest.fixture(scope="module")
def filmed_upright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "upright"
    assert scan(ScanBench(output=folder, photos=3, width_px=768, height_px=1024)) == 0
    return folder


def exif_of(file: Path) -> tuple[Image.Exif, dict[int, object], tuple[int, int]]:
    """(the file's tags, the photo's details, stored width and height)."""
    with Image.open(file) as image:
        exif = image.getexif()
        return exif, dict(exif.get_ifd(ExifTags.IFD.Exif)), image.size


def detector(board: CharucoBoard) -> cv2.aruco.CharucoDetector:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    return cv2.aruco.CharucoDetector(
        cv2.aruco.CharucoBoard((board.squares_x, board.squares_y), board.square_m, board.marker_m, dictionary)
    )


def corner_errors_px(folder: Path, truth: Truth) -> np.ndarray:
    """Found in the photos − projected by the truth, in pixels whose (0, 0) is a corner."""
    errors = []
    for photo in truth.photos:
        grey = cv2.imread(str(folder / "scan" / photo.name), cv2.IMREAD_GRAYSCALE)
        corners, ids, _, _ = detector(truth.board).detectBoard(grey)
        if ids is None:
            continue
        points_m = photo.pose.inverse().apply(truth.board.object_points(ids.ravel()))
        pixels, inside = truth.camera.project(points_m)
        assert inside.all()
        errors.append(corners.reshape(-1, 2) + 0.5 - pixels)  # OpenCV's (0, 0) is the first pixel's centre
    assert 2 * len(errors) > len(truth.photos)
    return np.concatenate(errors)


def test_board_corners_are_where_the_truth_says(filmed: Path) -> None:
    errors_px = corner_errors_px(filmed, read_truth(filmed / "truth.json"))
    assert len(errors_px) > 30
    assert np.median(np.linalg.norm(errors_px, axis=1)) < 0.15
    # half a pixel of wrong convention would show as a common shift of 0.5
    assert np.abs(np.median(errors_px, axis=0)).max() < 0.05


def test_a_wrong_distortion_would_be_noticed(filmed: Path) -> None:
    truth = read_truth(filmed / "truth.json")
    other_lens = truth.but(camera=truth.camera.but(k1=truth.camera.k1 + 0.5).model_dump())
    worst_px = [np.percentile(np.abs(corner_errors_px(filmed, each)), 95) for each in (truth, other_lens)]
    assert worst_px[1] > 2 * worst_px[0]


def test_the_exif_focal_length_is_near_the_true_one(filmed: Path) -> None:
    truth = read_truth(filmed / "truth.json")
    _, details, _ = exif_of(filmed / "scan" / truth.photos[0].name)
    # 26 mm equivalent: 26 / 43.27 of the diagonal, 1280 px at 1024 × 768, is 769.2 px
    claimed_px = details[ExifTags.Base.FocalLengthIn35mmFilm] / math.hypot(36, 24) * 1280
    assert claimed_px == pytest.approx(769.2, abs=0.1)
    assert truth.camera.fx_px == pytest.approx(claimed_px, rel=0.01)
    assert truth.camera.fx_px != pytest.approx(claimed_px, rel=0.001)  # a lens is never what its EXIF says
    assert details[ExifTags.Base.FocalLength] == pytest.approx(26 / 43.2666 * 7.06, abs=0.001)


def test_photos_carry_camera_and_time_but_no_place(filmed: Path) -> None:
    stamps = []
    for file in sorted((filmed / "scan").iterdir()):
        exif, details, _ = exif_of(file)
        assert exif[ExifTags.Base.Make] == "Tandem"
        assert exif[ExifTags.Base.Orientation] == 1
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
        stamps.append((details[ExifTags.Base.DateTimeOriginal], details[ExifTags.Base.SubsecTimeOriginal]))
    assert len(set(stamps)) == PHOTOS
    assert stamps == sorted(stamps)


def test_photos_are_well_exposed_and_full_of_detail(filmed: Path) -> None:
    for file in (filmed / "scan").iterdir():
        rgb = cv2.imread(str(file))
        assert (rgb == 255).all(-1).mean() < 0.002  # nothing burnt out
        assert 70 < rgb.mean() < 190
        assert len(cv2.SIFT_create().detect(cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY), None)) > 500


def test_a_phone_held_upright_writes_sideways_pixels_marked_so(filmed_upright: Path) -> None:
    truth = read_truth(filmed_upright / "truth.json")
    exif, _, stored_size = exif_of(filmed_upright / "scan/IMG_0001.jpg")
    assert stored_size == (1024, 768)
    assert exif[ExifTags.Base.Orientation] == 6
    assert (truth.camera.width_px, truth.camera.height_px) == (768, 1024)
    errors_px = corner_errors_px(filmed_upright, truth)  # OpenCV turns the photo upright
    assert np.median(np.linalg.norm(errors_px, axis=1)) < 0.15


def test_the_blur_is_the_way_a_pixel_moves_while_the_shutter_is_open() -> None:
    camera = phone.phone_camera(1024, 768)
    # 0.1 rad/s about the camera's y axis for 1/50 s moves the centre by 0.002 rad · 772 px = 1.5 px
    still = hand.look(np.array([0.5, 0.0, 0.5]), LOOK_AT_M, 0.0)
    shot = hand.Shot(still, np.array([0, 0, 0, 0, 0.1, 0.0]), exposure_s=1 / 50, gain=1.0, stamp_s=0.0)
    assert phone.blur_px(camera.pinhole(), shot) == pytest.approx(1.54 * 1.2, rel=0.15)  # more towards the border
    start, end = shot.at(0.0), shot.at(1.0)
    assert start.distance_to(end)[1] == pytest.approx(0.002, rel=1e-9)
    assert shot.at(0.5) == shot.T_base_cam


@pytest.mark.parametrize("count", [1, 2, 60, 200])
def test_the_walk_goes_all_round_and_stays_clear_of_the_table(count: int) -> None:
    shots = hand.walk(np.random.default_rng(0), count, LOOK_AT_M)
    assert len(shots) == count
    at_m = np.array([shot.T_base_cam.translation_m for shot in shots])
    assert at_m[:, 2].min() > 0.25  # above everything that stands there
    assert np.linalg.norm(at_m - LOOK_AT_M, axis=1).max() < 1.2
    assert all(0.9 <= shot.gain <= 1.1 for shot in shots)
    if count >= 60:
        azimuths_rad = np.sort(np.arctan2(*(at_m - LOOK_AT_M)[:, 1::-1].T))
        assert np.diff(azimuths_rad).max() < math.radians(25)
        assert np.ptp(at_m[:, 2]) > 0.15
    order_s = [shot.stamp_s for shot in shots]
    assert order_s == sorted(order_s)
