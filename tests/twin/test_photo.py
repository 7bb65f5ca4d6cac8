"""A picture file: the right way up, with its focal length, and without its place."""

import math
from pathlib import Path

import numpy as np
import pictures
import pytest
from PIL import ExifTags, Image

from hardware.errors import BadInput
from twin import photo


def test_every_orientation_comes_out_upright(tmp_path: Path):
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (250, 0, 0)  # red upper left
    upright[:20, 30:] = (0, 250, 0)  # green upper right
    stored = {  # what the sensor saved, by EXIF's orientation number
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }
    for orientation, rgb in stored.items():
        file = pictures.save(
            tmp_path / f"{orientation}.png", np.ascontiguousarray(rgb), pictures.exif(orientation=orientation)
        )
        np.testing.assert_array_equal(photo.read(file).rgb, upright, err_msg=str(orientation))
        np.testing.assert_array_equal(photo.read(file, upright=False).rgb, rgb)


def test_the_focal_length_by_hand(tmp_path: Path):
    # 26 mm of a 43.27 mm diagonal on 640 × 480 (diagonal 800 px): 480.7 px.
    taken = photo.read(pictures.save(tmp_path / "a.jpg", pictures.detail(), pictures.exif()))
    assert taken.focal_px == pytest.approx(26 / math.hypot(36, 24) * 800)
    assert taken.camera == "Maker Phone 1 4.20 mm 640×480"
    assert taken.stamp_s == 1741064767.0  # 2025-03-04T05:06:07Z
    turned = photo.read(pictures.save(tmp_path / "b.jpg", pictures.detail(480, 640), pictures.exif(orientation=6)))
    assert turned.focal_px == pytest.approx(taken.focal_px)
    assert turned.camera == taken.camera  # it was taken lying on its side


def test_fractions_of_a_second_count(tmp_path: Path):
    taken = photo.read(pictures.save(tmp_path / "a.jpg", pictures.detail(), pictures.exif(part="250")))
    assert taken.stamp_s == 1741064767.25


def test_the_focal_length_from_the_pixel_pitch():
    # 50 mm behind pixels of 1/254 mm (2540 per cm, unit 3): 12700 px for 6000 taken, a tenth for 600.
    tags = {
        ExifTags.Base.FocalLength: 50.0,
        ExifTags.Base.FocalPlaneXResolution: 2540.0,
        ExifTags.Base.FocalPlaneResolutionUnit: 3,
        ExifTags.Base.ExifImageWidth: 6000,
    }
    assert photo.focal_px(tags, 600, 400) == pytest.approx(1270)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "wide", None, (1, 2)])
def test_a_focal_length_that_is_none_is_not_believed(value):
    assert photo.focal_px({ExifTags.Base.FocalLengthIn35mmFilm: value}, 640, 480) is None


@pytest.mark.parametrize("text", ["", "0000:00:00 00:00:00", "yesterday"])
def test_a_date_that_is_none_is_not_believed(text):
    assert photo.stamp_s({ExifTags.Base.DateTimeOriginal: text}) is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_other_kinds_of_pixels_become_rgb(tmp_path: Path, mode: str):
    suffix = ".tif" if mode in ("CMYK", "I;16") else ".png"
    picture = Image.fromarray(pictures.detail(64, 48))
    picture = Image.fromarray(np.full((48, 64), 40_000, np.uint16)) if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    taken = photo.read(tmp_path / f"a{suffix}")
    assert taken.rgb.shape == (48, 64, 3)
    assert taken.rgb.dtype == np.uint8
    assert 50 < taken.rgb.mean() < 200
    assert (taken.focal_px, taken.stamp_s, taken.camera) == (None, None, "64×48")


def test_what_is_no_picture_is_named(tmp_path: Path):
    text = tmp_path / "notes.jpg"
    text.write_text("milk, bread")
    with pytest.raises(BadInput, match=r"notes\.jpg is not a picture"):
        photo.read(text)
    cut = pictures.save(tmp_path / "cut.jpg", pictures.detail())
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(BadInput, match=r"cut\.jpg is damaged or cut off"):
        photo.read(cut)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BadInput, match=r"empty\.jpg is not a picture"):
        photo.read(tmp_path / "empty.jpg")
