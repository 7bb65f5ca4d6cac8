import shutil

import numpy as np
import pytest
import small_contact

from hardware.errors import BadInput
from twin.export import mjcf
from twin.sim import scene
from twin.sim.open import open_simulator


def test_a_twin_before_its_contact_stage_is_refused(tmp_path):
    bundle = small_contact.write(tmp_path / "twin", contact=False)
    with pytest.raises(BadInput, match="no contact yet") as caught:
        open_simulator(bundle)
    assert "tandem twin contact" in caught.value.fix


def test_a_folder_that_is_missing_or_has_no_objects_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no"):
        open_simulator(tmp_path / "nothing")
    with pytest.raises(BadInput, match="no objects"):
        open_simulator(tmp_path)


def test_a_scene_file_that_is_older_than_the_objects_is_refused(tmp_path, armless):
    bundle = tmp_path / "twin"
    shutil.copytree(armless, bundle)
    small_contact.add(bundle, "late", (0.0, 0.1, 0.02), (0.04, 0.04, 0.04), contact=True)
    with pytest.raises(BadInput, match="lacks late"):
        open_simulator(bundle)


def test_a_mesh_without_volume_is_refused(tmp_path, armless):
    bundle = tmp_path / "twin"
    shutil.copytree(armless, bundle)
    mesh = next((bundle / "objects" / "wedge" / "collision").glob("*.obj"))
    rows = [
        "v " + " ".join([*row.split()[1:3], "0.0"]) if row.startswith("v ") else row
        for row in mesh.read_text().splitlines()
    ]
    mesh.write_text("\n".join(rows) + "\n")
    with pytest.raises(BadInput, match=r"volume|qhull|mesh"):
        open_simulator(bundle)


def test_the_panda_stands_in_a_twin_too_and_its_gripper_rests_where_it_is_told(tmp_path):
    from hardware import artefact
    from hardware.bench.arm_models import PANDA
    from hardware.spatial import Pose
    from twin import object_asset
    from twin.object_asset import RobotAsset

    bundle = small_contact.write(tmp_path / "twin")
    base = Pose.from_parts("world", "base", np.eye(3), (-0.5, 0.0, small_contact.Z))
    angles = dict(zip(PANDA.joints, PANDA.home_rad, strict=True))
    robot = RobotAsset(model="panda", T_world_base=object_asset.rows(base), q_rad=angles)
    artefact.write_model(bundle / object_asset.ROBOT, robot)
    mjcf.write(bundle)
    sim = open_simulator(bundle)
    state = sim.reset([sim_start(0.5)])
    assert state.q_rad[0] == pytest.approx(PANDA.home_rad)
    assert state.gripper_open[0] == pytest.approx(0.5, abs=0.1)
    opening = state.gripper_open[0]
    for _ in range(10):
        state = sim.step(np.append(PANDA.home_rad, 0.5)[None])
    assert state.gripper_open[0] == pytest.approx(opening, abs=0.02)
    assert np.abs(state.q_rad[0] - PANDA.home_rad).max() < 5e-3


def sim_start(gripper_open):
    from twin.sim.protocol import Start

    return Start(gripper_open=gripper_open)


def test_a_twin_without_a_robot_gets_a_pusher_over_its_table(armless):
    read = scene.read(armless)
    assert read.hand.model == "pusher"
    assert read.hand.arm is None
    assert read.T_world_base.matrix == pytest.approx(np.eye(4))
