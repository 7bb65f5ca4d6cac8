"""Splats as the standard 3D Gaussian splatting PLY: log scales, logit opacities, `f_rest` channel-major.

The layout is the one of the 3DGS reference code, which gsplat, nerfstudio and the viewers share. Properties are
read by name, so files without normals, with other orders or with extra properties are read too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plyfile
from jaxtyping import Float
from numpy import ndarray

from hardware import artefact
from hardware.errors import BadInput
from twin.splat import SH_DEGREE_OF_COEFFICIENTS, Splat

FIX = "give a splat as 3DGS, gsplat or nerfstudio write it (`scene.ply` of a twin bundle is one)"
OPACITY_EDGE = 1e-6
"""Opacities are kept this far from 0 and 1, whose logits are infinite."""
SMALLEST_SCALE_M = 1e-12


def write(file: Path, splat: Splat) -> None:
    """Appears whole or not at all. Raises `BadInput` if the splat is not finite: a viewer would show nothing."""
    splat.require_finite(str(file))
    vertices = plyfile.PlyElement.describe(_rows(splat), "vertex")
    with artefact.staged_file(file) as temporary:
        plyfile.PlyData([vertices], byte_order="<").write(str(temporary))


def read(file: Path) -> Splat:
    """Raises `BadInput` for a file that is not a whole, finite splat."""
    vertices = _vertices(file)
    names = set(vertices.dtype.names or ())
    if "packed_position" in names:
        raise BadInput(f"{file} is a compressed PLY, which has its own layout", "export it as a plain 3DGS PLY")
    needed = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    needed += [f"scale_{axis}" for axis in range(3)] + [f"rot_{part}" for part in range(4)]
    missing = [name for name in needed if name not in names]
    if missing:
        what = "holds positions only, no Gaussians" if {"x", "y", "z"} <= names else "is not a splat"
        raise BadInput(f"{file} {what}: it lacks {', '.join(missing)}", FIX)
    splat = Splat(
        means_m=_columns(vertices, ["x", "y", "z"]),
        quats_wxyz=_columns(vertices, [f"rot_{part}" for part in range(4)]),
        scales_m=_exp(_columns(vertices, [f"scale_{axis}" for axis in range(3)])),
        opacities=_sigmoid(_columns(vertices, ["opacity"])[:, 0]),
        sh=_harmonics(file, vertices),
    )
    splat.require_finite(str(file))
    if len(splat) and not np.linalg.norm(splat.quats_wxyz, axis=1).all():
        raise BadInput(f"{file}: a Gaussian has a rotation of length zero", "train or export it again")
    return splat


def _vertices(file: Path) -> ndarray:
    try:
        ply = plyfile.PlyData.read(str(file), mmap="r")  # without a map it reads one number after another
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror or error}") from error
    except (plyfile.PlyParseError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{file} is not a whole PLY file: {error}", FIX) from error
    if "vertex" not in ply:
        raise BadInput(f"{file} has no element 'vertex'; has: {', '.join(e.name for e in ply.elements)}", FIX)
    return np.asarray(ply["vertex"].data)


def _columns(vertices: ndarray, names: list[str]) -> Float[ndarray, "N M"]:
    return np.stack([np.asarray(vertices[name], np.float32) for name in names], -1)


def _harmonics(file: Path, vertices: ndarray) -> Float[ndarray, "N K 3"]:
    """f_dc and f_rest: all coefficients of red, then of green, then of blue → N K 3."""
    constant = _columns(vertices, ["f_dc_0", "f_dc_1", "f_dc_2"])
    count = sum(name.startswith("f_rest_") for name in vertices.dtype.names or ())
    if count % 3 or count // 3 + 1 not in SH_DEGREE_OF_COEFFICIENTS:
        raise BadInput(f"{file} has {count} f_rest properties; a splat has 0, 9, 24 or 45", FIX)
    if not count:
        return constant[:, None]
    try:
        rest = _columns(vertices, [f"f_rest_{index}" for index in range(count)])
    except ValueError as error:
        raise BadInput(f"{file}: its f_rest properties are not numbered 0 … {count - 1}", FIX) from error
    return np.concatenate([constant[:, None], rest.reshape(len(rest), 3, count // 3).transpose(0, 2, 1)], 1)


def _rows(splat: Splat) -> ndarray:
    """One structured row per Gaussian, in the order of the 3DGS reference code (normals are zero there too)."""
    rest = splat.sh[:, 1:].transpose(0, 2, 1).reshape(len(splat), 3 * (splat.sh.shape[1] - 1))
    opacities = np.clip(splat.opacities.astype(np.float64), OPACITY_EDGE, 1 - OPACITY_EDGE)
    columns = {"x y z": splat.means_m, "nx ny nz": np.zeros_like(splat.means_m)}
    columns["f_dc_0 f_dc_1 f_dc_2"] = splat.sh[:, 0]
    columns[" ".join(f"f_rest_{index}" for index in range(rest.shape[1]))] = rest
    columns["opacity"] = np.log(opacities / (1 - opacities))[:, None]
    columns["scale_0 scale_1 scale_2"] = np.log(np.maximum(splat.scales_m, SMALLEST_SCALE_M))
    columns["rot_0 rot_1 rot_2 rot_3"] = splat.quats_wxyz
    names = [name for group in columns for name in group.split()]
    values = np.concatenate(list(columns.values()), 1).astype("<f4")
    return np.ascontiguousarray(values).view([(name, "<f4") for name in names])[:, 0]


def _exp(values: Float[ndarray, "N M"]) -> Float[ndarray, "N M"]:
    with np.errstate(over="ignore"):  # an infinite scale is reported by name afterwards
        return np.exp(values)


def _sigmoid(values: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-values))
