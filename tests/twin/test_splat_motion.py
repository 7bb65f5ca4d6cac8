"""A moved splat is the same thing seen from elsewhere."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardware.spatial import rotation_from_quat_wxyz, rotation_from_rotvec
from twin.splat import Splat
from twin.splat_motion import moved, sh_basis, sh_rotation

rotvecs = st.tuples(*[st.floats(-3.1, 3.1)] * 3).map(np.array)


def random_splat(n: int = 20, coefficients: int = 16) -> Splat:
    rng = np.random.default_rng(1)
    return Splat(
        means_m=rng.normal(size=(n, 3)),
        quats_wxyz=rng.normal(size=(n, 4)),
        scales_m=rng.uniform(0.01, 0.2, (n, 3)),
        opacities=rng.uniform(0.1, 1, n),
        sh=rng.normal(size=(n, coefficients, 3)) * 0.3,
    )


def covariances(splat: Splat) -> np.ndarray:
    axes = rotation_from_quat_wxyz(splat.quats_wxyz.astype(np.float64)) * splat.scales_m[:, None, :]
    return axes @ axes.swapaxes(1, 2)


def test_the_basis_is_orthonormal_over_the_sphere() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(400_000, 3))
    basis = sh_basis(directions / np.linalg.norm(directions, axis=1, keepdims=True), 3)
    gram = basis.T @ basis / len(basis) * 4 * np.pi
    assert np.abs(gram - np.eye(16)).max() < 0.02  # Monte Carlo: 4.5 σ of 1/√400 000 · ~2.9


@given(rotvecs)
def test_turned_coefficients_give_the_old_colour_in_the_turned_direction(rotvec: np.ndarray) -> None:
    rotation = rotation_from_rotvec(rotvec)
    rng = np.random.default_rng(2)
    directions = rng.normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sh = rng.normal(size=16)
    turned = sh_rotation(rotation, 3) @ sh
    assert np.allclose(sh_basis(directions @ rotation.T, 3) @ turned, sh_basis(directions, 3) @ sh, atol=1e-9)


@given(rotvecs, st.floats(0.1, 10))
def test_covariances_follow_the_similarity(rotvec: np.ndarray, scale: float) -> None:
    splat, rotation = random_splat(), rotation_from_rotvec(rotvec)
    after = moved(splat, rotation, np.array([1.0, 2.0, 3.0]), scale)
    expected = scale**2 * rotation @ covariances(splat) @ rotation.T
    assert np.allclose(covariances(after), expected, rtol=1e-4, atol=1e-5 * scale**2)
    assert np.allclose(after.means_m, scale * splat.means_m @ rotation.T + [1, 2, 3], atol=1e-4)


@given(rotvecs, st.floats(0.1, 10))
def test_the_inverse_undoes_it(rotvec: np.ndarray, scale: float) -> None:
    splat, rotation, shift = random_splat(), rotation_from_rotvec(rotvec), np.array([0.5, -1.0, 2.0])
    back = moved(moved(splat, rotation, shift, scale), rotation.T, -rotation.T @ shift / scale, 1 / scale)
    assert np.allclose(back.means_m, splat.means_m, atol=1e-4)
    assert np.allclose(back.sh, splat.sh, atol=1e-5)
    assert np.allclose(covariances(back), covariances(splat), rtol=1e-4, atol=1e-6)
