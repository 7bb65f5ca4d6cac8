"""Moves a splat by a similarity: positions, axes, sizes and the view-dependent colours turn together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.spatial import quat_wxyz_from_rotation
from twin.splat import Splat

_FIT_DIRECTIONS = 64  # more than the 16 unknowns of degree 3, spread evenly: the fit below is exact


def moved(
    splat: Splat,
    rotation: Float[ndarray, "3 3"],
    translation: Float[ndarray, 3],
    scale: float = 1.0,
) -> Splat:
    """`x → scale · rotation · x + translation` of every Gaussian, written in the new world's axes and units."""
    return Splat(
        means_m=scale * splat.means_m.astype(np.float64) @ rotation.T + translation,
        quats_wxyz=_compose(quat_wxyz_from_rotation(rotation), splat.quats_wxyz.astype(np.float64)),
        scales_m=scale * splat.scales_m,
        opacities=splat.opacities,
        sh=np.einsum("kl,nlc->nkc", sh_rotation(rotation, splat.sh_degree), splat.sh.astype(np.float64)),
    )


def sh_rotation(rotation: Float[ndarray, "3 3"], degree: int) -> Float[ndarray, "K K"]:
    """Matrix on real SH coefficients that turns the function they describe: new(d) = old(rotationᵀ d).

    The rotated function stays within its band, so fitting it on enough directions gives the matrix exactly.
    """
    directions = _even_directions(_FIT_DIRECTIONS)
    there = sh_basis(directions, degree)
    before = sh_basis(directions @ rotation, degree)
    matrix = np.linalg.lstsq(there, before, rcond=None)[0]
    band = np.floor(np.sqrt(np.arange((degree + 1) ** 2)))
    return np.where(band[:, None] == band[None, :], matrix, 0.0)


def sh_basis(directions: Float[ndarray, "N 3"], degree: int) -> Float[ndarray, "N K"]:
    """Real spherical harmonics of unit directions, in 3DGS's order and signs."""
    x, y, z = directions.T
    xx, yy, zz = x * x, y * y, z * z
    terms = [np.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree >= 3:
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return np.stack(terms, -1)


def _even_directions(n: int) -> Float[ndarray, "n 3"]:
    """Fibonacci's sphere: n unit vectors, evenly spread."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    angle = np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1)


def _compose(first: Float[ndarray, 4], second: Float[ndarray, "N 4"]) -> Float[ndarray, "N 4"]:
    """Quaternion product first · second (wxyz)."""
    w, v = first[0], first[1:]
    ws, vs = second[:, :1], second[:, 1:]
    return np.concatenate([w * ws - vs @ v[:, None], w * vs + ws * v + np.cross(v, vs)], -1)
