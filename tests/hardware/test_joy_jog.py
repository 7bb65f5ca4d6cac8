"""A person's gamepad moves the arm only while the dead-man button is held, and never makes the target leap."""

import numpy as np
import pytest

from hardware.joy_jog import JoyConfig, JoyJog, Pad
from hardware.ports import JointReading

CONFIG = JoyConfig(joint_axes=(0, 1), speed_rad_s=0.5, gripper_speed_hz=1.0)
HELD = (0, 0, 0, 0, 1)
STEP_NS = 20_000_000


def reading(*q_rad: float) -> JointReading:
    return JointReading(1, ("a", "b"), np.array(q_rad))


def drive(jog: JoyJog, steps: int, axes: tuple[float, ...], buttons: tuple[int, ...], start_ns: int = 0) -> int:
    for step in range(1, steps + 1):
        now_ns = start_ns + step * STEP_NS
        jog.hear(Pad(now_ns, axes, buttons))
        jog.wish(now_ns, reading(0.0, 0.0), 0.5)
    return now_ns


def test_nobody_intervenes_without_the_dead_man_button() -> None:
    jog = JoyJog(CONFIG)
    jog.hear(Pad(0, (1.0, 1.0), (1, 1, 1, 1, 0)))
    assert jog.wish(1, reading(0.0, 0.0), 0.5) is None
    jog.hear(Pad(0, (1.0, 1.0), ()))
    assert jog.wish(1, reading(0.0, 0.0), 0.5) is None


def test_a_silent_gamepad_has_let_go() -> None:
    jog = JoyJog(CONFIG)
    jog.hear(Pad(0, (1.0, 0.0), HELD))
    assert jog.wish(100_000_000, reading(0.0, 0.0), 0.5) is not None
    assert jog.wish(300_000_000, reading(0.0, 0.0), 0.5) is None


def test_a_stick_turns_its_joint_at_its_speed_and_a_small_tilt_does_nothing() -> None:
    jog = JoyJog(CONFIG)
    now_ns = drive(jog, 51, (1.0, 0.05), HELD)
    wish = jog.wish(now_ns, reading(9.0, 9.0), 0.5)
    assert wish is not None
    # 50 steps of 0.02 s at 0.5 rad/s after the first, from where the arm was at the press
    np.testing.assert_allclose(wish.q_rad, [0.5, 0.0], atol=1e-9)


def test_buttons_open_and_close_the_gripper_within_its_ends() -> None:
    jog = JoyJog(CONFIG)
    now_ns = drive(jog, 11, (0.0, 0.0), (0, 1, 0, 0, 1))
    wish = jog.wish(now_ns, reading(0.0, 0.0), 0.5)
    assert wish is not None
    assert wish.gripper_open == pytest.approx(0.5 + 10 * 0.02)
    now_ns = drive(jog, 100, (0.0, 0.0), (1, 0, 0, 0, 1), now_ns)
    wish = jog.wish(now_ns, reading(0.0, 0.0), 0.5)
    assert wish is not None
    assert wish.gripper_open == 0.0


def test_a_pause_or_a_broken_axis_does_not_make_the_target_leap() -> None:
    jog = JoyJog(CONFIG)
    now_ns = drive(jog, 2, (0.0, 0.0), HELD)
    jog.hear(Pad(now_ns + 5_000_000_000, (float("nan"), 1000.0), HELD))
    wish = jog.wish(now_ns + 5_000_000_000, reading(0.0, 0.0), 0.5)
    assert wish is not None
    np.testing.assert_allclose(wish.q_rad, [0.0, 0.05])  # 0.1 s at most


def test_pressing_again_starts_from_where_the_arm_is_then() -> None:
    jog = JoyJog(CONFIG)
    now_ns = drive(jog, 30, (1.0, 0.0), HELD)
    jog.hear(Pad(now_ns, (0.0, 0.0), ()))
    assert jog.wish(now_ns, reading(0.0, 0.0), 0.5) is None
    jog.hear(Pad(now_ns + STEP_NS, (0.0, 0.0), HELD))
    wish = jog.wish(now_ns + STEP_NS, reading(-1.0, 0.3), 0.5)
    assert wish is not None
    np.testing.assert_allclose(wish.q_rad, [-1.0, 0.3])
