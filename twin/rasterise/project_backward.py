"""Sums over a Gaussian's pixels in; gradients of its means, rotation, scales, opacity and colours, and of the
camera's pose, out: the chain rule back through `project`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from twin.rasterise import spherical_harmonics
from twin.rasterise.project import (
    BLUE,
    GREEN,
    HALF,
    INLINE,
    KERNEL,
    ONE,
    OPACITY,
    RED,
    RIGHT,
    TWO,
    ZERO,
    A,
    B,
    C,
    F,
    camera_centre,
    clamp_range,
    rotation,
)
from twin.rasterise.raster import (
    PAIR_COLUMNS,
    SUM_BLUE,
    SUM_DEPTH,
    SUM_GREEN,
    SUM_RED,
    SX,
    SXX,
    SXY,
    SY,
    SYY,
    S,
)

PARTS = 64
"""The pose's gradient is summed over this many runs of Gaussians, whatever the number of threads."""


@njit(**INLINE)
def through_colour(i, grad, direction, inverse_distance, sh, basis, weight, grad_sh):
    """Writes grad_sh[i]; returns d loss / d mean through the viewing direction."""
    count = sh.shape[1]
    x, y, z = direction
    spherical_harmonics.basis(count, x, y, z, basis)
    for k in range(count):
        weight[k] = sh[i, k, 0] * grad[0] + sh[i, k, 1] * grad[1] + sh[i, k, 2] * grad[2]
        for channel in range(3):
            grad_sh[i, k, channel] = basis[k] * grad[channel]
    sx, sy, sz = spherical_harmonics.slope(count, x, y, z, weight)
    along = sx * x + sy * y + sz * z
    return (
        (sx - along * x) * inverse_distance,
        (sy - along * y) * inverse_distance,
        (sz - along * z) * inverse_distance,
    )


@njit(**INLINE)
def through_rotation(i, grad, quats, grad_quats):
    """d loss / d quaternion from d loss / d its rotation matrix (rows), tangent to the sphere."""
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = grad
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse = ONE / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    gw = TWO * (x * (r21 - r12) + y * (r02 - r20) + z * (r10 - r01))
    gx = TWO * (-TWO * x * (r11 + r22) + y * (r01 + r10) + z * (r02 + r20) + w * (r21 - r12))
    gy = TWO * (x * (r01 + r10) - TWO * y * (r00 + r22) + z * (r12 + r21) + w * (r02 - r20))
    gz = TWO * (x * (r02 + r20) + y * (r12 + r21) - TWO * z * (r00 + r11) + w * (r10 - r01))
    along = gw * w + gx * x + gy * y + gz * z
    grad_quats[i, 0], grad_quats[i, 1] = (gw - along * w) * inverse, (gx - along * x) * inverse
    grad_quats[i, 2], grad_quats[i, 3] = (gy - along * y) * inverse, (gz - along * z) * inverse


@njit(**INLINE)
def covariance_gradient(g, total):
    """d loss / d (xx, xy, yy) of the image covariance: −Q V Q with Q its inverse, V the gradient by Q."""
    va, vb, vc = HALF * total[SXX], HALF * total[SXY], HALF * total[SYY]
    p00, p01 = g[A] * va + g[B] * vb, g[A] * vb + g[B] * vc
    p10, p11 = g[B] * va + g[C] * vb, g[B] * vb + g[C] * vc
    return -(p00 * g[A] + p01 * g[B]), -(p00 * g[B] + p01 * g[C]), -(p10 * g[B] + p11 * g[C])


