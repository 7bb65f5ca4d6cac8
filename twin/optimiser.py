"""Adam over all Gaussians in one fused pass: gradients of a `Splat` in, the next `Splat` out.

A Gaussian is one row: mean, quaternion, log scales, opacity logit, spherical harmonics. One kernel takes a row
through the chain rule, the regularisers, Adam (Kingma & Ba 2015) and 3DGS-MCMC's noise
(https://arxiv.org/abs/2404.09591, section 4.1); a second writes the linear values that the rasteriser reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from numpy import ndarray

from twin.rasterise.protocol import SplatGradient
from twin.splat import Splat
from twin.threads import run_chunks

MEAN, QUAT, SCALE, OPACITY, SH = 0, 3, 7, 10, 11
"""First column of each part of a row."""
BETA1, BETA2 = 0.9, 0.999
EPSILON = np.float32(1e-15)  # as 3DGS: its gradients are means over pixels, and far below Adam's usual 1e-8
LOGIT_EDGE = 1e-6
NOISE_BELOW_OPACITY = np.float32(0.1)
"""Above, the noise of 3DGS-MCMC is under 1e-4 of its full size."""
FAST = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)


@dataclass(frozen=True)
class StepSizes:
    """How one step changes each part of a row."""

    mean_m: float
    quat: float
    log_scale: float
    opacity_logit: float
    sh_base: float
    sh_higher: float
    opacity_pull: float = 0.0
    """d loss / d opacity of the regulariser."""
    scale_pull: float = 0.0
    """d loss / d scale, per metre."""
    noise_per_m: float = 0.0
    """Factor on covariance · N(0, 1)."""


class Parameters:
    """The rows of N Gaussians with Adam's moments. `splat` is what they mean now, and is rewritten by `step`."""

    def __init__(
        self, rows: Float[ndarray, "N D"], first: Float[ndarray, "N D"], second: Float[ndarray, "N D"]
    ) -> None:
        self.rows, self.first, self.second = (np.ascontiguousarray(a, np.float32) for a in (rows, first, second))
        n, coefficients = len(rows), (rows.shape[1] - SH) // 3
        shapes = {"means_m": (n, 3), "quats_wxyz": (n, 4), "scales_m": (n, 3), "opacities": (n,)}
        self.splat = Splat(
            **{name: np.empty(shape, np.float32) for name, shape in shapes.items()},
            sh=np.empty((n, coefficients, 3), np.float32),
        )
        self._activate()

    @classmethod
    def of(cls, splat: Splat) -> Parameters:
        rows = rows_of_splat(splat)
        return cls(rows, np.zeros_like(rows), np.zeros_like(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def step(self, gradient: SplatGradient, sizes: StepSizes, count: int, seed: int) -> None:
        """The `count`-th step (from 1). Spherical harmonics of Gaussians that were not seen stay as they are."""
        n, splat = len(self), self.splat
        scalars = [1 / (1 - BETA2**count), sizes.opacity_pull, sizes.scale_pull, sizes.noise_per_m]
        run_chunks(
            _step_rows, n, self.rows, self.first, self.second,
            gradient.means_m, gradient.quats_wxyz, gradient.scales_m, gradient.opacities,
            gradient.sh.reshape(n, -1), gradient.means_px, splat.scales_m, splat.opacities,
            self._rate_of_column(sizes) / np.float32(1 - BETA1**count), np.array(scalars, np.float32), np.uint64(seed),
        )  # fmt: skip
        self._activate()

    def _rate_of_column(self, sizes: StepSizes) -> Float[ndarray, " D"]:
        rates = np.empty(self.rows.shape[1], np.float32)
        rates[MEAN:QUAT], rates[QUAT:SCALE] = sizes.mean_m, sizes.quat
        rates[SCALE:OPACITY], rates[OPACITY] = sizes.log_scale, sizes.opacity_logit
        rates[SH : SH + 3], rates[SH + 3 :] = sizes.sh_base, sizes.sh_higher
        return rates

    def _activate(self) -> None:
        n, splat = len(self), self.splat
        run_chunks(
            _activate_rows, n, self.rows,
            splat.means_m, splat.quats_wxyz, splat.scales_m, splat.opacities, splat.sh.reshape(n, -1),
        )  # fmt: skip

    def rearranged(self, sources: Int[ndarray, " M"], rows: Float[ndarray, "M D"], fresh: ndarray) -> Parameters:
        """Row i comes from `sources[i]` and has the values `rows[i]`; where `fresh`, Adam starts anew."""
        first, second = self.first[sources], self.second[sources]
        first[fresh], second[fresh] = 0, 0
        return Parameters(rows, first, second)

    def with_sh_degree(self, degree: int) -> Parameters:
        """The same Gaussians with higher harmonics, which begin at 0."""
        more = SH + 3 * (degree + 1) ** 2 - self.rows.shape[1]
        return Parameters(*(np.pad(a, ((0, 0), (0, more))) for a in (self.rows, self.first, self.second)))


def rows_of_splat(splat: Splat) -> Float[ndarray, "N D"]:
    opacities = np.clip(splat.opacities.astype(np.float64), LOGIT_EDGE, 1 - LOGIT_EDGE)
    logits = np.log(opacities / (1 - opacities))[:, None]
    quats = splat.quats_wxyz / np.linalg.norm(splat.quats_wxyz, axis=1, keepdims=True)
    sh = splat.sh.reshape(len(splat), 3 * splat.sh.shape[1])
    return np.concatenate([splat.means_m, quats, np.log(splat.scales_m), logits, sh], 1).astype(np.float32)


@njit(**FAST)
def _adam(row, first, second, grad, of_column, start, stop, correct):
    b1, b2 = np.float32(BETA1), np.float32(BETA2)
    for j in range(start, stop):
        g = grad[j]
        m = b1 * first[j] + (ONE - b1) * g
        v = b2 * second[j] + (ONE - b2) * g * g
        first[j], second[j] = m, v
        row[j] -= of_column[j] * m / (math.sqrt(v * correct) + EPSILON)


@njit(**FAST)
def _step_rows(
    start, stop, rows, first, second, g_means, g_quats, g_scales, g_opacities, g_sh, g_px, scales, opacities,
    of_column, scalars, seed,
):  # fmt: skip
    correct, opacity_pull, scale_pull, noise = scalars[0], scalars[1], scalars[2], scalars[3]
    columns = rows.shape[1]
    grad = np.empty(columns, np.float32)
    for i in range(start, stop):
        row, opacity = rows[i], opacities[i]
        for j in range(3):
            grad[MEAN + j] = g_means[i, j]
            grad[SCALE + j] = (g_scales[i, j] + scale_pull) * scales[i, j]
        for j in range(4):
            grad[QUAT + j] = g_quats[i, j]
        grad[OPACITY] = (g_opacities[i] + opacity_pull) * opacity * (ONE - opacity)
        _adam(row, first[i], second[i], grad, of_column, 0, SH, correct)
        if g_px[i] > ZERO:
            for j in range(SH, columns):
                grad[j] = g_sh[i, j - SH]
            _adam(row, first[i], second[i], grad, of_column, SH, columns, correct)
        length = ZERO
        for j in range(QUAT, SCALE):
            length += row[j] * row[j]
        shorten = ONE / math.sqrt(length)
        for j in range(QUAT, SCALE):
            row[j] *= shorten
        if noise > ZERO and opacity < NOISE_BELOW_OPACITY:
            gate = noise / (ONE + math.exp(np.float32(100) * (opacity - np.float32(0.005))))
            _jitter(row, scales[i], gate, seed, i)


@njit(**FAST)
def _activate_rows(start, stop, rows, means, quats, scales, opacities, sh):
    for i in range(start, stop):
        row = rows[i]
        for j in range(3):
            means[i, j] = row[MEAN + j]
            scales[i, j] = math.exp(row[SCALE + j])
        for j in range(4):
            quats[i, j] = row[QUAT + j]
        opacities[i] = ONE / (ONE + math.exp(-row[OPACITY]))
        for j in range(rows.shape[1] - SH):
            sh[i, j] = row[SH + j]


@njit(**FAST)
def _jitter(row, scale, gate, seed, i):
    """mean += gate · R diag(scale²) Rᵀ · N(0, 1)."""
    w, x, y, z = row[QUAT], row[QUAT + 1], row[QUAT + 2], row[QUAT + 3]
    r00, r01, r02 = ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y)
    r10, r11, r12 = TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x)
    r20, r21, r22 = TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y)
    n0, n1 = _normals(seed, np.uint64(i) * np.uint64(2))
    n2, _ = _normals(seed, np.uint64(i) * np.uint64(2) + np.uint64(1))
    a = gate * scale[0] * scale[0] * (r00 * n0 + r10 * n1 + r20 * n2)
    b = gate * scale[1] * scale[1] * (r01 * n0 + r11 * n1 + r21 * n2)
    c = gate * scale[2] * scale[2] * (r02 * n0 + r12 * n1 + r22 * n2)
    row[MEAN] += r00 * a + r01 * b + r02 * c
    row[MEAN + 1] += r10 * a + r11 * b + r12 * c
    row[MEAN + 2] += r20 * a + r21 * b + r22 * c


@njit(**FAST)
def _mixed(value):
    """SplitMix64's finaliser (Steele et al. 2014): a random number for each counter, whoever asks first."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(**FAST)
def _normals(seed, counter):
    """Two independent N(0, 1) by Box and Muller."""
    bits = _mixed(seed * np.uint64(0x9E3779B97F4A7C15) + _mixed(counter + np.uint64(1)))
    u = (np.float32(bits >> np.uint64(40)) + np.float32(0.5)) * np.float32(2.0**-24)
    v = np.float32(bits & np.uint64(0xFFFFFF)) * np.float32(2.0**-24)
    radius, angle = math.sqrt(-TWO * math.log(u)), np.float32(2 * math.pi) * v
    return radius * math.cos(angle), radius * math.sin(angle)
