"""An arm made of Gaussians at a known place is found from a coarse guess; what shows no arm is refused."""

import json

import cv2
import numpy as np
import pytest
import small_objects as small

from hardware.bench import so101
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin import object_asset, robot_photo, robot_splat, table_plane
from twin.rasterise.choose import rasteriser
from twin.render import scene
from twin.robot_alignment import AlignRobot, align, joint_angles, solve
from twin.splat import Splat

BASE = Pose.from_parts("world", "base", rotation_from_rotvec(np.array([0, 0, 0.2])), (-0.1, 0.05, -0.0006))
Q_RAD = dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
NEAR = "-0.085,0.035,0.01,16"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """An orange arm on a table that a ring of cameras sees."""
    arm = []
    for link in robot_splat.placed_links("so101", BASE, Q_RAD):
        normals = link.normals @ link.T_world_link.rotation.T
        arm.append(small.sheet(link.T_world_link.apply(link.points)[::2], normals[::2], (0.86, 0.5, 0.12)))
    return small.write(tmp_path_factory.mktemp("aligned") / "twin", *arm)


@pytest.fixture(scope="module")
def aligned(bundle):
    q = ",".join(f"{name}={angle}" for name, angle in Q_RAD.items())
    assert align(AlignRobot(bundle=bundle, q=q, near=NEAR, json_file=bundle.parent / "out.json")) == 0
    return bundle


def test_the_arm_is_found_from_a_guess_21_mm_and_5_degrees_off(aligned):
    found = object_asset.robot(aligned)
    assert found is not None
    away_m, turn_rad = found.pose.distance_to(BASE)
    assert away_m < 0.003
    assert np.degrees(turn_rad) < 0.5


@pytest.mark.parametrize("photometric", [False, True])
def test_a_standing_base_is_as_high_and_leans_as_its_table_does(bundle, photometric):
    """From a start that leans by 4° in the air: no lean and no height are made of the crust's noise."""
    splat, posed = scene(bundle)
    ground = table_plane.ground(bundle, splat)
    leaning = Pose.from_parts(
        "world", "base", rotation_from_rotvec(np.array([0.05, -0.05, 0.25])), (-0.09, 0.04, 0.005)
    )
    found = solve(splat, posed, ground, "so101", Q_RAD, leaning, photometric, standing=True).pose
    assert found.rotation[:, 2] == pytest.approx(np.array(ground.plane.normal), abs=1e-9)
    base = robot_splat.placed_links("so101", found, Q_RAD)[0]
    assert ground.plane.heights_m(base.T_world_link.apply(base.points)).min() == pytest.approx(0, abs=1e-6)
    assert found.distance_to(BASE)[0] < 0.003
    assert np.degrees(found.distance_to(BASE)[1]) < 0.5


def test_result_picture_and_link_splats_are_written(aligned):
    report = json.loads((aligned.parent / "out.json").read_text())
    assert 15 < report["from_start_mm"] < 30
    assert report["deviation_mm"] < 2
    assert report["explained"] > 0.2
    picture = cv2.imread(str(aligned / "robot_alignment.png"))
    assert ((picture[..., 1] > 240) & (picture[..., 2] < 80)).sum() > 200  # the green edge
    assert (aligned / "robot" / "gripper.ply").is_file()
    assert (aligned / "background.ply").is_file()


