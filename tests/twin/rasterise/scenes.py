"""Small scenes that the rasterisers are compared on."""

import numpy as np

from hardware.camera_model import CameraModel
from hardware.spatial import Pose
from twin.splat import Splat

CAMERA = CameraModel(width_px=43, height_px=37, fx_px=40.0, fy_px=44.0, cx_px=20.3, cy_px=19.1)
LARGER = CameraModel(width_px=83, height_px=70, fx_px=75.0, fy_px=75.0, cx_px=41.0, cy_px=36.0)


def pose(seed: int = 0) -> np.ndarray:
    """T_cam_world of a camera that looks at the origin from 3 m, a little turned."""
    twist = np.random.default_rng(seed).normal(0, 0.1, 6) + np.array([0, 0, 3.0, 0, 0, 0])
    return Pose.exp("cam", "world", twist).matrix


def random_splat(count: int, seed: int = 0, sh_degree: int = 3, scale_m: float = 0.12) -> Splat:
    rng = np.random.default_rng(seed)
    sh = (
        rng.normal(0, 0.3, (count, (sh_degree + 1) ** 2, 3))
        * np.array([1.5] + [0.5] * ((sh_degree + 1) ** 2 - 1))[:, None]
    )
    return Splat(
        means_m=rng.uniform(-1, 1, (count, 3)),
        quats_wxyz=rng.normal(0, 1, (count, 4)) * rng.uniform(0.5, 2, (count, 1)),
        scales_m=scale_m * np.exp(rng.normal(0, 0.6, (count, 3))),
        opacities=rng.uniform(0.02, 0.99, count),
        sh=sh,
    )


def awkward_splat() -> Splat:
    """Behind the camera, at its centre, off the picture, needles, discs, a giant, points, invisible, opaque."""
    rows = [  # mean, scales, opacity
        ([0, 0, -5.0], [0.1, 0.1, 0.1], 0.9),
        ([0, 0, -3.0], [0.1, 0.1, 0.1], 0.9),
        ([0, 0, -2.995], [0.1, 0.1, 0.1], 0.9),
        ([30, 0, 0], [0.1, 0.1, 0.1], 0.9),
        ([1.9, 0, 0], [0.5, 0.1, 0.1], 0.9),
        ([0.1, 0.2, 0], [1.0, 1e-4, 1e-4], 0.8),
        ([-0.3, 0.1, 0.4], [0.4, 0.4, 1e-6], 0.7),
        ([0, 0, 2], [8.0, 8.0, 8.0], 0.4),
        ([0.2, -0.3, 0.1], [1e-7, 1e-7, 1e-7], 0.95),
        ([0.3, 0.3, 0.3], [0.2, 0.2, 0.2], 0.0),
        ([0.3, -0.3, 0.3], [0.2, 0.2, 0.2], 1 / 255),
        ([-0.4, -0.3, 0.2], [0.2, 0.3, 0.2], 1.0),
        ([-0.4, -0.3, 0.3], [0.2, 0.3, 0.2], 1.0),
        ([-0.4, -0.3, 0.4], [0.2, 0.3, 0.2], 1.0),
    ]
    rng = np.random.default_rng(5)
    return Splat(
        means_m=np.array([mean for mean, _, _ in rows]),
        quats_wxyz=rng.normal(0, 1, (len(rows), 4)),
        scales_m=np.array([scales for _, scales, _ in rows]),
        opacities=np.array([opacity for _, _, opacity in rows]),
        sh=rng.normal(0, 0.6, (len(rows), 4, 3)),
    )
