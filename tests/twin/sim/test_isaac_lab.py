import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.sim import isaac_lab, isaac_lab_worker, scene
from twin.sim.isaac_lab import IsaacLabFailed, IsaacLabSim
from twin.sim.mujoco import MujocoSim
from twin.sim.protocol import Simulator, Start

sys.path.insert(0, str(Path(__file__).parents[1]))

FAKE = Path(__file__).with_name("still_isaac_lab.py")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> scene.SimScene:
    import pushable_twin

    return scene.read(pushable_twin.write(tmp_path_factory.mktemp("twin") / "bundle"))


@pytest.fixture(scope="module")
def simulator(world: scene.SimScene) -> Iterator[IsaacLabSim]:
    found = IsaacLabSim(world, 2, 50.0, command=[sys.executable, str(FAKE)])
    yield found
    found.close()


def test_messages_come_back_as_they_were() -> None:
    stream = io.BytesIO()
    sent = {"q": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 7))}
    isaac_lab_worker.write_message(stream, {"op": "step", "envs": [1]}, sent)
    stream.seek(0)
    message = isaac_lab_worker.read_message(stream)
    assert message is not None
    assert message[0] == {"op": "step", "envs": [1]}
    for name, values in sent.items():
        np.testing.assert_array_equal(message[1][name], values)
    assert isaac_lab_worker.read_message(stream) is None


def test_a_torn_message_is_refused() -> None:
    stream = io.BytesIO()
    isaac_lab_worker.write_message(stream, {"op": "step"}, {"q": np.zeros(4)})
    with pytest.raises(ValueError, match="ended within 'q'"):
        isaac_lab_worker.read_message(io.BytesIO(stream.getvalue()[:-1]))
    with pytest.raises(ValueError, match="no message"):
        isaac_lab_worker.read_message(io.BytesIO(b"[1]\n"))


def test_quaternions_are_turned_round_and_origins_taken_off() -> None:
    pose = np.array([[5.0, 1.0, 2.0, 0.1, 0.2, 0.3, 0.9]])  # xyzw
    local = isaac_lab_worker.local_wxyz(pose, np.array([[4.0, 0.0, 0.0]]))
    np.testing.assert_allclose(local, [[1.0, 1.0, 2.0, 0.9, 0.1, 0.2, 0.3]])


def test_the_first_message_must_open_a_scene() -> None:
    asked, answered = io.BytesIO(), io.BytesIO()
    isaac_lab_worker.write_message(asked, {"op": "step"}, {"goals": np.zeros((1, 6))})
    asked.seek(0)
    isaac_lab_worker.serve(asked, answered)
    answered.seek(0)
    message = isaac_lab_worker.read_message(answered)
    assert message is not None
    assert not message[0]["ok"]
    assert "must be 'open'" in message[0]["error"]


def test_it_starts_where_mujoco_starts(world: scene.SimScene, simulator: IsaacLabSim) -> None:
    """The frames of wire and MuJoCo agree: the tool and every thing are where MuJoCo puts them."""
    assert isinstance(simulator, Simulator)
    block = Pose.exp("base", "block", np.array([0.2, 0.05, 0.02, 0.0, 0.0, 0.7]))
    starts = [Start(), Start(q_rad=world.hand.home + 0.1, objects={"block": block})]
    known = MujocoSim(world, 2, 1, 50.0).reset(starts)
    found = simulator.reset(starts)
    np.testing.assert_allclose(found.q_rad, known.q_rad, atol=1e-9)
    np.testing.assert_allclose(found.Ts_base_tool, known.Ts_base_tool, atol=1e-6)
    np.testing.assert_allclose(found.gripper_open, known.gripper_open, atol=1e-6)
    for name, poses in known.Ts_base_object.items():
        np.testing.assert_allclose(found.Ts_base_object[name], poses, atol=1e-6)


def test_a_speed_of_a_start_reaches_its_thing_in_the_worlds_axes(
    world: scene.SimScene, simulator: IsaacLabSim
) -> None:
    """The stand-in adds the speed to the place: in the base frame that is the speed that was given."""
    still = simulator.reset([Start()] * 2).Ts_base_object
    moved = simulator.reset([Start(), Start(speeds_m_s={"brick": np.array([0.1, -0.2, 0.3])})]).Ts_base_object
    went = {name: moved[name][:, :3, 3] - still[name][:, :3, 3] for name in moved}
    np.testing.assert_allclose(went["brick"], [[0, 0, 0], [0.1, -0.2, 0.3]], atol=1e-6)
    np.testing.assert_allclose(went["block"], 0.0, atol=1e-6)


def test_goals_reach_the_joints_and_time_goes_on(world: scene.SimScene, simulator: IsaacLabSim) -> None:
    simulator.reset([Start()] * 2)
    action = np.tile(np.append(world.hand.home - 0.05, 0.5), (2, 1))
    state = simulator.step(action)
    np.testing.assert_allclose(state.q_rad, action[:, :-1])
    np.testing.assert_allclose(state.gripper_open, 0.5)
    np.testing.assert_allclose(state.time_s, 0.02)
    assert simulator.reset([Start()], envs=[1]).time_s.tolist() == pytest.approx([0.02, 0.0])


def test_what_isaac_lab_complains_of_is_passed_on(world: scene.SimScene, simulator: IsaacLabSim) -> None:
    with pytest.raises(IsaacLabFailed, match="the solver diverged"):
        simulator.step(np.tile(np.append(world.hand.home, 1.0), (2, 1)) * 10)


def test_a_process_that_ends_is_named(world: scene.SimScene) -> None:
    with pytest.raises(IsaacLabFailed, match=r"ended at 'open'|broke off"):
        IsaacLabSim(world, command=[sys.executable, "-c", "pass"])


def test_the_servos_of_the_model_go_along(world: scene.SimScene) -> None:
    model = world.compile()
    found = isaac_lab.servo_settings(model, isaac_lab.driven(model))
    assert len(found) == 6
    pan = found["joint_arm_shoulder"]
    servo = model.actuator("arm_shoulder_pan").id
    assert pan["stiffness"] == pytest.approx(model.actuator_gainprm[servo, 0])
    assert pan["armature"] == pytest.approx(0.028)


def test_a_missing_environment_and_a_twin_without_a_robot_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pushable_twin

    monkeypatch.setenv(isaac_lab.ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="environment of its own"):
        isaac_lab.worker_command()
    pusher = scene.read(pushable_twin.write(tmp_path / "bundle", robot=False))
    with pytest.raises(BadInput, match="twin with a robot"):
        IsaacLabSim(pusher, command=[sys.executable, str(FAKE)])
