import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdPhysics

from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.export import usd
from twin.sim import isaac_sim, scene
from twin.sim.isaac_sim import IsaacSimSim
from twin.sim.mujoco import MujocoSim
from twin.sim.open import open_simulator
from twin.sim.protocol import Simulator, Start

sys.path.insert(0, str(Path(__file__).parents[1]))

FAKE = Path(__file__).with_name("still_isaac_sim.py")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> scene.SimScene:
    import pushable_twin

    return scene.read(pushable_twin.write(tmp_path_factory.mktemp("twin") / "bundle"))


@pytest.fixture(scope="module")
def simulator(world: scene.SimScene) -> Iterator[IsaacSimSim]:
    found = IsaacSimSim(world, 3, 50.0, command=[sys.executable, str(FAKE)])
    yield found
    found.close()


def test_it_starts_where_mujoco_starts_in_every_clone(world: scene.SimScene, simulator: IsaacSimSim) -> None:
    """Origins of the clones go on and come off; joints and quaternions are in the order that each side means."""
    assert isinstance(simulator, Simulator)
    block = Pose.exp("base", "block", np.array([0.2, 0.05, 0.02, 0.1, 0.2, 0.7]))
    starts = [Start(), Start(q_rad=world.hand.home + 0.1, objects={"block": block}), Start(gripper_open=0.3)]
    known = MujocoSim(world, 3, 1, 50.0).reset(starts)
    found = simulator.reset(starts)
    np.testing.assert_allclose(found.q_rad, known.q_rad, atol=1e-6)
    np.testing.assert_allclose(found.Ts_base_tool, known.Ts_base_tool, atol=1e-6)
    np.testing.assert_allclose(found.gripper_open, known.gripper_open, atol=1e-6)
    for name, poses in known.Ts_base_object.items():
        np.testing.assert_allclose(found.Ts_base_object[name], poses, atol=1e-6)


def test_goals_reach_the_joints_and_time_goes_on(world: scene.SimScene, simulator: IsaacSimSim) -> None:
    simulator.reset([Start()] * 3)
    steps = np.array([[-0.02], [-0.05], [-0.1]])
    action = np.concatenate([world.hand.home + steps, np.full((3, 1), 0.5)], axis=1)
    state = simulator.step(action)
    np.testing.assert_allclose(state.q_rad, action[:, :-1], atol=1e-6)
    np.testing.assert_allclose(state.gripper_open, 0.5, atol=1e-6)
    np.testing.assert_allclose(state.time_s, 0.02)
    assert simulator.reset([Start()], envs=[1]).time_s.tolist() == pytest.approx([0.02, 0.0, 0.02])


def test_pictures_come_in_the_order_asked_for(simulator: IsaacSimSim) -> None:
    for camera in simulator.camera_names:
        rgb = simulator.render(camera, 32, 24, envs=[2, 0])
        assert rgb.dtype == np.uint8
        assert rgb.shape == (2, 24, 32, 3)
        assert rgb[:, 0, 0, 0].tolist() == [2, 0]
        assert rgb[0, 5, :, 1].tolist() == list(range(32))
    with pytest.raises(BadInput, match="no camera 'roof'"):
        simulator.render("roof", 32, 24)


def test_the_stage_has_one_physics_scene_and_the_cell_s_cameras(world: scene.SimScene, tmp_path: Path) -> None:
    usd.write(world.bundle, tmp_path / "scene.usda")
    stage = isaac_sim.one_environment(tmp_path / "scene.usda", world)
    scenes = [prim.GetPath().pathString for prim in stage.Traverse() if prim.IsA(UsdPhysics.Scene)]
    assert scenes == ["/World/physics"]
    assert stage.GetPrimAtPath("/World/envs/env_0/robot").HasAPI(UsdPhysics.ArticulationRootAPI)
    for name, camera in world.cameras.items():
        prim = stage.GetPrimAtPath(f"/World/envs/env_0/{isaac_sim.camera_path(name, camera, world)}")
        frustum = UsdGeom.Camera(prim).GetCamera(Usd.TimeCode.Default())
        lens = camera.camera
        across = np.degrees(2 * np.arctan(lens.width_px / 2 / lens.fx_px))
        assert frustum.GetFieldOfView(frustum.FOVHorizontal) == pytest.approx(across, abs=1e-3)
        T = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(prim)).T
        looks = T[:3, :3] @ [0.0, 0.0, -1.0]
        if camera.mount == "base":
            T_world_cam = world.T_world_base.matrix @ camera.pose.matrix
            np.testing.assert_allclose(looks, T_world_cam[:3, 2], atol=1e-6)
            np.testing.assert_allclose(T[:3, 3], T_world_cam[:3, 3], atol=1e-6)
        else:
            assert UsdPhysics.RigidBodyAPI(prim.GetParent()), "it rides on the link"


def test_a_missing_isaac_sim_is_refused_with_what_to_do(
    world: scene.SimScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(isaac_sim.ENVIRONMENT, raising=False)
    with pytest.raises(BadInput, match="not installed with Tandem"):
        open_simulator(world.bundle, "isaac_sim")
    monkeypatch.setenv(isaac_sim.ENVIRONMENT, str(tmp_path))
    with pytest.raises(BadInput, match=r"neither python\.sh nor the package isaacsim"):
        isaac_sim.worker_command()


@pytest.mark.parametrize(("file", "starts_with"), [("python.sh", "python.sh"), ("wheel", "bin/python")])
def test_both_ways_of_installing_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, starts_with: str
) -> None:
    if file == "wheel":
        (tmp_path / "lib" / "python3.12" / "site-packages" / "isaacsim").mkdir(parents=True)
    else:
        (tmp_path / file).touch()
    monkeypatch.setenv(isaac_sim.ENVIRONMENT, str(tmp_path))
    command = isaac_sim.worker_command()
    assert command[0] == str(tmp_path / starts_with)
    assert [Path(part).name for part in command[2:]] == ["isaac_lab_worker.py", "isaac_sim_worker.py"]


def test_tandem_never_answers_for_a_licence() -> None:
    for module in (isaac_sim, isaac_sim.isaac_sim_worker, isaac_sim.isaac_lab_worker):
        assert "EULA" not in Path(str(module.__file__)).read_text()
