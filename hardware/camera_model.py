"""A camera's intrinsics: pixels from points and rays from pixels. Optical frame: z forward, x right, y down.

Pixel (0, 0) is the *corner* of the first pixel, whose centre is (0.5, 0.5), as in COLMAP and 3D Gaussian
splatting. OpenCV puts (0, 0) at that centre: `matrix_opencv` shifts the principal point by half a pixel.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import ConfigDict, PositiveFloat, PositiveInt

from hardware.config import Config


class CameraModel(Config):
    """Pinhole with Brown-Conrady distortion (k1 k2 p1 p2 k3), OpenCV's model and COLMAP's `OPENCV` (k3 = 0)."""

    model_config = ConfigDict(allow_inf_nan=False)

    width_px: PositiveInt
    height_px: PositiveInt
    fx_px: PositiveFloat
    fy_px: PositiveFloat
    cx_px: float
    cy_px: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    @property
    def distortion(self) -> Float[ndarray, 5]:
        """In OpenCV's order: k1 k2 p1 p2 k3."""
        return np.array([self.k1, self.k2, self.p1, self.p2, self.k3])

    @property
    def matrix(self) -> Float[ndarray, "3 3"]:
        return np.array([[self.fx_px, 0, self.cx_px], [0, self.fy_px, self.cy_px], [0, 0, 1.0]])

    @property
    def matrix_opencv(self) -> Float[ndarray, "3 3"]:
        return self.matrix - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])

    @property
    def is_pinhole(self) -> bool:
        return not self.distortion.any()

    def pinhole(self) -> CameraModel:
        """The same camera without distortion."""
        return self.but(k1=0.0, k2=0.0, p1=0.0, p2=0.0, k3=0.0)

    def scaled(self, factor: float) -> CameraModel:
        """The camera of the same picture resized by `factor` (sizes are rounded, focal lengths follow them)."""
        width, height = round(self.width_px * factor), round(self.height_px * factor)
        sx, sy = width / self.width_px, height / self.height_px
        return self.but(
            width_px=width,
            height_px=height,
            fx_px=self.fx_px * sx,
            fy_px=self.fy_px * sy,
            cx_px=self.cx_px * sx,
            cy_px=self.cy_px * sy,
        )

    def distort(self, xy: Float[ndarray, "*batch 2"]) -> Float[ndarray, "*batch 2"]:
        """Ideal normalised image coordinates (x/z, y/z) → distorted ones."""
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        return np.stack(
            [
                x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
                y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y,
            ],
            -1,
        )

    def _distort_jacobian(self, xy: Float[ndarray, "*batch 2"]) -> Float[ndarray, "*batch 2 2"]:
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        slope = 2 * (self.k1 + r2 * (2 * self.k2 + 3 * r2 * self.k3))
        cross = x * y * slope + 2 * self.p1 * x + 2 * self.p2 * y
        xx = radial + x * x * slope + 2 * self.p1 * y + 6 * self.p2 * x
        yy = radial + y * y * slope + 6 * self.p1 * y + 2 * self.p2 * x
        return np.stack([np.stack([xx, cross], -1), np.stack([cross, yy], -1)], -2)

    def is_one_to_one(self, xy: Float[ndarray, "*batch 2"]) -> Bool[ndarray, "*batch"]:
        """Whether the distortion still grows outwards at these ideal coordinates; farther out it folds back."""
        return np.asarray(np.linalg.det(self._distort_jacobian(xy)) > 0)

    def undistort(self, xy: Float[ndarray, "*batch 2"]) -> Float[ndarray, "*batch 2"]:
        """Inverse of `distort` by Newton steps; NaN where there is none (outside the model's valid field)."""
        if self.is_pinhole:
            return xy
        ideal = xy.astype(np.float64)
        with np.errstate(all="ignore"):
            for _ in range(15):
                error = self.distort(ideal) - xy
                jacobian = self._distort_jacobian(ideal)
                determinant = np.linalg.det(jacobian)
                safe = np.abs(determinant) > 1e-9
                jacobian = np.where(safe[..., None, None], jacobian, np.eye(2))
                ideal = ideal - np.linalg.solve(jacobian, error[..., None])[..., 0]
            converged = np.abs(self.distort(ideal) - xy).max(axis=-1) < 1e-9
            converged &= self.is_one_to_one(ideal)
        return np.where(converged[..., None], ideal, np.nan)

    def project(
        self, points_cam_m: Float[ndarray, "*batch 3"]
    ) -> tuple[Float[ndarray, "*batch 2"], Bool[ndarray, "*batch"]]:
        """Points in the optical frame → (pixels, which are in front and inside the picture)."""
        z = points_cam_m[..., 2]
        in_front = z > 1e-9
        xy = points_cam_m[..., :2] / np.where(in_front, z, 1.0)[..., None]
        pixels = self.distort(xy) * [self.fx_px, self.fy_px] + [self.cx_px, self.cy_px]
        inside = (pixels >= 0).all(-1) & (pixels < [self.width_px, self.height_px]).all(-1)
        return pixels, np.asarray(in_front & inside)

    def rays(self, pixels: Float[ndarray, "*batch 2"]) -> Float[ndarray, "*batch 3"]:
        """Pixels → directions in the optical frame with z = 1; a point is `ray * depth_m`."""
        xy = self.undistort((pixels - [self.cx_px, self.cy_px]) / [self.fx_px, self.fy_px])
        return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)
