"""What is held moves the target as far as time, speed and the arm's ranges say, by joint and by tool."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.bench.arm_models import SO101
from hardware.kinematics import Kinematics, so101_kinematics
from hardware.page.jog import Jog, JogConfig

MS = 1_000_000
HOME = np.array(SO101.home_rad)
STEADY = 25 * MS


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return so101_kinematics()


def so101(kinematics: Kinematics | None = None) -> Jog:
    jog = Jog(SO101.joints, np.full(5, -1.9), np.full(5, 1.9), kinematics)
    jog.begin(HOME, 0.5)
    return jog


def hold(jog: Jog, mode: str, axes: dict[str, float], seconds: float, speed: float = 1.0) -> np.ndarray:
    """The arm follows at once."""
    q_rad = HOME
    for step in range(round(seconds / 0.025)):
        q_rad = jog.move(step * STEADY, "tool" if mode == "tool" else "joint", axes, 0.0, speed, q_rad).q_rad
    return q_rad


def test_a_joint_turns_at_its_speed_and_no_other_does() -> None:
    moved = hold(so101(), "joint", {"elbow_flex": 1.0}, 1.0, speed=0.5) - HOME
    # 0.8 rad/s at half speed for one second, speeding up by at most 0.8 / 0.12 rad/s²
    steps_rad_s = np.minimum(0.4, np.arange(1, 41) * 0.025 * 0.8 / 0.12)
    assert moved == pytest.approx([0, 0, 0.025 * steps_rad_s.sum(), 0, 0])


def test_a_wish_tells_how_fast_it_moves_and_a_joint_at_its_end_does_not() -> None:
    jog = so101()
    jog.begin(np.array([0, 0, 0, 0, 1.9]), 0.5)
    q_rad = np.array([0, 0, 0, 0, 1.9])
    for step in range(20):
        wish = jog.move(step * STEADY, "joint", {"elbow_flex": 1.0, "wrist_roll": 1.0}, 0.0, 1.0, q_rad)
        q_rad = wish.q_rad
    assert wish.dq_rad_s == pytest.approx([0, 0, 0.8, 0, 0])


def test_a_key_let_go_and_pressed_again_begins_slowly_again() -> None:
    jog = so101()
    hold(jog, "joint", {"elbow_flex": 1.0}, 1.0)
    jog.begin(HOME, 0.5)
    wish = jog.move(10_000 * MS, "joint", {"elbow_flex": 1.0}, 0.0, 1.0, HOME)
    assert wish.q_rad[2] - HOME[2] == pytest.approx(0.025 * 0.025 * 0.8 / 0.12)


def test_the_tool_goes_straight(kinematics: Kinematics) -> None:
    q_rad = hold(so101(kinematics), "tool", {"z": 1.0}, 0.5)
    way_m = kinematics.T_base_tip(q_rad).translation_m - kinematics.T_base_tip(HOME).translation_m
    # at most 0.12 m/s for half a second; from here the elbow's speed allows two thirds of that
    assert 0.035 < way_m[2] <= 0.06
    assert np.abs(way_m[:2]).max() < 0.1 * way_m[2]


def test_a_joint_at_its_end_bends_the_tools_path_as_little_as_the_others_allow(kinematics: Kinematics) -> None:
    """At home the wrist stands 0.03 rad before its end, and going up would turn it on."""
    upper_rad = np.array([1.9, 1.9, 1.9, HOME[3] + 0.01, 1.9])
    jog = Jog(SO101.joints, np.full(5, -1.9), upper_rad, kinematics)
    jog.begin(HOME, 0.5)
    q_rad = hold(jog, "tool", {"z": 1.0}, 0.5)
    way_m = kinematics.T_base_tip(q_rad).translation_m - kinematics.T_base_tip(HOME).translation_m
    assert way_m[2] > 0.03
    assert np.abs(way_m[:2]).max() < 0.15 * way_m[2]


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_no_joint_is_faster_than_its_speed_in_tool_mode(way: list[float]) -> None:
    jog = so101(SHARED)
    axes = dict(zip(("x", "y", "z", "roll", "pitch", "yaw"), way, strict=True))
    wish = jog.move(0, "tool", axes, 0.0, 1.0, HOME)
    assert np.abs(wish.q_rad - HOME).max() <= 0.8 * 0.025 + 1e-9


def test_a_long_pause_makes_no_leap() -> None:
    jog = so101()
    q_rad = hold(jog, "joint", {"elbow_flex": 1.0}, 0.5)
    before = jog.target
    after = jog.move(5_000 * MS, "joint", {"elbow_flex": 1.0}, 0.0, 1.0, q_rad)
    assert before is not None
    assert after.q_rad[2] - before.q_rad[2] == pytest.approx(0.8 * 0.1)


def test_the_target_does_not_run_away_from_an_arm_that_is_held_back() -> None:
    jog = so101()
    for step in range(200):
        wish = jog.move(step * STEADY, "joint", {"elbow_flex": 1.0}, 0.0, 1.0, HOME)
    assert wish.q_rad[2] == pytest.approx(HOME[2] + JogConfig().leash_rad)


def test_the_end_of_a_range_is_said() -> None:
    jog = so101()
    jog.begin(np.array([0, 0, 0, 0, 1.8999]), 0.5)
    wish = jog.move(0, "joint", {"wrist_roll": 1.0}, 0.0, 1.0, np.array([0, 0, 0, 0, 1.8999]))
    assert wish.q_rad[4] == 1.9
    assert jog.at_end == ("wrist_roll",)


def test_the_gripper_opens_and_closes_within_its_range() -> None:
    jog = so101()
    for step in range(30):
        wish = jog.move(step * STEADY, "joint", {}, 1.0, 1.0, HOME)
    # half open, 0.75 s at one opening per second
    assert wish.gripper_open == 1.0
    assert (wish.q_rad == HOME).all()


def test_what_is_no_number_moves_nothing() -> None:
    wish = so101().move(0, "joint", {"elbow_flex": float("nan")}, float("inf"), 1.0, HOME)
    assert (wish.q_rad == HOME).all()
    assert wish.gripper_open == 0.5


def test_an_arm_without_a_model_is_driven_by_joint_alone(kinematics: Kinematics) -> None:
    assert so101().modes == ("joint",)
    assert so101(kinematics).modes == ("tool", "joint")


SHARED = so101_kinematics()
