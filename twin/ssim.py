"""Render and photo in; the photometric loss (1 − λ)·L1 + λ·(1 − SSIM) and its gradient out, in one go.

SSIM is Wang et al. 2004 with the 11-tap Gaussian window (σ 1.5) and zero padding that 3D Gaussian splatting
trains and reports with. The picture is cut into bands of rows, whose blurred rows stay in the cache; a band is
one task for the thread pool, and its sums have their own place, so the result does not depend on the threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numba import njit
from numpy import ndarray

from twin.threads import run_chunks

RADIUS = 5
SIGMA_PX = 1.5
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)  # Wang et al. 2004, for values in 0 … 1
BAND_ROWS = 16  # at 640 px wide a band's buffers take 270 kB: inside a core's own cache

_weights = [math.exp(-0.5 * (offset / SIGMA_PX) ** 2) for offset in range(-RADIUS, 1)]
_total = 2 * sum(_weights) - _weights[-1]
W5, W4, W3, W2, W1, W0 = (np.float32(weight / _total) for weight in _weights)

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
FAST = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
size = np.uint64  # unsigned indices spare the compiler Python's wrap-around of negative ones


@dataclass(frozen=True, eq=False)
class Photometric:
    """One picture's loss and its gradients."""

    loss: float
    l1: float
    ssim: float
    grad_rgb: Float[ndarray, "H W 3"]
    """d loss / d the render, before the exposure."""
    grad_exposure: Float[ndarray, "3 4"]


