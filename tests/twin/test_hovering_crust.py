"""Where the table's Gaussians hover 2 mm over the table that SfM saw: what stands, stands on the table."""

import logging

import numpy as np
import pytest
import small_objects as small

from hardware.bench import so101
from hardware.bench.arm_models import ARMS
from hardware.config import read
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin import object_asset, robot_splat, table_plane
from twin.object_asset import Supports
from twin.posed_images import SparsePoints
from twin.render import scene
from twin.robot_alignment import solve
from twin.segment import SegmentTwin, segment

TABLE_Z_M = small.TABLE_Z_M - 2e-3
Q_RAD = dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
BASE = Pose.from_parts(
    "world", "base", rotation_from_rotvec(np.array([0, 0, 0.2])), (-0.1, 0.05, TABLE_Z_M + 0.0024)
)
BOX = {"object": ("box",), "box": (small.BOX_FLAG,)}


@pytest.fixture
def bundle(tmp_path):
    arm = []
    for link in robot_splat.placed_links("so101", BASE, Q_RAD):
        normals = link.normals @ link.T_world_link.rotation.T
        arm.append(small.sheet(link.T_world_link.apply(link.points)[::2], normals[::2], (0.86, 0.5, 0.12)))
    return small.write(tmp_path / "twin", small.box(at=(0.2, -0.15)), *arm)


def triangulate(bundle):
    xy = np.random.default_rng(0).uniform(-0.3, 0.3, (900, 2))
    xyz = np.column_stack([xy, np.full(900, TABLE_Z_M)])
    points = SparsePoints(xyz, np.zeros((900, 3), np.uint8), np.full(900, 0.5), np.full(900, 5, np.uint8))
    (bundle / table_plane.TRIANGULATED).parent.mkdir(parents=True)
    points.save(bundle / table_plane.TRIANGULATED)


def taken(bundle, name, **flags):
    """The thing, and how high its foot is in the world."""
    segment(SegmentTwin(bundle=bundle, object=(name,), box=("0.2,-0.15,0.022,0.085,0.065,0.07,22",), **flags))
    [thing] = [each for each in object_asset.objects(bundle) if each.name == name]
    return thing, thing.pose.translation_m[2] - thing.size_m[2] / 2


def test_things_and_furniture_reach_down_to_the_table(bundle):
    triangulate(bundle)
    box, foot_m = taken(bundle, "box", furniture=("shelf=0.2,-0.15,0.022,0.085,0.065,0.07,22",))
    supports = read(Supports, bundle / object_asset.SUPPORTS)
    assert supports.table.source == "triangulated"
    assert supports.table.offset_m == pytest.approx(TABLE_Z_M, abs=1e-4)
    assert foot_m == pytest.approx(TABLE_Z_M, abs=1e-4)
    assert box.size_m[2] == pytest.approx(small.BOX_M[2] + 2e-3, abs=1.5e-3)
    [shelf] = supports.furniture
    assert np.array(shelf.T_world_box)[2, 3] - shelf.half_m[2] == pytest.approx(TABLE_Z_M, abs=1e-4)


def test_a_standing_base_is_on_the_table_and_one_on_a_riser_is_refused(bundle):
    triangulate(bundle)
    splat, posed = scene(bundle)
    ground = table_plane.ground(bundle, splat)
    start = Pose.from_parts("world", "base", BASE.rotation, BASE.translation_m + np.full(3, 0.01))
    found = solve(splat, posed, ground, "so101", Q_RAD, start, photometric=False, standing=True)
    assert found.standing
    assert found.pose.distance_to(BASE)[0] < 1.5e-3
    lower = table_plane.Ground(ground.plane.but(offset_m=ground.plane.offset_m - 0.02), ground.crust)
    with pytest.raises(BadInput, match="does not overlap"):
        solve(splat, posed, lower, "so101", Q_RAD, start, photometric=False, standing=True)


@pytest.mark.parametrize(("model", "name"), [("so101", "base"), ("panda", "link0")])
def test_an_arm_stands_on_the_first_of_its_links(model, name):
    q_rad = dict.fromkeys(ARMS[model].joints, 0.0)
    assert robot_splat.placed_links(model, BASE, q_rad)[0].name == name


def test_things_from_before_the_table_moved_are_named(bundle, caplog):
    taken(bundle, "box")
    triangulate(bundle)
    with caplog.at_level(logging.WARNING):
        taken(bundle, "other")
    assert "stand on a table 2.0 mm" in caplog.text
