"""A bundle's scene.xml loads in MuJoCo; what stands keeps standing, what is lifted falls and comes to rest."""

import re

import mujoco
import numpy as np
import pytest
import small_contact

from hardware.errors import BadInput
from twin import object_asset
from twin.export import mjcf


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = small_contact.write(tmp_path_factory.mktemp("mjcf") / "twin")
    mjcf.write(folder)
    return folder


def test_bodies_stand_where_the_bundle_says_with_its_masses(bundle):
    model = mjcf.load(bundle)
    data = mjcf.at_scan(model, None)
    for asset in object_asset.objects(bundle):
        body = model.body(asset.name)
        np.testing.assert_allclose(data.body(asset.name).xpos, asset.pose.translation_m, atol=1e-6)
        assert body.mass[0] == pytest.approx(asset.mass_kg, rel=1e-6)
    geom = model.geom("brick_0")
    np.testing.assert_allclose(geom.size, [0.03, 0.02, 0.025])
    assert geom.friction[0] == 0.5
    assert geom.priority[0] > model.geom("table").priority[0]


def test_a_lifted_box_drops_and_rests_on_the_table(bundle):
    model = mjcf.load(bundle)
    data = mjcf.at_scan(model, None)
    joint = model.joint("brick").qposadr[0]
    start = data.qpos[joint + 2]
    data.qpos[joint + 2] += 0.05
    for _ in range(1000):
        mujoco.mj_step(model, data)
    assert data.qpos[joint + 2] == pytest.approx(start, abs=5e-4)
    assert np.abs(data.qvel[model.joint("brick").dofadr[0] :][:6]).max() < 1e-3


def test_the_bundle_can_be_moved(bundle, tmp_path):
    import shutil

    moved = shutil.copytree(bundle, tmp_path / "elsewhere")
    assert mjcf.load(moved).nbody == mjcf.load(bundle).nbody


def test_the_robot_stands_at_its_base_with_the_scans_angles(tmp_path):
    folder = small_contact.write(tmp_path / "twin", robot=True)
    mjcf.write(folder)
    model, robot = mjcf.load(folder), object_asset.robot(folder)
    assert robot is not None
    data = mjcf.at_scan(model, robot)
    at = data.joint("arm_elbow_flex").qpos[0]
    assert at == pytest.approx(robot.q_rad["elbow_flex"])
    base = next(model.body(i).name for i in range(model.nbody) if model.body(i).name.startswith("arm_"))
    assert np.linalg.norm(data.body(base).xpos - robot.pose.translation_m) < 0.05
    files = re.findall(r'file="([^"]+)"', (folder / "scene.xml").read_text())
    assert any(file.startswith("robot/assets/") for file in files)
    assert not any(file.startswith("/") for file in files)


def test_what_has_no_contact_yet_is_refused(tmp_path):
    folder = small_contact.write(tmp_path / "twin", contact=False)
    with pytest.raises(BadInput, match="no contact yet"):
        mjcf.write(folder)
    with pytest.raises(BadInput, match=r"has no scene\.xml"):
        mjcf.load(folder)


def test_a_missing_piece_is_named(bundle, tmp_path):
    import shutil

    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "objects" / "wedge" / "collision" / "000.obj").unlink()
    with pytest.raises(BadInput, match=r"000\.obj"):
        mjcf.write(broken)
