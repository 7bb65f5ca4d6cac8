"""The URDF stands its links where MuJoCo stands them, for any joint angles."""

from pathlib import Path
from urllib.parse import urlparse
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hardware.bench.arm_models import ARMS
from hardware.urdf import urdf


def placed(robot: ElementTree.Element, angles: dict[str, float]) -> dict[str, ndarray]:
    """T_root_link of every link, by URDF's own rules."""
    joints = {joint.find("child").get("link"): joint for joint in robot.findall("joint")}  # type: ignore[union-attr]
    found: dict[str, ndarray] = {}
    for link in [link.get("name") for link in robot.findall("link")]:
        joint = joints.get(link)
        if joint is None:
            found[link] = np.eye(4)
            continue
        T = np.eye(4)
        origin, axis = joint.find("origin"), joint.find("axis")
        T[:3, 3] = np.fromstring(origin.get("xyz"), sep=" ")  # type: ignore[union-attr]
        T[:3, :3] = Rotation.from_euler("xyz", np.fromstring(origin.get("rpy"), sep=" ")).as_matrix()  # type: ignore[union-attr]
        if axis is not None:
            turn = np.fromstring(axis.get("xyz"), sep=" ") * angles[joint.get("name")]
            T[:3, :3] = T[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()
        found[link] = found[joint.find("parent").get("link")] @ T  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("name", ["so101"])
def test_links_stand_where_mujoco_stands_them(name: str) -> None:
    spec = ARMS[name].spec()
    robot = ElementTree.fromstring(urdf(spec, name))
    model = spec.compile()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(3)
    for _ in range(5):
        data.qpos[:] = rng.uniform(*model.jnt_range.T)
        mujoco.mj_kinematics(model, data)
        angles = {model.joint(number).name: float(data.qpos[number]) for number in range(model.njnt)}
        links = placed(robot, angles)
        root = model.body(1)
        T_world_root = np.eye(4)
        T_world_root[:3, :3], T_world_root[:3, 3] = data.xmat[root.id].reshape(3, 3), data.xpos[root.id]
        for number in range(1, model.nbody):
            T = T_world_root @ links[model.body(number).name]
            np.testing.assert_allclose(T[:3, 3], data.xpos[number], atol=1e-7)
            np.testing.assert_allclose(T[:3, :3], data.xmat[number].reshape(3, 3), atol=1e-7)


def test_every_mesh_is_on_this_machine() -> None:
    robot = ElementTree.fromstring(urdf(ARMS["so101"].spec(), "so101"))
    files = [mesh.get("filename") for mesh in robot.iter("mesh")]
    assert len(files) > 5
    assert all(Path(urlparse(file).path).is_file() for file in files)
