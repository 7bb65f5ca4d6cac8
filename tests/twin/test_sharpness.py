"""Blur grows with smearing whatever the picture, and copies are told from neighbours."""

import cv2
import numpy as np
import pictures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import sharpness


def blur(rgb: np.ndarray) -> float:
    return sharpness.blur(sharpness.grey(rgb))


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 999), st.booleans())
def test_the_longer_the_smear_the_higher_the_blur(seed, upright):
    rgb = pictures.detail(seed=seed)
    turned = (lambda picture: np.ascontiguousarray(np.rot90(picture))) if upright else (lambda picture: picture)
    blurs = [blur(turned(pictures.smeared(rgb, length))) for length in (1, 3, 5, 11, 25)]
    assert blurs[:4] == sorted(blurs[:4])
    assert blurs[0] < 0.45
    assert min(blurs[3:]) > 0.6


@pytest.mark.parametrize("size", [(1280, 960), (3000, 2250)])
def test_the_size_of_the_photo_matters_little(size):
    rgb = pictures.detail(640, 480)
    assert blur(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)) == pytest.approx(blur(rgb), abs=0.15)


def test_a_picture_without_any_detail_is_as_good_as_blurred():
    assert blur(np.full((480, 640, 3), 90, np.uint8)) == 1.0


def test_contrast_and_brightness_do_not_matter():
    rgb = pictures.detail()
    assert blur((rgb * 0.4 + 60).astype(np.uint8)) == pytest.approx(blur(rgb), abs=0.05)


def test_a_copy_is_like_and_another_picture_is_not():
    one, other = (sharpness.sketch(sharpness.grey(pictures.detail(seed=seed))) for seed in (0, 1))
    noisy = np.clip(pictures.detail() + np.random.default_rng(0).normal(0, 5, (480, 640, 3)), 0, 255).astype(
        np.uint8
    )
    assert sharpness.likeness(one, one) == pytest.approx(1, abs=1e-5)
    assert sharpness.likeness(one, sharpness.sketch(sharpness.grey(noisy))) > 0.995
    assert sharpness.likeness(one, other) < 0.5
    assert sharpness.likeness(one, sharpness.sketch(np.full((480, 640), 90, np.float32))) == 0


def test_long_and_tiny_pictures_can_be_measured():
    assert sharpness.grey(np.zeros((10, 4000, 3), np.uint8)).shape == (16, 640)
    assert sharpness.grey(np.zeros((8, 8, 3), np.uint8)).shape == (640, 640)
