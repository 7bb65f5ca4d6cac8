"""Real spherical harmonics up to degree 3 as 3DGS writes them, with their slopes, for use inside kernels.

Order and signs are those of the 3DGS reference code and of every splat file
(https://github.com/graphdeco-inria/gaussian-splatting; Sloan, "Efficient Spherical Harmonic Evaluation", 2013).
"""

from __future__ import annotations

import numpy as np
from numba import njit

F = np.float32
C0 = F(0.28209479177387814)
C1 = F(0.4886025119029199)
C2_XY, C2_ZZ, C2_XX = F(1.0925484305920792), F(0.31539156525252005), F(0.5462742152960396)
C3_A, C3_B, C3_C = F(0.5900435899266435), F(2.890611442640554), F(0.4570457994644658)
C3_D, C3_E = F(0.3731763325901154), F(1.445305721320277)
TWO, THREE, FOUR, SIX, EIGHT = F(2), F(3), F(4), F(6), F(8)

INLINE = {"fastmath": True, "error_model": "numpy", "boundscheck": False}


@njit(**INLINE)
def basis(count, x, y, z, out):
    """Writes the first `count` (1, 4, 9, 16) basis values at the unit direction (x, y, z) into out[0 : count]."""
    out[0] = C0
    if count < 4:
        return
    out[1], out[2], out[3] = -C1 * y, C1 * z, -C1 * x
    if count < 9:
        return
    xx, yy, zz = x * x, y * y, z * z
    out[4], out[5], out[7] = C2_XY * x * y, -C2_XY * y * z, -C2_XY * x * z
    out[6] = C2_ZZ * (TWO * zz - xx - yy)
    out[8] = C2_XX * (xx - yy)
    if count < 16:
        return
    out[9] = -C3_A * y * (THREE * xx - yy)
    out[10] = C3_B * x * y * z
    out[11] = -C3_C * y * (FOUR * zz - xx - yy)
    out[12] = C3_D * z * (TWO * zz - THREE * xx - THREE * yy)
    out[13] = -C3_C * x * (FOUR * zz - xx - yy)
    out[14] = C3_E * z * (xx - yy)
    out[15] = -C3_A * x * (xx - THREE * yy)


@njit(**INLINE)
def slope(count, x, y, z, weight):
    """d (Σ weight · basis) / d (x, y, z), as if the polynomials held off the sphere too."""
    sx, sy, sz = F(0), F(0), F(0)
    if count >= 4:
        sx, sy, sz = -C1 * weight[3], -C1 * weight[1], C1 * weight[2]
    if count >= 9:
        w4, w5, w7 = C2_XY * weight[4], -C2_XY * weight[5], -C2_XY * weight[7]
        w6, w8 = C2_ZZ * TWO * weight[6], C2_XX * TWO * weight[8]
        sx += w4 * y + w7 * z + (w8 - w6) * x
        sy += w4 * x + w5 * z - (w8 + w6) * y
        sz += w5 * y + w7 * x + TWO * w6 * z
    if count >= 16:
        xx, yy, zz = x * x, y * y, z * z
        w9, w15 = -C3_A * THREE * weight[9], -C3_A * THREE * weight[15]
        w11, w13 = -C3_C * weight[11], -C3_C * weight[13]
        w10, w12, w14 = C3_B * weight[10], C3_D * weight[12], C3_E * weight[14]
        sx += w9 * TWO * x * y + w10 * y * z - w11 * TWO * x * y - w12 * SIX * x * z
        sx += w13 * (FOUR * zz - THREE * xx - yy) + w14 * TWO * x * z + w15 * (xx - yy)
        sy += w9 * (xx - yy) + w10 * x * z + w11 * (FOUR * zz - xx - THREE * yy) - w12 * SIX * y * z
        sy += -w13 * TWO * x * y - w14 * TWO * y * z - w15 * TWO * x * y
        sz += w10 * x * y + w11 * EIGHT * y * z + w12 * (SIX * zz - THREE * xx - THREE * yy)
        sz += w13 * EIGHT * x * z + w14 * (xx - yy)
    return sx, sy, sz
