"""What is packed comes back within the format's steps, and the bytes are the ones the format describes."""

import gzip
import struct

import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.spatial import rotation_from_quat_wxyz
from twin.export.spz import R_rub_from_rdf, R_rub_from_z_up, encode, fractional_bits
from twin.splat import Splat
from twin.splat_motion import moved


def random_splat(n: int, coefficients: int = 16, reach: float = 0.5) -> Splat:
    rng = np.random.default_rng(3)
    return Splat(
        means_m=rng.uniform(-reach, reach, (n, 3)),
        quats_wxyz=rng.normal(size=(n, 4)),
        scales_m=np.exp(rng.uniform(-7, -2, (n, 3))),
        opacities=rng.uniform(0, 1, n),
        sh=rng.uniform(-0.6, 0.6, (n, coefficients, 3)),
    )


def decode(data: bytes) -> Splat:
    """Straight from the format's description, one Gaussian at a time for the quaternions."""
    raw = gzip.decompress(data)
    magic, version, n, degree, bits, _, _ = struct.unpack_from("<IIIBBBB", raw)
    assert (magic, version) == (0x5053474E, 3)
    k = (degree + 1) ** 2 - 1
    sizes = [9 * n, n, 3 * n, 3 * n, 4 * n, 3 * k * n]
    ends = 16 + np.cumsum(sizes)
    assert len(raw) == ends[-1]
    parts = [np.frombuffer(raw[end - size : end], np.uint8) for size, end in zip(sizes, ends, strict=True)]
    low = parts[0].reshape(n, 3, 3).astype(np.int32)
    fixed = low[..., 0] | low[..., 1] << 8 | low[..., 2] << 16
    fixed = np.where(fixed >= 2**23, fixed - 2**24, fixed)
    quats = np.array([decode_quat(word) for word in parts[4].view("<u4")])
    higher = (parts[5].reshape(n, k, 3).astype(float) - 128) / 128
    base = (parts[2].reshape(n, 1, 3) / 255 - 0.5) / 0.15
    return Splat(
        means_m=fixed / 2**bits,
        quats_wxyz=quats,
        scales_m=np.exp(parts[3].reshape(n, 3) / 16 - 10),
        opacities=parts[1] / 255,
        sh=np.concatenate([base, higher], 1),
    )


def decode_quat(word: int) -> list[float]:
    word = int(word)
    largest, xyzw = word >> 30, [0.0] * 4
    for i in (3, 2, 1, 0):
        if i != largest:
            sign = -1 if word >> 9 & 1 else 1
            xyzw[i] = sign * (word & 511) / 511 / 2**0.5
            word >>= 10
    xyzw[largest] = (1 - sum(v * v for v in xyzw)) ** 0.5
    return [xyzw[3], *xyzw[:3]]


@pytest.mark.parametrize("z_up", [True, False])
@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_what_is_packed_comes_back_within_one_step(coefficients: int, z_up: bool) -> None:
    splat = random_splat(500, coefficients)
    wanted = moved(splat, R_rub_from_z_up if z_up else R_rub_from_rdf, np.zeros(3))
    got = decode(encode(splat, z_up))
    assert np.abs(got.means_m - wanted.means_m).max() <= 2**-18  # half a step and float32's rounding
    assert np.abs(np.log(got.scales_m / wanted.scales_m)).max() <= 1 / 32 + 1e-5
    assert np.abs(got.opacities - wanted.opacities).max() <= 0.5 / 255 + 1e-6
    assert np.abs(got.sh[:, :1] - wanted.sh[:, :1]).max() <= 0.5 / 255 / 0.15 + 1e-6
    if coefficients > 1:
        assert np.abs(got.sh[:, 1:4] - wanted.sh[:, 1:4]).max() <= 4.5 / 128 + 1e-6
    if coefficients > 4:
        assert np.abs(got.sh[:, 4:] - wanted.sh[:, 4:]).max() <= 8.5 / 128 + 1e-6
    turned = rotation_from_quat_wxyz(got.quats_wxyz.astype(float))
    axes = rotation_from_quat_wxyz(wanted.quats_wxyz.astype(float))
    cosine = (np.einsum("nij,nij->n", turned, axes) - 1) / 2
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.35  # ten bits a component


def test_the_bytes_of_one_gaussian_worked_by_hand() -> None:
    splat = Splat(
        means_m=np.array([[1.0, 0.0, 0.5]]),
        quats_wxyz=np.array([[1.0, 0.0, 0.0, 0.0]]),
        scales_m=np.exp(np.array([[-4.0, -5.0, -6.0]])),
        opacities=np.array([0.2]),
        sh=np.array([[[0.0, 1.0, -1.0]]]),
    )
    # y-down, z-forward → y-up, z-back turns about x by 180°: (1, 0, 0.5) → (1, 0, -0.5), quaternion (0, 1, 0, 0).
    # 18 fractional bits: 1 → 2¹⁸ = 0x040000, -0.5 → -2¹⁷ = 0xFE0000.
    position = bytes([0, 0, 4, 0, 0, 0, 0, 0, 0xFE])
    alpha = bytes([51])  # 0.2 · 255
    colour = bytes([128, 166, 89])  # 127.5, ± 38.25, rounded half up
    scales = bytes([96, 80, 64])  # (10 - 4) · 16 …
    quat = bytes([0, 0, 0, 0])  # x is largest: index 0, the others nought
    header = b"NGSP" + bytes([3, 0, 0, 0, 1, 0, 0, 0, 0, 18, 0, 0])
    raw = gzip.decompress(encode(splat, z_up=False))
    assert raw == header + position + alpha + colour + scales + quat


def test_up_in_a_board_world_is_up_in_the_file() -> None:
    above = Splat(
        means_m=np.array([[0.0, 0.0, 2.0]]),
        quats_wxyz=np.array([[1.0, 0, 0, 0]]),
        scales_m=np.full((1, 3), 0.1),
        opacities=np.ones(1),
        sh=np.zeros((1, 1, 3)),
    )
    assert np.allclose(decode(encode(above, z_up=True)).means_m, [[0, 2, 0]])


def test_a_far_background_keeps_its_place_by_coarser_steps() -> None:
    splat = random_splat(50, 1, reach=5000.0)
    got = decode(encode(splat, z_up=False)).means_m @ R_rub_from_rdf
    assert np.abs(got - splat.means_m).max() <= 2.0 ** -fractional_bits(5000.0)
    with pytest.raises(BadInput, match="crop"):
        fractional_bits(1e8)


def test_an_empty_splat_and_a_nan_are_refused() -> None:
    splat = random_splat(3)
    with pytest.raises(BadInput, match="no Gaussians"):
        encode(splat.select(np.zeros(3, bool)), z_up=True)
    splat.means_m[1, 2] = np.nan
    with pytest.raises(BadInput, match="means_m\\[1\\]"):
        encode(splat, z_up=True)
