"""Gaussians and a camera in; for each visible Gaussian its ellipse on the image, colour and pixel box out.

EWA splatting: the covariance goes through the perspective's Jacobian at the mean (whose direction is clamped to
1.15 of the half picture beyond its edge, as in gsplat), plus a low-pass of 0.3 px².
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from twin.rasterise import spherical_harmonics

F = np.float32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)

X, Y, A, B, C, OPACITY, RED, GREEN, BLUE, DEPTH, REACH = range(11)
"""Columns of a projected Gaussian: centre (px), inverse covariance [[A, B], [B, C]] (1/px²), opacity, colour, z of
the mean (m), and the largest ½ dᵀ Σ⁻¹ d at which its alpha still counts."""
LEFT, RIGHT, TOP, BOTTOM = range(4)
"""Columns of its pixel box; RIGHT and BOTTOM are exclusive, and RIGHT = 0 says not visible."""

NEAR_M = F(0.01)
LOW_PASS_PX2 = F(0.3)
CLAMP_SHARE = F(0.15)
ALPHA_LEAST = F(1 / 255)
REACH_MARGIN = F(1e-3)
ROUND_UP = F(0.999)
"""int(x + this) is ⌈x⌉ to a thousandth; `math.ceil` would be a call that empties the vector registers."""
FARTHEST_SIGMA = F(3.4)  # √(2 ln 255) = 3.33: where an opaque Gaussian's alpha is 1/255

KERNEL = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
INLINE = {"fastmath": True, "error_model": "numpy", "boundscheck": False}


@njit(**INLINE)
def rotation(w, x, y, z):
    """Rows of the rotation matrix of a quaternion of any length, and that length's inverse."""
    inverse = ONE / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    row0 = ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y)
    row1 = TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x)
    row2 = TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y)
    return row0, row1, row2, inverse


@njit(**INLINE)
def clamp_range(focal, centre, size):
    """The range of x/z (or y/z) within which the Jacobian is taken."""
    margin = CLAMP_SHARE * size / focal
    return -(centre / focal + margin), (size - centre) / focal + margin


@njit(**INLINE)
def camera_centre(T):
    """In the world, from the rows [R | t] of T_cam_world."""
    return (
        -(T[0, 0] * T[0, 3] + T[1, 0] * T[1, 3] + T[2, 0] * T[2, 3]),
        -(T[0, 1] * T[0, 3] + T[1, 1] * T[1, 3] + T[2, 1] * T[2, 3]),
        -(T[0, 2] * T[0, 3] + T[1, 2] * T[1, 3] + T[2, 2] * T[2, 3]),
    )


@njit(**INLINE)
def colour(direction, sh, basis):
    """max(0, 0.5 + Σ basis · sh) along a unit direction; leaves the basis in `basis`."""
    count = sh.shape[0]
    spherical_harmonics.basis(count, direction[0], direction[1], direction[2], basis)
    red, green, blue = HALF, HALF, HALF
    for k in range(count):
        red += basis[k] * sh[k, 0]
        green += basis[k] * sh[k, 1]
        blue += basis[k] * sh[k, 2]
    return max(ZERO, red), max(ZERO, green), max(ZERO, blue)


@njit(**KERNEL)
def project(first, last, means, quats, scales, opacities, sh, T, lens, width, height, projected, box):
    """Fills rows first … last of `projected` and `box`. `lens`: fx, fy, cx, cy."""
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    x_least, x_most = clamp_range(fx, cx, F(width))
    y_least, y_most = clamp_range(fy, cy, F(height))
    eye = camera_centre(T)
    basis = np.empty(16, np.float32)
    for i in range(first, last):
        box[i, RIGHT] = 0
        mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
        z = T[2, 0] * mx + T[2, 1] * my + T[2, 2] * mz + T[2, 3]
        opacity = opacities[i]
        if not (z > NEAR_M and opacity >= ALPHA_LEAST):
            continue
        x = T[0, 0] * mx + T[0, 1] * my + T[0, 2] * mz + T[0, 3]
        y = T[1, 0] * mx + T[1, 1] * my + T[1, 2] * mz + T[1, 3]
        iz = ONE / z
        u, v = fx * x * iz + cx, fy * y * iz + cy
        tx, ty = min(x_most, max(x_least, x * iz)), min(y_most, max(y_least, y * iz))
        j00, j02, j11, j12 = fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        stretch = math.sqrt(max(j00 * j00 + j02 * j02, j11 * j11 + j12 * j12))
        bound = FARTHEST_SIGMA * (max(s0, max(s1, s2)) * stretch + F(0.55))
        if u + bound < ZERO or u - bound > width or v + bound < ZERO or v - bound > height:
            continue
        r0, r1, r2, _ = rotation(quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
        # rows of Jacobian · R_cam_world, then of Jacobian · R_cam_world · R_gaussian · diag(scales)
        e0, e1, e2 = j00 * T[0, 0] + j02 * T[2, 0], j00 * T[0, 1] + j02 * T[2, 1], j00 * T[0, 2] + j02 * T[2, 2]
        f0, f1, f2 = j11 * T[1, 0] + j12 * T[2, 0], j11 * T[1, 1] + j12 * T[2, 1], j11 * T[1, 2] + j12 * T[2, 2]
        a0 = (e0 * r0[0] + e1 * r1[0] + e2 * r2[0]) * s0
        a1 = (e0 * r0[1] + e1 * r1[1] + e2 * r2[1]) * s1
        a2 = (e0 * r0[2] + e1 * r1[2] + e2 * r2[2]) * s2
        b0 = (f0 * r0[0] + f1 * r1[0] + f2 * r2[0]) * s0
        b1 = (f0 * r0[1] + f1 * r1[1] + f2 * r2[1]) * s1
        b2 = (f0 * r0[2] + f1 * r1[2] + f2 * r2[2]) * s2
        xx = a0 * a0 + a1 * a1 + a2 * a2 + LOW_PASS_PX2
        xy = a0 * b0 + a1 * b1 + a2 * b2
        yy = b0 * b0 + b1 * b1 + b2 * b2 + LOW_PASS_PX2
        determinant = xx * yy - xy * xy
        if not determinant > ZERO:
            continue
        reach = F(math.log(opacity * F(255)))
        # the pixel centres that the ellipse of alpha = 1/255 can hold
        wide, high = math.sqrt(TWO * reach * xx) + REACH_MARGIN, math.sqrt(TWO * reach * yy) + REACH_MARGIN
        left = int(max(ZERO, u - wide - HALF) + ROUND_UP)
        right = int(min(F(width), u + wide + HALF))
        top = int(max(ZERO, v - high - HALF) + ROUND_UP)
        bottom = int(min(F(height), v + high + HALF))
        if right <= left or bottom <= top:
            continue
        box[i, LEFT], box[i, RIGHT], box[i, TOP], box[i, BOTTOM] = left, right, top, bottom
        dx, dy, dz = mx - eye[0], my - eye[1], mz - eye[2]
        inverse = ONE / math.sqrt(dx * dx + dy * dy + dz * dz)
        red, green, blue = colour((dx * inverse, dy * inverse, dz * inverse), sh[i], basis)
        inverse = ONE / determinant
        projected[i, X], projected[i, Y] = u, v
        projected[i, A], projected[i, B], projected[i, C] = yy * inverse, -xy * inverse, xx * inverse
        projected[i, OPACITY], projected[i, DEPTH], projected[i, REACH] = opacity, z, reach + REACH_MARGIN
        projected[i, RED], projected[i, GREEN], projected[i, BLUE] = red, green, blue