def photometric(
    rgb: Float[ndarray, "H W 3"],
    photo: UInt8[ndarray, "H W 3"],
    exposure: Float[ndarray, "3 4"],
    ssim_weight: float,
    valid: Bool[ndarray, "H W"] | None = None,
) -> Photometric:
    """Compares `exposure[:, :3] @ rgb + exposure[:, 3]` with the photo. Means are over all pixels and channels.

    Pixels that are not `valid` count as equal, and get no gradient. `rgb` is float32.
    """
    height, width = photo.shape[:2]
    if rgb.shape != photo.shape:
        raise ValueError(f"render {rgb.shape} and photo {photo.shape} differ in size")
    rgb = np.ascontiguousarray(rgb, np.float32)
    exposure = np.ascontiguousarray(exposure, np.float32)
    mask = np.ones((1, 1), np.bool_) if valid is None else np.ascontiguousarray(valid)
    bands = -(-height // BAND_ROWS)
    planes = np.empty((2, 3, height, width), np.float32)
    slopes = np.empty((3, 3, height, width), np.float32)
    absolute, similarity = np.empty(bands), np.empty((3, bands))
    run_chunks(_planes_of_bands, bands, rgb, photo, exposure, mask, planes, absolute)
    run_chunks(_similarity_of_bands, 3 * bands, planes, bands, slopes, similarity)
    grad_planes = planes[1]  # the photo's values are last read where their gradient is written
    values = 3 * height * width
    weights = np.array([(1 - ssim_weight) / values, -ssim_weight / values], np.float32)
    run_chunks(_gradient_of_bands, 3 * bands, planes, bands, slopes, weights, grad_planes)
    grad_rgb = np.empty_like(rgb)
    exposure_of_bands = np.empty((bands, 3, 4))
    run_chunks(_through_exposure, bands, rgb, exposure, mask, grad_planes, grad_rgb, exposure_of_bands)
    l1, ssim = float(absolute.sum() / values), float(similarity.sum() / values)
    loss = (1 - ssim_weight) * l1 + ssim_weight * (1 - ssim)
    return Photometric(loss, l1, ssim, grad_rgb, exposure_of_bands.sum(0).astype(np.float32))


def ssim_map(a: Float[ndarray, "H W 3"], b: Float[ndarray, "H W 3"]) -> Float[ndarray, "H W 3"]:
    """SSIM at every pixel and channel of two float images in 0 … 1."""
    if a.shape != b.shape:
        raise ValueError(f"images {a.shape} and {b.shape} differ in size")
    height, width = a.shape[:2]
    bands = -(-height // BAND_ROWS)
    planes = np.empty((2, 3, height, width), np.float32)
    planes[0], planes[1] = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    values = np.empty((3, height, width), np.float32)
    run_chunks(_map_of_bands, 3 * bands, planes, bands, values)
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


@njit(**FAST)
def _planes_of_bands(first, last, rgb, photo, exposure, mask, planes, absolute):
    """Interleaved pixels → planes: [0] the exposed render, [1] the photo; |difference| summed per band."""
    height, width = rgb.shape[0], rgb.shape[1]
    masked = mask.shape[0] == height
    scale = np.float32(1 / 255)
    for band in range(first, last):
        total = 0.0
        for y in range(band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)):
            row = ZERO
            for c in range(3):
                e0, e1, e2, e3 = exposure[c, 0], exposure[c, 1], exposure[c, 2], exposure[c, 3]
                for x in range(width):
                    value = e0 * rgb[y, x, 0] + e1 * rgb[y, x, 1] + e2 * rgb[y, x, 2] + e3
                    target = np.float32(photo[y, x, c]) * scale
                    if masked and not mask[y, x]:
                        target = value
                    planes[0, c, y, x] = value
                    planes[1, c, y, x] = target
                    row += abs(value - target)
            total += row
        absolute[band] = total


@njit(**FAST)
def _blur_row(source, target, at, width):
    """Horizontal blur. `source` is a row with RADIUS zeros on either side; writes target[at : at + width]."""
    for x in range(width):
        target[at + x] = (
            W0 * source[x + size(5)]
            + W1 * (source[x + size(4)] + source[x + size(6)])
            + W2 * (source[x + size(3)] + source[x + size(7)])
            + W3 * (source[x + size(2)] + source[x + size(8)])
            + W4 * (source[x + size(1)] + source[x + size(9)])
            + W5 * (source[x] + source[x + size(10)])
        )


@njit(**FAST)
def _blur_column(rows, at, width, target):
    """Vertical blur over the eleven rows of `width` values that begin at rows[at]."""
    stride = width
    for x in range(width):
        i = at + x
        target[x] = (
            W5 * (rows[i] + rows[i + size(10) * stride])
            + W4 * (rows[i + stride] + rows[i + size(9) * stride])
            + W3 * (rows[i + size(2) * stride] + rows[i + size(8) * stride])
            + W2 * (rows[i + size(3) * stride] + rows[i + size(7) * stride])
            + W1 * (rows[i + size(4) * stride] + rows[i + size(6) * stride])
            + W0 * rows[i + size(5) * stride]
        )


@njit(**FAST)
def _products(a, b, which, padded, width):
    """One of the four pictures whose blurs SSIM needs, as a padded row: a, b, a² + b², a·b."""
    for x in range(width):
        if which == 0:
            value = a[x]
        elif which == 1:
            value = b[x]
        elif which == 2:
            value = a[x] * a[x] + b[x] * b[x]
        else:
            value = a[x] * b[x]
        padded[x + size(RADIUS)] = value


@njit(**FAST)
def _blur_products(a, b, y0, y1, rows, padded):
    """Horizontally blurred rows y0 − RADIUS … y1 + RADIUS of the four products; outside the picture zero."""
    height, width = a.shape
    n = size(width)
    for which in range(4):
        for y in range(y0 - RADIUS, y1 + RADIUS):
            at = size((y - y0 + RADIUS) * width)
            if y < 0 or y >= height:
                rows[which, at : at + n] = ZERO
            else:
                _products(a[y], b[y], which, padded, n)
                _blur_row(padded, rows[which], at, n)


@njit(**FAST)
def _similarity_of_bands(first, last, planes, bands, slopes, similarity):
    """Per task (channel, band): the sum of SSIM, and its slopes by blur(a), blur(a² + b²) and blur(a·b)."""
    height, width = planes.shape[2], planes.shape[3]
    n = size(width)
    rows = np.empty((4, (BAND_ROWS + 2 * RADIUS) * width), np.float32)
    blurred = np.empty((4, width), np.float32)
    padded = np.zeros(width + 2 * RADIUS, np.float32)
    for task in range(first, last):
        c, band = task // bands, task % bands
        y0, y1 = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
        _blur_products(planes[0, c], planes[1, c], y0, y1, rows, padded)
        total = 0.0
        for y in range(y0, y1):
            for which in range(4):
                _blur_column(rows[which], size((y - y0) * width), n, blurred[which])
            total += _slopes_of_row(
                blurred[0], blurred[1], blurred[2], blurred[3], slopes[0, c, y], slopes[1, c, y], slopes[2, c, y], n
            )
        similarity[c, band] = total


@njit(**FAST)
def _slopes_of_row(mean_a, mean_b, square, product, by_mean, by_square, by_product, width):
    """SSIM = (2 m n + C1)(2 (p − m n) + C2) / ((m² + n² + C1)(q − m² − n² + C2)), differentiated by m, q, p."""
    total = ZERO
    for x in range(width):
        m, n = mean_a[x], mean_b[x]
        means, squares = m * n, m * m + n * n
        a1, a2 = TWO * means + C1, TWO * (product[x] - means) + C2
        b1, b2 = squares + C1, square[x] - squares + C2
        inverse = ONE / (b1 * b2)
        value = a1 * a2 * inverse
        total += value
        by_product[x] = TWO * a1 * inverse
        by_square[x] = -value / b2
        by_mean[x] = TWO * (n * (a2 - a1) * inverse + m * value * (ONE / b2 - ONE / b1))
    return total


@njit(**FAST)
def _map_of_bands(first, last, planes, bands, values):
    height, width = planes.shape[2], planes.shape[3]
    rows = np.empty((4, (BAND_ROWS + 2 * RADIUS) * width), np.float32)
    blurred = np.empty((4, width), np.float32)
    padded = np.zeros(width + 2 * RADIUS, np.float32)
    for task in range(first, last):
        c, band = task // bands, task % bands
        y0, y1 = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
        _blur_products(planes[0, c], planes[1, c], y0, y1, rows, padded)
        for y in range(y0, y1):
            for which in range(4):
                _blur_column(rows[which], size((y - y0) * width), size(width), blurred[which])
            for x in range(width):
                m, n = blurred[0, x], blurred[1, x]
                squares = m * m + n * n
                above = (TWO * m * n + C1) * (TWO * (blurred[3, x] - m * n) + C2)
                values[c, y, x] = above / ((squares + C1) * (blurred[2, x] - squares + C2))


@njit(**FAST)
def _gradient_of_bands(first, last, planes, bands, slopes, weights, grad):
    """d loss / d the exposed render. The blur is its own transpose: grad = blur(m) + 2 a blur(q) + b blur(p)."""
    height, width = planes.shape[2], planes.shape[3]
    n = size(width)
    rows = np.empty((3, (BAND_ROWS + 2 * RADIUS) * width), np.float32)
    blurred = np.empty((3, width), np.float32)
    padded = np.zeros(width + 2 * RADIUS, np.float32)
    for task in range(first, last):
        c, band = task // bands, task % bands
        y0, y1 = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
        for which in range(3):
            for y in range(y0 - RADIUS, y1 + RADIUS):
                at = size((y - y0 + RADIUS) * width)
                if y < 0 or y >= height:
                    rows[which, at : at + n] = ZERO
                else:
                    padded[RADIUS : RADIUS + width] = slopes[which, c, y]
                    _blur_row(padded, rows[which], at, n)
        for y in range(y0, y1):
            for which in range(3):
                _blur_column(rows[which], size((y - y0) * width), n, blurred[which])
            for x in range(width):
                a, b = planes[0, c, y, x], planes[1, c, y, x]
                sign = ONE if a > b else (-ONE if a < b else ZERO)
                by_ssim = blurred[0, x] + TWO * a * blurred[1, x] + b * blurred[2, x]
                grad[c, y, x] = weights[0] * sign + weights[1] * by_ssim


@njit(**FAST)
def _through_exposure(first, last, rgb, exposure, mask, grad, grad_rgb, exposure_of_bands):
    """Chain rule through value = E[:, :3] rgb + E[:, 3]; the twelve sums for E per band."""
    height, width = rgb.shape[0], rgb.shape[1]
    masked = mask.shape[0] == height
    for band in range(first, last):
        sums = np.zeros((3, 4), np.float64)
        for y in range(band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)):
            if masked:
                for x in range(width):
                    if not mask[y, x]:
                        grad[0, y, x] = grad[1, y, x] = grad[2, y, x] = ZERO
            for j in range(3):
                e0, e1, e2 = exposure[0, j], exposure[1, j], exposure[2, j]
                for x in range(width):
                    grad_rgb[y, x, j] = e0 * grad[0, y, x] + e1 * grad[1, y, x] + e2 * grad[2, y, x]
            for c in range(3):
                s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
                for x in range(width):
                    g = grad[c, y, x]
                    s0 += g * rgb[y, x, 0]
                    s1 += g * rgb[y, x, 1]
                    s2 += g * rgb[y, x, 2]
                    s3 += g
                sums[c, 0] += s0
                sums[c, 1] += s1
                sums[c, 2] += s2
                sums[c, 3] += s3
        exposure_of_bands[band] = sums
