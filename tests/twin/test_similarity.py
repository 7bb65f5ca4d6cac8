"""Similarities: inverse and composition laws, recovery with noise and wrong pairs, agreement with SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin.similarity import Similarity, fit, fit_robustly

vectors = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)


def similarity(scale: float, rotvec: np.ndarray, translation: np.ndarray) -> Similarity:
    return Similarity(scale, rotation_from_rotvec(rotvec), translation)


def cloud(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


scales = st.floats(1e-3, 1e3)
seeds = st.integers(0, 999)


def assert_same(found: Similarity, truth: Similarity, atol: float = 1e-9) -> None:
    assert found.scale == pytest.approx(truth.scale, rel=atol)
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=atol)
    np.testing.assert_allclose(found.translation, truth.translation, atol=atol * max(1, truth.scale))


@given(scales, vectors, vectors, seeds)
def test_the_inverse_undoes(scale, rotvec, translation, seed):
    there, points = similarity(scale, rotvec, translation), cloud(seed)
    np.testing.assert_allclose(there.inverse().apply(there.apply(points)), points, atol=1e-9)
    assert_same(there.inverse().inverse(), there)


@given(scales, vectors, vectors, vectors, seeds)
def test_a_camera_sees_the_same_picture_in_both_worlds(scale, rotvec, translation, turn, seed):
    there, points = similarity(scale, rotvec, translation), cloud(seed)
    T_world_cam = Pose.from_parts("world", "cam", rotation_from_rotvec(turn), [0.5, -1.0, 2.0])
    before = T_world_cam.inverse().apply(points)
    after = there.apply_pose(T_world_cam).inverse().apply(there.apply(points))
    np.testing.assert_allclose(after, scale * before, atol=1e-9 * scale)  # only all depths are longer


@given(scales, vectors, vectors, seeds, st.booleans())
def test_exact_pairs_give_the_exact_similarity(scale, rotvec, translation, seed, flat):
    points = cloud(seed)
    points[:, 2] *= not flat  # a plane is enough, and must not come back mirrored
    truth = similarity(scale, rotvec, translation)
    assert_same(fit(points, truth.apply(points)), truth, 1e-7)
    assert_same(fit_robustly(points, truth.apply(points)), truth, 1e-7)


@given(vectors, seeds)
def test_the_rotation_is_scipys_kabsch(rotvec, seed):
    points = cloud(seed)
    target = points @ rotation_from_rotvec(rotvec).T + 0.1 * cloud(seed + 1)
    theirs, _ = Rotation.align_vectors(target - target.mean(0), points - points.mean(0))
    np.testing.assert_allclose(fit(points, target).rotation, theirs.as_matrix(), atol=1e-7)


@settings(max_examples=30)
@given(seeds)
def test_noise_costs_what_it_must(seed):
    # n points of unit spread per axis and noise σ: scale and angles err by σ/√(2n)…σ/√n, the place by σ/√n.
    n, sigma = 400, 0.01
    truth, points = similarity(2.0, np.array([0.3, -2.0, 1.0]), np.array([5.0, 0, -1])), cloud(seed, n)
    found = fit(points, truth.apply(points) + sigma * cloud(seed + 7, n))
    expected = sigma / math.sqrt(n)
    assert abs(found.scale - 2) < 5 * expected
    assert np.linalg.norm(found.translation - truth.translation) < 6 * expected
    assert np.linalg.norm(Rotation.from_matrix(found.rotation.T @ truth.rotation).as_rotvec()) < 5 * expected


@settings(max_examples=30)
@given(seeds, st.floats(0.0, 0.35))
def test_a_minority_of_wrong_pairs_does_not_matter(seed, wrong):
    truth, points = similarity(0.5, np.array([1.0, 0.2, 0.1]), np.array([1.0, 2, 3])), cloud(seed, 100)
    target = truth.apply(points) + 1e-4 * cloud(seed + 1, 100)
    spoilt = int(100 * wrong)
    target[:spoilt] += 3 * cloud(seed + 2, spoilt)
    found = fit_robustly(points, target)
    assert found.scale == pytest.approx(0.5, abs=1e-3)
    assert np.linalg.norm(found.apply(points[spoilt:]) - target[spoilt:], axis=1).max() < 5e-3


def test_by_hand():
    # A unit square turned by 90° about z, doubled and moved by (1, 0, 0).
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    found = fit(square, np.array([[1.0, 0, 0], [1, 2, 0], [-1, 2, 0], [-1, 0, 0]]))
    assert_same(
        found, Similarity(2.0, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 0, 0])), 1e-12
    )
    assert_same(Similarity.identity().inverse(), Similarity.identity())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (cloud(0, 2), "2 points against 2: a similarity needs three"),
        (np.outer(np.arange(5.0), [1, 2, 3]), "lie on a line"),
        (np.zeros((4, 3)), "lie on a line"),
    ],
)
def test_pairs_that_leave_the_answer_open_are_refused(points, message):
    with pytest.raises(BadInput, match=message):
        fit(points, points)
