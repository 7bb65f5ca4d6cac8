"""Splat → SPZ, Niantic's packed format: about a tenth of the PLY, read by web and phone viewers.

Version 3 of https://github.com/nianticlabs/spz: a gzip stream of a 16-byte header and one section per attribute.
Positions are 24-bit fixed point, scales 8-bit logarithms, rotations the smallest three components of a
quaternion in ten bits each, opacity 8 bits, base colour 8 bits, higher harmonics 5 bits (degree 1) and 4 bits.
"""

from __future__ import annotations

import gzip
import math
import struct

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from hardware.errors import BadInput
from twin.splat import Splat
from twin.splat_motion import moved

MAGIC = 0x5053474E  # "NGSP"
VERSION = 3
MAX_FRACTIONAL_BITS = 18
BASE_COLOUR_SCALE = 0.15
SH_BITS_DEGREE_1 = 5
SH_BITS_ABOVE = 4

R_rub_from_z_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""x right, y forward, z up → SPZ's right, up, back."""
R_rub_from_rdf = np.diag([1.0, -1.0, -1.0])
"""x right, y down, z forward (a structure-from-motion world) → SPZ's right, up, back."""


def encode(splat: Splat, z_up: bool) -> bytes:
    """The bytes of an .spz file. `z_up` says which way the splat's world stands: board and base worlds do.

    Raises `BadInput` where the splat has no Gaussians or a NaN.
    """
    splat.require_finite()
    if len(splat) == 0:
        raise BadInput("the splat has no Gaussians", "train again: an empty .spz would open nowhere")
    turned = moved(splat, R_rub_from_z_up if z_up else R_rub_from_rdf, np.zeros(3))
    bits = fractional_bits(float(np.abs(turned.means_m).max()))
    header = struct.pack("<IIIBBBB", MAGIC, VERSION, len(turned), turned.sh_degree, bits, 0, 0)
    sections = [
        pack_positions(turned.means_m, bits),
        to_uint8(turned.opacities * 255.0),
        to_uint8(turned.sh[:, 0] * (BASE_COLOUR_SCALE * 255.0) + 127.5),
        to_uint8((np.log(np.maximum(turned.scales_m, 1e-12)) + 10.0) * 16.0),
        pack_rotations(turned.quats_wxyz),
        pack_sh(turned.sh[:, 1:]),
    ]
    return gzip.compress(header + b"".join(section.tobytes() for section in sections), mtime=0)


def fractional_bits(reach: float) -> int:
    """The finest fixed point that holds ±`reach` in 24 bits: 4 µm steps within ±32 m, coarser beyond."""
    bits = min(MAX_FRACTIONAL_BITS, 22 - math.ceil(math.log2(max(reach, 1e-9))))
    if bits < 0:
        raise BadInput(f"a Gaussian lies {reach:.3g} from the origin; SPZ holds 4 million", "crop the splat first")
    return bits


def to_uint8(values: Float[ndarray, "*shape"]) -> UInt8[ndarray, "*shape"]:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def pack_positions(means: Float[ndarray, "N 3"], bits: int) -> UInt8[ndarray, "N 9"]:
    """Little-endian 24-bit two's complement."""
    fixed = np.round(means.astype(np.float64) * 2**bits).astype("<i4")
    return fixed.view(np.uint8).reshape(len(means), 3, 4)[:, :, :3].reshape(len(means), 9)


def pack_rotations(quats_wxyz: Float[ndarray, "N 4"]) -> UInt8[ndarray, "N 4"]:
    """Two bits say which of x y z w is largest; the others follow, a sign and nine bits of magnitude each."""
    xyzw = np.roll(quats_wxyz.astype(np.float64), -1, axis=1)
    xyzw /= np.linalg.norm(xyzw, axis=1, keepdims=True)
    largest = np.abs(xyzw).argmax(axis=1)
    xyzw *= np.where(np.take_along_axis(xyzw, largest[:, None], 1) < 0, -1.0, 1.0)
    others = np.array([[i for i in range(4) if i != k] for k in range(4)])[largest]
    smallest = np.take_along_axis(xyzw, others, 1)
    magnitude = np.floor(511 * np.abs(smallest) * math.sqrt(2) + 0.5).clip(0, 511).astype(np.uint32)
    fields = magnitude | (smallest < 0).astype(np.uint32) << 9
    packed = largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]
    return packed.astype("<u4").view(np.uint8).reshape(len(xyzw), 4)


def pack_sh(sh: Float[ndarray, "N K 3"]) -> UInt8[ndarray, "N K 3"]:
    """Each coefficient in ±1 as a byte, rounded to the middle of a bucket so that gzip finds repetition."""
    bucket = np.where(np.arange(sh.shape[1]) < 3, 2 ** (8 - SH_BITS_DEGREE_1), 2 ** (8 - SH_BITS_ABOVE))
    bucket = bucket[None, :, None]
    byte: Int[ndarray, "N K 3"] = np.round(sh * 128.0).astype(np.int64) + 128
    return ((byte + bucket // 2) // bucket * bucket).clip(0, 255).astype(np.uint8)
