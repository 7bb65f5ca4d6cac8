"""The camera: rays undo projection, and OpenCV and COLMAP see the same pixels."""

import cv2
import numpy as np
import pycolmap
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.camera_model import CameraModel

PHONE = {"width_px": 640, "height_px": 480, "fx_px": 500.0, "fy_px": 505.0, "cx_px": 318.0, "cy_px": 243.0}
coefficients = st.floats(-0.1, 0.1)
lenses = st.builds(
    lambda k1, k2, k3, p1, p2: CameraModel(**PHONE, k1=k1, k2=k2, k3=k3, p1=p1 / 20, p2=p2 / 20),
    *[coefficients] * 5,
)
in_view = st.tuples(st.floats(-0.6, 0.6), st.floats(-0.45, 0.45), st.floats(0.1, 20)).map(
    lambda p: np.array([p[0] * p[2], p[1] * p[2], p[2]])
)


@given(lenses, in_view)
def test_a_ray_leads_back_to_the_point(camera, point):
    pixels, _ = camera.project(point)
    np.testing.assert_allclose(camera.rays(pixels) * point[2], point, atol=1e-7 * point[2])


@given(lenses, in_view)
def test_projection_is_opencvs_plus_half_a_pixel(camera, point):
    pixels, _ = camera.project(point)
    theirs, _ = cv2.projectPoints(point[None], np.zeros(3), np.zeros(3), camera.matrix_opencv, camera.distortion)
    np.testing.assert_allclose(pixels, theirs[0, 0] + 0.5, atol=1e-9)


@given(lenses, in_view)
def test_projection_is_colmaps(camera, point):
    camera = camera.but(k3=0.0)
    parameters = [
        camera.fx_px,
        camera.fy_px,
        camera.cx_px,
        camera.cy_px,
        camera.k1,
        camera.k2,
        camera.p1,
        camera.p2,
    ]
    theirs = pycolmap.Camera(model="OPENCV", width=640, height=480, params=parameters)
    np.testing.assert_allclose(camera.project(point)[0], theirs.img_from_cam(point[None])[0], atol=1e-9)


@given(lenses, st.floats(-0.6, 0.6), st.floats(-0.45, 0.45))
def test_the_jacobian_of_the_distortion_is_its_difference_quotient(camera, x, y):
    xy, step = np.array([x, y]), 1e-6
    columns = [(camera.distort(xy + d) - camera.distort(xy - d)) / (2 * step) for d in np.eye(2) * step]
    np.testing.assert_allclose(camera._distort_jacobian(xy), np.stack(columns, -1), atol=1e-8)


def test_projection_by_hand():
    # 500 · 0.5 / 2 + 318 = 443; 505 · −0.2 / 2 + 243 = 192.5.
    camera = CameraModel(**PHONE)
    pixels, inside = camera.project(np.array([[0.5, -0.2, 2.0], [0.5, -0.2, -2.0], [5, 0, 2.0], [0, 0, 0]]))
    np.testing.assert_allclose(pixels[0], [443, 192.5])
    assert inside.tolist() == [True, False, False, False]
    # With k1 = 0.1 at r² = 0.0625 + 0.01: 1.00725 times as far from the centre.
    np.testing.assert_allclose(
        camera.but(k1=0.1).project(np.array([0.5, -0.2, 2.0]))[0], [318 + 125 * 1.00725, 243 - 50.5 * 1.00725]
    )


@given(st.floats(0.1, 3), in_view, lenses)
def test_a_resized_picture_shows_a_point_at_the_same_share_of_it(factor, point, camera):
    resized = camera.scaled(factor)
    share = camera.project(point)[0] / [camera.width_px, camera.height_px]
    np.testing.assert_allclose(
        resized.project(point)[0] / [resized.width_px, resized.height_px], share, rtol=1e-12, atol=1e-12
    )


def test_where_the_lens_has_no_inverse_there_is_no_ray():
    # x + k1 x³ with k1 = −0.5 rises only to x = √(2/3) = 0.816, where it is 0.544: beyond lies nothing.
    camera = CameraModel(**PHONE, k1=-0.5)
    rays = camera.rays(np.array([[318 + 500 * 0.5, 243], [318 + 500 * 0.6, 243]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1, :2]).all()
    assert camera.is_one_to_one(np.array([[0.8, 0.0], [0.83, 0.0]])).tolist() == [True, False]


def test_a_pinhole_is_a_camera_without_distortion():
    camera = CameraModel(**PHONE, k1=0.1, p2=0.01)
    assert not camera.is_pinhole
    assert camera.pinhole() == CameraModel(**PHONE)
    assert camera.pinhole().is_pinhole
    xy = np.array([[0.3, -0.2]])
    np.testing.assert_array_equal(camera.pinhole().undistort(xy), xy)


def test_the_principal_point_is_half_a_pixel_less_in_opencv():
    camera = CameraModel(**PHONE)
    np.testing.assert_array_equal(camera.matrix - camera.matrix_opencv, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


@pytest.mark.parametrize(
    "wrong", [{"fx_px": 0.0}, {"fx_px": float("nan")}, {"width_px": 0}, {"k4": 0.1}, {"cx_px": float("inf")}]
)
def test_impossible_intrinsics_are_refused(wrong):
    with pytest.raises(ValidationError):
        CameraModel(**(PHONE | wrong))


def test_a_camera_survives_json():
    camera = CameraModel(**PHONE, k1=0.123456789012345)
    assert CameraModel.model_validate_json(camera.model_dump_json()) == camera
