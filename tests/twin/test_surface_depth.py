"""A translucent crust over haze still shows its surface where it is; thinly covered pixels show none."""

import numpy as np
import pytest

from hardware.camera_model import CameraModel
from twin.splat import Splat
from twin.surface_depth import surface

CAMERA = CameraModel(width_px=160, height_px=120, fx_px=150, fy_px=150, cx_px=80, cy_px=60)
UP = np.tile([1.0, 0, 0, 0], (1, 1))


def layer(z_m: float, opacity: float, wide_m: float, spacing_m: float) -> Splat:
    """Flat Gaussians side by side at a height."""
    x, y = (a.ravel() for a in np.meshgrid(*2 * [np.arange(-0.6, 0.6, spacing_m)]))
    n = len(x)
    return Splat(
        means_m=np.stack([x, y, np.full(n, z_m)], 1),
        quats_wxyz=np.tile(UP, (n, 1)),
        scales_m=np.tile([wide_m, wide_m, 1e-4], (n, 1)),
        opacities=np.full(n, opacity),
        sh=np.zeros((n, 1, 3)),
    )


def translucent_table() -> Splat:
    """As training leaves one: a crust that stops two fifths of the light, the rest stopped 0.1 m below it."""
    return Splat.concatenate([layer(0.0, 0.08, 0.02, 0.02), layer(-0.1, 0.8, 0.04, 0.03)])


def from_side(tilt_rad: float) -> np.ndarray:
    """T_cam_world of a camera 0.5 m from the origin, which it looks at; 0 is from straight above."""
    back = np.array([0.0, -np.sin(tilt_rad), np.cos(tilt_rad)])
    x = np.array([1.0, 0, 0])
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(-back, x), -back], 0)
    T[:3, 3] = -T[:3, :3] @ (0.5 * back)
    return T


def heights_m(depth_m: np.ndarray, T_cam_world: np.ndarray) -> np.ndarray:
    """World z of the middle pixels."""
    v, u = np.mgrid[40:80, 50:110]
    z = depth_m[40:80, 50:110].astype(np.float64)
    assert (z > 0).all()
    x, y = (u + 0.5 - CAMERA.cx_px) / CAMERA.fx_px, (v + 0.5 - CAMERA.cy_px) / CAMERA.fy_px
    points = np.stack([x * z, y * z, z], -1)
    return ((points - T_cam_world[:3, 3]) @ T_cam_world[:3, :3])[..., 2]


@pytest.mark.parametrize("tilt_deg", [0, 30, 60])
def test_the_surface_is_the_crust_also_when_seen_aslant(tilt_deg):
    T_cam_world = from_side(np.radians(tilt_deg))
    seen = surface(translucent_table(), CAMERA, T_cam_world)
    assert np.abs(heights_m(seen.depth_m, T_cam_world)).max() < 1e-3


def test_the_mean_depth_would_lie_behind_it():
    from twin.rasterise.cpu import CpuRasteriser

    T_cam_world = from_side(0.5)
    drawn = CpuRasteriser().render(translucent_table(), CAMERA, T_cam_world)
    assert np.median(heights_m(drawn.depth_m / drawn.alpha, T_cam_world)) < -0.02


def test_where_too_little_is_stopped_there_is_no_depth():
    faint = layer(0.0, 0.01, 0.02, 0.02)
    seen = surface(faint, CAMERA, from_side(0.0))
    assert (seen.depth_m == 0).all()
    assert 0 < seen.alpha.max() < 0.2


def test_picture_and_opacity_are_the_rasterisers():
    from twin.rasterise.cpu import CpuRasteriser

    T_cam_world = from_side(0.3)
    seen, drawn = (f(translucent_table(), CAMERA, T_cam_world) for f in (surface, CpuRasteriser().render))
    np.testing.assert_array_equal(seen.rgb, drawn.rgb)
    np.testing.assert_array_equal(seen.alpha, drawn.alpha)
