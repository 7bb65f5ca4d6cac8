"""Scores of known pictures: hand-worked PSNR, a known exposure, a fit that never sees the half it is scored on."""

import numpy as np
import pytest

from twin.image_quality import apply_exposure, compare, fit_exposure, psnr_db, ssim


def picture(height: int = 48, width: int = 80) -> np.ndarray:
    """Values 0.1 … 0.9 with structure in every part."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + c) * np.cos(y / 7 - c) for c in range(3)]
    return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


def photo_of(rgb: np.ndarray) -> np.ndarray:
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def test_psnr_of_a_constant_error_is_worked_by_hand():
    # error 0.1 everywhere: 10 log10(1 / 0.01) = 20 dB
    assert psnr_db(np.full((4, 4, 3), 0.1, np.float32), np.zeros((4, 4, 3), np.uint8)) == pytest.approx(
        20, abs=1e-4
    )


def test_invalid_pixels_do_not_count():
    render, valid = np.full((16, 16, 3), 0.1, np.float32), np.ones((16, 16), bool)
    render[8:] = 0.9
    valid[8:] = False
    assert psnr_db(render, np.zeros((16, 16, 3), np.uint8), valid) == pytest.approx(20, abs=1e-4)
    rgb = picture()
    spoiled, known = rgb.copy(), np.ones(rgb.shape[:2], bool)
    spoiled[:20], known[:20] = 0, False
    assert ssim(spoiled, photo_of(rgb), known) > 0.99
    assert ssim(spoiled, photo_of(rgb)) < 0.9


def test_a_known_exposure_is_recovered():
    rgb = picture()
    exposure = np.array([[0.8, 0, 0, 0.05], [0, 0.9, 0, 0.02], [0, 0, 0.7, 0.1]], np.float32)
    fitted = fit_exposure(rgb, photo_of(apply_exposure(rgb, exposure)))
    np.testing.assert_allclose(fitted, exposure, atol=2e-3)  # the photo is rounded to 1/255


def test_a_picture_that_tells_nothing_keeps_its_exposure():
    flat = np.full((32, 32, 3), 0.5, np.float32)
    np.testing.assert_array_equal(fit_exposure(flat, photo_of(picture(32, 32))), np.eye(3, 4))
    np.testing.assert_array_equal(fit_exposure(picture(4, 4), photo_of(picture(4, 4))), np.eye(3, 4))


def test_the_fit_removes_an_exposure_and_nothing_else():
    rgb = picture()
    darker = compare("a.jpg", rgb, photo_of(0.7 * rgb))
    assert darker.psnr_db < 20
    assert darker.psnr_fitted_db > 45
    assert darker.gain_rgb == pytest.approx((0.7, 0.7, 0.7), abs=5e-3)
    other = compare("b.jpg", rgb, photo_of(picture()[:, ::-1]))
    assert other.psnr_fitted_db < 25


def test_the_scored_half_does_not_change_the_fit():
    rgb, photo = picture(), photo_of(0.8 * picture())
    spoiled = photo.copy()
    spoiled[:, 40:] = 0
    assert compare("a.jpg", rgb, photo).gain_rgb == compare("a.jpg", rgb, spoiled).gain_rgb


def test_values_beyond_white_are_scored_as_a_screen_shows_them():
    white = np.full((16, 16, 3), 255, np.uint8)
    assert compare("w.jpg", np.full((16, 16, 3), 1.7, np.float32), white).psnr_db == pytest.approx(100)
