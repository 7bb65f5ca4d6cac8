"""A SpaceMouse at the level of its HID reports; the tool moves only while its button is held."""

import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.kinematics import so101_kinematics
from hardware.page.jog import Jog
from hardware.ports import JointReading
from hardware.spacemouse import Deflected, SpaceMouse, decoded
from hardware.spacemouse_jog import SpaceMouseJog
from hardware.teleop_config import SpaceMouseConfig

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
Q = np.array([0.0, -0.87, 0.47, 1.5, 0.0])
STEP_NS = 20_000_000


class FakeHid:
    """Hands out reports one by one, as hidapi does; then nothing, or the device is pulled out."""

    def __init__(self, *reports: bytes) -> None:
        self.reports = list(reports)
        self.is_gone = False
        self._lock = threading.Lock()

    def read(self, size: int, timeout_ms: int = 0) -> list[int]:
        with self._lock:
            if self.is_gone:
                raise OSError("read error")
            if self.reports:
                return list(self.reports.pop(0)[:size])
        time.sleep(0.001)
        return []

    def close(self) -> None:
        self.is_gone = True


def move(right: int = 0, back: int = 0, down: int = 0) -> bytes:
    return b"\x01" + struct.pack("<3h", right, back, down)


def until(mouse: SpaceMouse, wanted: Deflected) -> None:
    end_s = time.monotonic() + 5
    while mouse.newest() != wanted and time.monotonic() < end_s:
        time.sleep(0.002)
    assert mouse.newest() == wanted


def test_reports_of_translation_rotation_and_buttons_add_up() -> None:
    """350 is full deflection: -175 away from the person is half of it forwards."""
    held = decoded(Deflected(), move(back=-175))
    assert (held.x, held.y, held.z) == (0.5, 0.0, 0.0)
    held = decoded(held, b"\x02" + struct.pack("<3h", 0, 0, -350))
    assert (held.x, held.yaw) == (0.5, 1.0)
    held = decoded(held, b"\x03\x03")
    assert (held.x, held.yaw, held.buttons) == (0.5, 1.0, 3)


def test_newer_devices_send_all_six_at_once() -> None:
    held = decoded(Deflected(), b"\x01" + struct.pack("<6h", 350, 0, -350, -70, 0, 0))
    assert (held.y, held.z, held.pitch) == (-1.0, 1.0, pytest.approx(0.2))


@given(st.binary(max_size=20))
def test_any_bytes_give_deflections_within_their_range(report: bytes) -> None:
    held = decoded(Deflected(x=0.25), report)
    values = (held.x, held.y, held.z, held.roll, held.pitch, held.yaw)
    assert all(-1 <= value <= 1 for value in values)


def test_the_tool_moves_forward_only_while_the_left_button_is_held() -> None:
    model = so101_kinematics()
    jog = Jog(NAMES, np.full(5, -2.0), np.full(5, 2.0), model)
    device = FakeHid(move(back=-350))
    mouse = SpaceMouse(device)
    hands = SpaceMouseJog(SpaceMouseConfig(speed=1.0), jog, mouse)
    until(mouse, Deflected(x=1.0))
    assert hands.wish(STEP_NS, JointReading(1, NAMES, Q), 0.9) is None
    device.reports.append(b"\x03\x01")
    until(mouse, Deflected(x=1.0, buttons=1))
    before, q_rad = model.T_base_tip(Q).translation_m, Q
    for step in range(2, 40):
        wish = hands.wish(step * STEP_NS, JointReading(1, NAMES, q_rad), 0.9)
        assert wish is not None
        q_rad = wish.q_rad
    moved_mm = 1e3 * (model.T_base_tip(q_rad).translation_m - before)
    assert moved_mm[0] > 20
    assert np.abs(moved_mm[1:]).max() < 5
    device.reports.append(b"\x03\x03")  # the right button, too: the gripper closes
    until(mouse, Deflected(x=1.0, buttons=3))
    openings = [hands.wish(step * STEP_NS, JointReading(1, NAMES, q_rad), 0.9) for step in range(40, 60)]
    assert openings[-1] is not None
    assert openings[-1].gripper_open is not None
    assert openings[-1].gripper_open < 0.7
    device.is_gone = True
    end_s = time.monotonic() + 5
    while hands.wish(61 * STEP_NS, JointReading(1, NAMES, q_rad), 0.9) is not None:
        assert time.monotonic() < end_s, "a device that was pulled out has let go"
        time.sleep(0.002)
    mouse.close()
