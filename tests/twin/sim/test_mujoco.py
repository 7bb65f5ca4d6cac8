import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.kinematics import so101_kinematics
from hardware.spatial import Pose
from twin.sim.open import open_simulator
from twin.sim.protocol import Simulator, Start


def holding(sim, state):
    return np.column_stack([state.q_rad, state.gripper_open])


def pushed(sim, steps=30, away_m=0.12):
    """The pusher goes down beside the brick (at 0.1, 0.05) and pushes it along +x."""
    state = sim.reset([Start(q_rad=np.array([0.03, 0.05, 0.02]))] * sim.n_envs)
    states = [state]
    for number in range(steps):
        action = np.array([0.03 + away_m * min(1, (number + 1) / 20), 0.05, 0.02, 0.0])
        states.append(sim.step(np.tile(action, (sim.n_envs, 1))))
    return states


def test_a_bundle_opens_with_its_names(armed):
    sim = open_simulator(armed, n_envs=2)
    assert isinstance(sim, Simulator)
    assert sim.joint_names == ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
    assert sim.object_names == ("brick", "wedge")
    assert sim.camera_names == ("scan", "cam_wrist")


def test_objects_start_where_the_scan_saw_them_in_the_base_frame_and_rest(armed):
    sim = open_simulator(armed)
    state = sim.state()
    # base stands at (-0.3, 0.2, -0.003 + 0.0024), brick at (0.1, 0.05, -0.003 + 0.025), both unturned
    expected = np.array([0.4, -0.15, 0.025 - 0.0024])
    assert state.Ts_base_object["brick"][0, :3, 3] == pytest.approx(expected, abs=1e-9)
    for _ in range(10):
        after = sim.step(holding(sim, state))
    assert after.time_s[0] == pytest.approx(0.5)
    assert np.abs(after.Ts_base_object["brick"][0] - state.Ts_base_object["brick"][0]).max() < 1e-3


def test_the_tool_is_where_the_arms_kinematics_say(armed):
    sim = open_simulator(armed)
    q_rad = np.array([0.3, -0.6, 0.4, 0.9, 0.2])
    state = sim.reset([Start(q_rad=q_rad)])
    # the kinematic model's jaws stand ajar; the tip sits on the fixed one
    assert state.Ts_base_tool[0] == pytest.approx(so101_kinematics().T_base_tip(q_rad).matrix, abs=1e-6)


def test_the_arm_goes_where_it_is_told_and_its_gripper_closes(armed):
    sim = open_simulator(armed)
    goal = sim.state().q_rad + np.array([[0.2, 0.1, -0.1, -0.1, 0.3]])
    for _ in range(20):
        state = sim.step(np.column_stack([goal, [0.25]]))
    assert np.abs(state.q_rad - goal).max() < 0.02
    assert state.gripper_open[0] == pytest.approx(0.25, abs=0.02)


def test_a_pushed_brick_goes_along_and_the_touch_is_seen(armless):
    states = pushed(open_simulator(armless))
    brick = np.array([state.Ts_base_object["brick"][0, :3, 3] for state in states])
    # the rod's middle ends at x = 0.15: with its radius of 12 mm and the brick's half of 30 mm the brick is at 0.192
    assert brick[-1, 0] == pytest.approx(0.192, abs=0.006)
    assert abs(brick[-1, 2] - brick[0, 2]) < 1e-3
    assert not states[0].touching[0]
    assert any(state.touching[0] for state in states)
    assert max(state.penetration_m[0] for state in states) < 2e-3


def test_neither_the_number_of_environments_nor_of_threads_changes_a_state(armless):
    one = pushed(open_simulator(armless, n_envs=1, threads=1), steps=12)
    many = pushed(open_simulator(armless, n_envs=5, threads=2), steps=12)
    again = pushed(open_simulator(armless, n_envs=3, threads=3), steps=12)
    for a, b, c in zip(one, many, again, strict=True):
        for name in ("brick", "wedge"):
            assert (b.Ts_base_object[name] == a.Ts_base_object[name][0]).all()
            assert (c.Ts_base_object[name] == a.Ts_base_object[name][0]).all()
        assert (b.q_rad == a.q_rad[0]).all()


def test_environments_are_reset_one_by_one(armless):
    sim = open_simulator(armless, n_envs=3)
    pushed(sim, steps=4)
    placed = Pose.from_parts("base", "brick", np.eye(3), (0.2, -0.1, 0.022))
    state = sim.reset([Start(objects={"brick": placed})], envs=[1])
    assert state.time_s == pytest.approx([0.2, 0.0, 0.2])
    assert state.Ts_base_object["brick"][1] == pytest.approx(placed.matrix, abs=1e-12)
    assert state.q_rad[1] == pytest.approx(sim.scene.hand.home)


def test_a_state_is_the_callers_own(armless):
    sim = open_simulator(armless)
    before = sim.state()
    kept = before.q_rad.copy()
    sim.step(np.array([[0.1, 0.1, 0.1, 0.0]]))
    assert (before.q_rad == kept).all()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros((2, 3)), "shape"),
        (np.zeros((1, 4)), "shape"),
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), "environment 1 has nan in column 1"),
    ],
)
def test_a_wrong_action_is_refused_by_name(armless, action, words):
    with pytest.raises(BadInput, match=words):
        open_simulator(armless, n_envs=2).step(action)


def test_unknown_names_are_refused_with_the_choices(armless):
    sim = open_simulator(armless)
    with pytest.raises(BadInput, match=r"no object 'cup'.*brick, wedge"):
        sim.reset([Start(objects={"cup": Pose.identity("base", "cup")})])
    with pytest.raises(BadInput, match=r"no object 'cup'"):
        sim.reset([Start(speeds_m_s={"cup": np.zeros(3)})])
    with pytest.raises(BadInput, match="speed of 'brick'"):
        sim.reset([Start(speeds_m_s={"brick": np.full(3, np.nan)})])
    with pytest.raises(BadInput, match="T_world_brick"):
        sim.reset([Start(objects={"brick": Pose.identity("world", "brick")})])
    with pytest.raises(BadInput, match=r"no camera 'cam_top'.*scan"):
        sim.render("cam_top", 32, 32)
    with pytest.raises(BadInput, match="no environment 1"):
        sim.reset([Start()], envs=[1])
    with pytest.raises(BadInput, match="no engine 'bullet'"):
        open_simulator(armless, engine="bullet")
