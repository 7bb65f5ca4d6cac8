"""Readings refuse what no device should hand out; a small real arm satisfies the port."""

import subprocess
import sys

import numpy as np
import pytest

from hardware.ports import Arm, CameraImage, DeviceLost, JointReading


class StillArm:
    """An arm whose joints are at once where they are asked to be, in steps of its encoder."""

    names = ("shoulder", "elbow")
    tick_rad = 0.01

    def __init__(self) -> None:
        self.q_rad = np.zeros(2)
        self.open = True

    def read(self) -> JointReading:
        if not self.open:
            raise DeviceLost("the arm is closed")
        return JointReading(0, self.names, self.q_rad.copy())

    def send(self, q_rad: np.ndarray) -> np.ndarray:
        if q_rad.shape != (2,) or not np.isfinite(q_rad).all():
            raise ValueError(f"two finite angles, not {q_rad}")
        self.q_rad = np.round(q_rad / self.tick_rad) * self.tick_rad
        return self.q_rad.copy()

    def stop(self) -> None:
        pass

    def close(self) -> None:
        self.open = False


def test_a_class_with_the_right_methods_is_an_arm_without_inheriting():
    assert isinstance(StillArm(), Arm)
    assert not isinstance(object(), Arm)


def test_what_was_really_sent_is_what_the_arm_then_reads():
    arm = StillArm()
    sent = arm.send(np.array([0.1234, -0.5]))
    np.testing.assert_array_equal(arm.read().q_rad, sent)
    assert sent[0] == pytest.approx(0.12)


@pytest.mark.parametrize("field", ["q_rad", "dq_rad_s", "effort_nm"])
@pytest.mark.parametrize("bad", [np.array([0.0, np.nan]), np.array([np.inf, 0.0])])
def test_a_reading_that_is_not_finite_is_refused(field, bad):
    values = {"q_rad": np.zeros(2)} | {field: bad}
    with pytest.raises(ValueError, match=f"{field} has a value that is not finite"):
        JointReading(0, ("a", "b"), **values)


def test_a_reading_with_too_few_angles_or_a_repeated_name_is_refused():
    with pytest.raises(ValueError, match="q_rad has shape"):
        JointReading(0, ("a", "b", "c"), np.zeros(2))
    with pytest.raises(ValueError, match="repeat"):
        JointReading(0, ("a", "a"), np.zeros(2))


def test_a_picture_is_bytes_of_three_channels():
    assert CameraImage(5, np.zeros((4, 6, 3), np.uint8)).rgb.shape == (4, 6, 3)


def test_ports_and_limits_bring_no_heavy_library():
    code = (
        "import sys, hardware.ports, hardware.limits; "
        "print([m for m in ('torch', 'mujoco', 'cv2', 'scipy', 'lerobot', 'numba', 'rclpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
