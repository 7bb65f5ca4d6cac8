"""Photos reach training undistorted, at every size, and belong to their cameras."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin import photos
from twin.posed_images import PosedImages, View

PINHOLE = CameraModel(width_px=160, height_px=120, fx_px=150.0, fy_px=152.0, cx_px=79.0, cy_px=61.5)
BARREL = PINHOLE.but(k1=-0.2, k2=0.05, p1=0.003, p2=-0.002)
ROWS = tuple(tuple(map(float, row)) for row in np.eye(4))


def coordinates(camera: CameraModel) -> np.ndarray:
    """A picture whose red is the column of its pixel, and whose green is the row."""
    x, y = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    return np.stack([x, y, np.full_like(x, 77)], -1).astype(np.uint8)


def one(folder: Path, camera: CameraModel, rgb: np.ndarray, long_side_px: int = 160) -> photos.Photo:
    cv2.imwrite(str(folder / "a.png"), rgb[..., ::-1])
    return photos.load(folder, posed(camera), posed(camera).views, long_side_px)[0]


def posed(model: CameraModel, **view) -> PosedImages:
    views = (View(**({"image": "a.png", "camera": "phone", "T_world_cam": ROWS} | view)),)
    return PosedImages(world="sfm", metric=False, cameras={"phone": model}, views=views)


def test_a_photo_of_a_pinhole_at_its_own_size_is_not_touched(tmp_path: Path):
    rgb = coordinates(PINHOLE)
    finest = one(tmp_path, PINHOLE, rgb).levels[-1]
    np.testing.assert_array_equal(finest.rgb, rgb)
    assert finest.camera == PINHOLE
    assert finest.valid is None


def test_an_undistorted_pixel_shows_what_the_lens_saw_there(tmp_path: Path):
    finest = one(tmp_path, BARREL, coordinates(BARREL)).levels[-1]
    assert finest.camera == PINHOLE
    centres = np.stack(np.meshgrid(np.arange(160), np.arange(120)), -1) + 0.5
    seen_px, inside = BARREL.project(finest.camera.rays(centres))
    inner = inside & (np.abs(seen_px - [80, 60]) < [78, 58]).all(-1)
    assert inner.mean() > 0.85
    # Red and green are the pixel's index, so its centre is half a pixel further; whole grey values.
    error = finest.rgb[..., :2][inner] + 0.5 - seen_px[inner]
    assert np.abs(error).max() <= 0.6


def test_pixels_that_the_photo_has_not_seen_are_masked(tmp_path: Path):
    pincushion = PINHOLE.but(k1=0.3)
    levels = one(tmp_path, pincushion, coordinates(pincushion)).levels
    for level in levels:
        assert level.valid is not None
        assert not level.valid[0, 0]
        assert level.valid[level.camera.height_px // 2, level.camera.width_px // 2]
        assert level.valid.shape == level.rgb.shape[:2]
    centres = np.stack(np.meshgrid(np.arange(160), np.arange(120)), -1) + 0.5
    _, inside = pincushion.project(levels[-1].camera.rays(centres))
    assert (levels[-1].valid & ~inside).sum() == 0


def test_where_the_lens_model_folds_back_nothing_is_seen(tmp_path: Path):
    wide = CameraModel(width_px=160, height_px=120, fx_px=70.0, fy_px=70.0, cx_px=80.0, cy_px=60.0, k1=-0.3)
    finest = one(tmp_path, wide, coordinates(wide)).levels[-1]
    # x − 0.3 x³ rises up to x = 1.054: 80 + 70 · 1.054 = 153.8 along the middle row.
    assert finest.valid[60, 152]
    assert not finest.valid[60, 155:].any()


def test_each_level_is_half_the_next_and_as_bright(tmp_path: Path):
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    rgb = cv2.GaussianBlur(rgb, (9, 9), 3)
    coarse, middle, fine = one(tmp_path, PINHOLE, rgb).levels
    assert coarse.rgb.shape == (30, 40, 3)
    assert middle.rgb.shape == (60, 80, 3)
    np.testing.assert_allclose(fine.rgb.reshape(60, 2, 80, 2, 3).mean((1, 3)), middle.rgb, atol=0.51)
    np.testing.assert_allclose(fine.rgb.reshape(30, 4, 40, 4, 3).mean((1, 3)), coarse.rgb, atol=0.51)
    for level in (coarse, middle):
        point = np.array([0.1, -0.2, 1.0])
        share = level.camera.project(point)[0] / [level.camera.width_px, level.camera.height_px]
        np.testing.assert_allclose(share, PINHOLE.project(point)[0] / [160, 120])


def test_large_photos_are_shrunk_and_small_ones_are_not_blown_up(tmp_path: Path):
    assert one(tmp_path, PINHOLE, coordinates(PINHOLE), 80).levels[-1].rgb.shape == (60, 80, 3)
    assert one(tmp_path, PINHOLE, coordinates(PINHOLE), 999).levels[-1].rgb.shape == (120, 160, 3)


def test_the_order_is_that_of_the_views(tmp_path: Path):
    names = [f"{number}.png" for number in (3, 1, 2)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.full((120, 160, 3), int(name[0]) * 20, np.uint8))
    views = tuple(posed(PINHOLE, image=name).views[0] for name in names)
    loaded = photos.load(tmp_path, posed(PINHOLE).but(views=views), views, 160)
    assert [photo.name for photo in loaded] == names
    assert [int(photo.levels[0].rgb[0, 0, 0]) for photo in loaded] == [60, 20, 40]


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"image": "b.png"}, r"there is no photo .*b\.png"),
        ({"image": "text.png"}, r"text\.png is not a readable image"),
        ({"camera": "tablet"}, "no camera 'tablet'; have: phone"),
        ({"T_world_cam": ROWS[:3]}, r"a\.png has a pose that is not a finite 4×4"),
        ({"image": "small.png"}, "small.png is 80 × 60 pixels, but its camera 160 × 120"),
    ],
)
def test_what_does_not_belong_together_is_named(tmp_path: Path, view: dict, message: str):
    cv2.imwrite(str(tmp_path / "a.png"), coordinates(PINHOLE))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(BadInput, match=message):
        photos.load(tmp_path, posed(PINHOLE), posed(PINHOLE, **view).views, 160)
