"""The arm leaves the scene and comes back as link splats that stand where its links stood."""

import json

import numpy as np
import pytest
import small_objects as small

from hardware.bench import so101
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin import object_asset, robot_splat, splat_ply
from twin.segment import SegmentTwin, segment
from twin.splat import Splat
from twin.splat_motion import moved
from twin.view import base_colours

BASE = Pose.from_parts("world", "base", np.eye(3), (-0.1, 0.05, small.TABLE_Z_M + 0.0024))
Q_RAD = dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
ORANGE = (0.86, 0.5, 0.12)


@pytest.fixture(scope="module")
def links():
    return robot_splat.placed_links("so101", BASE, Q_RAD)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, links):
    """The scan's arm: every third sample of its links, in orange."""
    arm = [
        small.sheet(
            link.T_world_link.apply(link.points)[::3], link.normals[::3] @ link.T_world_link.rotation.T, ORANGE
        )
        for link in links
    ]
    folder = small.write(tmp_path_factory.mktemp("robot") / "twin", *arm)
    given = {"model": "so101", "T_world_base": BASE.to_list(), "q_rad": Q_RAD}
    (folder.parent / "robot.json").write_text(json.dumps(given))
    assert segment(SegmentTwin(bundle=folder, robot=folder.parent / "robot.json")) == 0
    return folder


def test_samples_lie_on_the_triangles_with_their_normals():
    square = np.array([[0, 0, 0], [0.02, 0, 0], [0.02, 0.02, 0], [0, 0.02, 0.0]])
    points, normals = robot_splat.sampled(square, np.array([[0, 1, 2], [0, 2, 3]]), np.random.default_rng(0))
    assert len(points) == 60  # 4e-4 m² · 150 000 per m²
    np.testing.assert_allclose(points[:, 2], 0, atol=1e-12)
    np.testing.assert_allclose(normals, np.tile([0.0, 0, 1], (60, 1)))
    assert points.min() >= 0
    assert points.max() <= 0.02
    with pytest.raises(BadInput, match="no area"):
        robot_splat.sampled(square * 0, np.array([[0, 1, 2]]), np.random.default_rng(0))


def test_the_background_has_no_arm(bundle):
    background = splat_ply.read(bundle / "background.ply")
    assert (background.means_m[:, 2] > small.TABLE_Z_M + 0.01).sum() == 0
    assert len(splat_ply.read(bundle / "scene.ply")) > len(background)


def test_links_moved_by_the_scans_angles_stand_where_the_arm_stood(bundle, links):
    asset = object_asset.robot(bundle)
    assert asset is not None
    assert set(asset.links) == {link.name for link in links}
    placed = []
    for link in links:
        own = splat_ply.read(bundle / asset.links[link.name])
        placed.append(moved(own, link.T_world_link.rotation, link.T_world_link.translation_m))
        np.testing.assert_allclose(np.median(base_colours(own), 0), ORANGE, atol=0.03)
    whole = Splat.concatenate(placed)
    surface = np.concatenate([link.T_world_link.apply(link.points) for link in links])
    np.testing.assert_allclose(whole.means_m, surface, atol=4e-4)


def test_an_unknown_joint_and_an_empty_place_are_refused(bundle):
    with pytest.raises(BadInput, match="no joint 'knee'; have: shoulder_pan"):
        robot_splat.placed_links("so101", BASE, {"knee": 0.0})
    splat = splat_ply.read(bundle / "scene.ply")
    table = object_asset.supports(bundle).table
    away = Pose.from_parts("world", "base", np.eye(3), (1.0, 1.0, 0.5))
    with pytest.raises(BadInput, match="the scan has none at that place"):
        robot_splat.take(bundle, splat, table, "so101", away, Q_RAD)
