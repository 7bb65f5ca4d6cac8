"""Grasps of known bodies: jaws meet opposite sides squarely, no wider than they open, tool from above."""

import math

import numpy as np
import pytest
import trimesh

from hardware.bench.arm_models import ARMS
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.expansion.grasps import STEEPEST_RAD, GraspSearch, antipodal, find, require_graspable, sampled

PANDA = ARMS["panda"]
SEARCH = GraspSearch()


def found(surface: trimesh.Trimesh, T_base_object: Pose, arm: str = "panda", seed: int = 0):
    return find(surface, T_base_object, ARMS[arm], SEARCH, np.random.default_rng(seed))  # pyright: ignore[reportArgumentType]


def test_jaws_close_along_the_narrow_side_of_a_long_box():
    """20 × 20 × 200 mm: the long side does not fit, so the line between the jaws is across it."""
    box = trimesh.creation.box((0.02, 0.2, 0.02))
    for grasp in found(box, Pose.identity("base", "obj")):
        x = grasp.T_obj_tip.rotation[:, 0]
        assert abs(x[1]) < math.sin(math.atan(SEARCH.friction)) + 1e-6
        assert grasp.width_m < 0.02 / math.cos(math.atan(SEARCH.friction)) + 1e-6


def test_the_tool_comes_from_above_however_the_object_stands():
    tilted = Pose.from_parts("base", "obj", rotation_from_rotvec(np.array([0.9, -0.4, 2.0])), (0.2, 0.0, 0.05))
    grasps = found(trimesh.creation.cylinder(0.015, 0.06), tilted)
    for grasp in grasps:
        z = (tilted @ grasp.T_obj_tip).rotation[:, 2]
        assert -z[2] > math.cos(STEEPEST_RAD) - 1e-6


def test_both_jaws_moving_the_tip_is_in_the_middle_and_with_a_fixed_jaw_it_leaves_room():
    """SO-101: the fixed jaw's side is 15.8 mm from the tip, so 30 mm / 2 + 3.5 mm of room puts the tip 2.7 mm off."""
    ball = trimesh.creation.icosphere(4, 0.015)
    middle = [np.linalg.norm(g.T_obj_tip.translation_m) for g in found(ball, Pose.identity("base", "obj"))]
    assert max(middle) < 0.015 * SEARCH.friction
    for grasp in found(ball, Pose.identity("base", "obj"), "so101"):
        shift = grasp.width_m / 2 + SEARCH.room_m - 0.0158
        centre = grasp.T_obj_tip.translation_m - shift * grasp.T_obj_tip.rotation[:, 0]
        assert np.linalg.norm(centre) < 0.015 * SEARCH.friction


def test_pairs_face_away_from_each_other_and_none_is_wider_than_the_jaws():
    points, normals = sampled(trimesh.creation.box((0.04, 0.08, 0.04)), 300, np.random.default_rng(1))
    one, other, square = antipodal(points, normals, SEARCH)
    assert len(one) > 0
    np.testing.assert_array_less(np.einsum("ij,ij->i", normals[one], normals[other]), 0)
    assert np.linalg.norm(points[one] - points[other], axis=1).max() <= SEARCH.most_width_m
    assert square.min() >= math.cos(math.atan(SEARCH.friction))


def test_what_the_jaws_cannot_hold_is_refused_with_its_size():
    with pytest.raises(BadInput, match="120 × 120 × 120 mm"):
        require_graspable(trimesh.creation.box((0.12,) * 3), SEARCH)
    require_graspable(trimesh.creation.box((0.12, 0.12, 0.02)), SEARCH)


def test_the_same_seed_gives_the_same_grasps():
    box = trimesh.creation.box((0.03,) * 3)
    one, other = (found(box, Pose.identity("base", "obj")) for _ in range(2))
    assert [g.score for g in one] == [g.score for g in other]
    assert one[0].score != found(box, Pose.identity("base", "obj"), seed=1)[0].score