def test_a_place_without_an_arm_is_refused(bundle, tmp_path):
    splat, posed = scene(small.write(tmp_path / "empty", small.box()))
    with pytest.raises(BadInput, match="does not overlap with the robot"):
        solve(splat, posed, table_plane.ground(tmp_path / "empty", splat), "so101", Q_RAD, BASE, False)
    full, posed = scene(bundle)
    far = Pose("world", "base", BASE.matrix + 3 * np.eye(4, k=3))
    with pytest.raises(BadInput, match="no camera of the scan looks at"):
        solve(full, posed, table_plane.ground(bundle, full), "so101", Q_RAD, far, False)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"q": "nothing.json", "near": NEAR}, "holds no joint angles"),
        ({"q": "shoulder_pan=x", "near": NEAR}, "are no joint angles"),
        ({"q": "shoulder_pan=nan", "near": NEAR}, "finite"),
        ({"q": "shoulder_pan=0", "near": NEAR}, "no angle for shoulder_lift"),
        ({"q": ",".join(f"{name}=0" for name in so101.JOINTS)}, "--base or --near"),
        ({"q": ",".join(f"{name}=0" for name in so101.JOINTS), "near": "1,2"}, "not x,y,z,yaw_deg"),
    ],
)
def test_bad_flags_are_refused(bundle, flags, words):
    with pytest.raises(BadInput, match=words):
        align(AlignRobot(bundle=bundle, **flags))


def test_joint_angles_come_from_a_file_too(tmp_path):
    (tmp_path / "q.json").write_text('{"elbow_flex": 1.5}')
    assert joint_angles(str(tmp_path / "q.json")) == {"elbow_flex": 1.5}


def test_the_pictures_loss_has_the_gradient_of_its_differences(bundle):
    splat, posed = scene(bundle)
    links = robot_splat.placed_links("so101", BASE, Q_RAD)
    arm = robot_photo.painted(links, splat.select(splat.means_m[:, 2] > 0.005))
    view = posed.training[0]
    T_cam_world = np.linalg.inv(np.array(view.T_world_cam))
    camera = robot_photo.close_up(posed.cameras[view.camera], T_cam_world, arm.means_m.astype(float), 80)
    draw, empty = rasteriser("cpu"), splat.select(np.zeros(len(splat), bool))
    rgb = draw.render(arm, camera, T_cam_world).rgb
    target = robot_photo.Target(camera, T_cam_world, np.roll(rgb, 2, 1), np.ones(rgb.shape[:2], bool))
    loss = robot_photo.PhotoLoss(draw, empty, arm, [target])
    lever = np.array([1.0] * 3 + [0.1] * 3)  # metres, and turns as what they move at 0.1 m
    slope = loss(np.zeros(6))[1] / lever
    steps = 4e-4 * np.eye(6)
    differences = np.array([(loss(step / lever)[0] - loss(-step / lever)[0]) / 8e-4 for step in steps])
    assert slope @ differences > 0.97 * np.linalg.norm(slope) * np.linalg.norm(differences)
    assert np.linalg.norm(slope) == pytest.approx(np.linalg.norm(differences), rel=0.25)


def test_half_a_quaternion_product_is_the_slope_of_a_turn():
    rng = np.random.default_rng(0)
    quat = rng.normal(size=(1, 4))
    slopes = robot_photo.quat_slopes(quat)[0]
    for axis in range(3):
        w, x, y, z = quat[0]
        e = np.eye(3)[axis]
        v = np.array([x, y, z])
        np.testing.assert_allclose(slopes[axis], 0.5 * np.r_[-e @ v, w * e + np.cross(e, v)])


def test_discs_are_small_beside_an_edge():
    flat = np.stack([*np.meshgrid(np.arange(0, 0.02, 0.001), np.arange(0, 0.02, 0.001))], -1).reshape(-1, 2)
    top = np.column_stack([flat, 0 * flat[:, 0]])
    side = np.column_stack([0 * flat[:, 0], flat[:, 0], -flat[:, 1]])
    normals = np.concatenate([np.tile([0.0, 0, 1], (400, 1)), np.tile([-1.0, 0, 0], (400, 1))])
    drawn = robot_splat.discs(np.concatenate([top, side]), normals, np.full((800, 3), 0.5))
    assert isinstance(drawn, Splat)
    assert drawn.scales_m[top[:, 0].argmin(), 0] == pytest.approx(robot_splat.SLIMMEST_M)
    assert drawn.scales_m[top[:, 0].argmax(), 0] == pytest.approx(robot_splat.WIDEST_M)