@njit(**INLINE)
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**KERNEL)
def project_backward(
    first, last, means, quats, scales, sh, T, lens, width, height, projected, boxes, pair_starts, sums,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_sh, grad_px, grad_T,
):  # fmt: skip
    """Fills the gradients of the Gaussians of parts first … last, and those parts' rows of `grad_T` (PARTS 12)."""
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    x_least, x_most = clamp_range(fx, cx, F(width))
    y_least, y_most = clamp_range(fy, cy, F(height))
    eye = camera_centre(T)
    row_x, row_y, row_z = (T[0, 0], T[0, 1], T[0, 2]), (T[1, 0], T[1, 1], T[1, 2]), (T[2, 0], T[2, 1], T[2, 2])
    basis, weight, total = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(PAIR_COLUMNS, np.float32)
    count = means.shape[0]
    for part in range(first, last):
        pose = np.zeros((3, 4), np.float64)
        for i in range(count * part // PARTS, count * (part + 1) // PARTS):
            if boxes[i, RIGHT] == 0:
                grad_means[i, :] = ZERO
                grad_quats[i, :] = ZERO
                grad_scales[i, :] = ZERO
                grad_opacities[i] = ZERO
                grad_sh[i, :, :] = ZERO
                grad_px[i] = ZERO
                continue
            g = projected[i]
            total[:] = ZERO
            for pair in range(pair_starts[i], pair_starts[i + 1]):
                for column in range(PAIR_COLUMNS):
                    total[column] += sums[pair, column]
            grad_opacities[i] = -total[S] / g[OPACITY]
            gu, gv = -(g[A] * total[SX] + g[B] * total[SY]), -(g[B] * total[SX] + g[C] * total[SY])
            grad_px[i] = math.sqrt(gu * gu + gv * gv)

            mean = means[i, 0], means[i, 1], means[i, 2]
            dx, dy, dz = mean[0] - eye[0], mean[1] - eye[1], mean[2] - eye[2]
            inverse = ONE / math.sqrt(dx * dx + dy * dy + dz * dz)
            grad_colour = (
                total[SUM_RED] if g[RED] > ZERO else ZERO,
                total[SUM_GREEN] if g[GREEN] > ZERO else ZERO,
                total[SUM_BLUE] if g[BLUE] > ZERO else ZERO,
            )
            direction = dx * inverse, dy * inverse, dz * inverse
            by_direction = through_colour(i, grad_colour, direction, inverse, sh, basis, weight, grad_sh)

            # the forward pass's values again: camera point p, Jacobian, T = J R_cam_world, M = T R diag(s)
            x, y, z = dot(row_x, mean) + T[0, 3], dot(row_y, mean) + T[1, 3], dot(row_z, mean) + T[2, 3]
            iz = ONE / z
            tx, ty = min(x_most, max(x_least, x * iz)), min(y_most, max(y_least, y * iz))
            j00, j02, j11, j12 = fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz
            s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
            r0, r1, r2, _ = rotation(quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
            e = j00 * T[0, 0] + j02 * T[2, 0], j00 * T[0, 1] + j02 * T[2, 1], j00 * T[0, 2] + j02 * T[2, 2]
            f = j11 * T[1, 0] + j12 * T[2, 0], j11 * T[1, 1] + j12 * T[2, 1], j11 * T[1, 2] + j12 * T[2, 2]
            column0, column1, column2 = (r0[0], r1[0], r2[0]), (r0[1], r1[1], r2[1]), (r0[2], r1[2], r2[2])
            a0, a1, a2 = dot(e, column0) * s0, dot(e, column1) * s1, dot(e, column2) * s2
            b0, b1, b2 = dot(f, column0) * s0, dot(f, column1) * s1, dot(f, column2) * s2

            gxx, gxy, gyy = covariance_gradient(g, total)
            ga0, ga1, ga2 = TWO * (gxx * a0 + gxy * b0), TWO * (gxx * a1 + gxy * b1), TWO * (gxx * a2 + gxy * b2)
            gb0, gb1, gb2 = TWO * (gxy * a0 + gyy * b0), TWO * (gxy * a1 + gyy * b1), TWO * (gxy * a2 + gyy * b2)
            # d loss / d (R diag(s)), column by column
            c0 = e[0] * ga0 + f[0] * gb0, e[1] * ga0 + f[1] * gb0, e[2] * ga0 + f[2] * gb0
            c1 = e[0] * ga1 + f[0] * gb1, e[1] * ga1 + f[1] * gb1, e[2] * ga1 + f[2] * gb1
            c2 = e[0] * ga2 + f[0] * gb2, e[1] * ga2 + f[1] * gb2, e[2] * ga2 + f[2] * gb2
            grad_scales[i, 0], grad_scales[i, 1] = dot(c0, column0), dot(c1, column1)
            grad_scales[i, 2] = dot(c2, column2)
            by_rotation = (
                (c0[0] * s0, c1[0] * s1, c2[0] * s2),
                (c0[1] * s0, c1[1] * s1, c2[1] * s2),
                (c0[2] * s0, c1[2] * s1, c2[2] * s2),
            )
            through_rotation(i, by_rotation, quats, grad_quats)
            # d loss / d T's two rows
            ge = (
                ga0 * r0[0] * s0 + ga1 * r0[1] * s1 + ga2 * r0[2] * s2,
                ga0 * r1[0] * s0 + ga1 * r1[1] * s1 + ga2 * r1[2] * s2,
                ga0 * r2[0] * s0 + ga1 * r2[1] * s1 + ga2 * r2[2] * s2,
            )
            gf = (
                gb0 * r0[0] * s0 + gb1 * r0[1] * s1 + gb2 * r0[2] * s2,
                gb0 * r1[0] * s0 + gb1 * r1[1] * s1 + gb2 * r1[2] * s2,
                gb0 * r2[0] * s0 + gb1 * r2[1] * s1 + gb2 * r2[2] * s2,
            )
            gj00, gj02, gj11, gj12 = dot(ge, row_x), dot(ge, row_z), dot(gf, row_y), dot(gf, row_z)

            gx, gy = gu * fx * iz, gv * fy * iz
            gz = total[SUM_DEPTH] - (gu * fx * x + gv * fy * y) * iz * iz - (gj00 * fx + gj11 * fy) * iz * iz
            if x_least < x * iz and x * iz < x_most:
                gx -= gj02 * fx * iz * iz
                gz += gj02 * TWO * fx * x * iz * iz * iz
            else:
                gz += gj02 * fx * tx * iz * iz
            if y_least < y * iz and y * iz < y_most:
                gy -= gj12 * fy * iz * iz
                gz += gj12 * TWO * fy * y * iz * iz * iz
            else:
                gz += gj12 * fy * ty * iz * iz

            for k in range(3):
                grad_means[i, k] = by_direction[k] + row_x[k] * gx + row_y[k] * gy + row_z[k] * gz
                # the camera's centre −Rᵀ t moves the viewing direction too
                pose[0, k] += gx * mean[k] + j00 * ge[k] + T[0, 3] * by_direction[k]
                pose[1, k] += gy * mean[k] + j11 * gf[k] + T[1, 3] * by_direction[k]
                pose[2, k] += gz * mean[k] + j02 * ge[k] + j12 * gf[k] + T[2, 3] * by_direction[k]
            pose[0, 3] += gx + dot(row_x, by_direction)
            pose[1, 3] += gy + dot(row_y, by_direction)
            pose[2, 3] += gz + dot(row_z, by_direction)
        for row in range(3):
            for column in range(4):
                grad_T[part, row * 4 + column] = pose[row, column]
