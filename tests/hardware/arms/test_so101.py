"""The SO-101's driver against servos faked at the serial packet: it moves, and names every fault in time."""

import json
import math
import time

import numpy as np
import pytest
from fake_feetech_bus import CELSIUS, GOAL, HIGH, LOW, OFFSET, PHASE, STATUS, TORQUE, FakeFeetechBus
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

from hardware import cell as cells
from hardware import devices
from hardware.arms import servo_bus, so101
from hardware.arms.servo_bus import JOINTS, SERVOS
from hardware.arms.so101 import RAD_PER_TICK
from hardware.errors import BadInput
from hardware.ports import TIMEOUT_S, Arm, DeviceLost, Gripper

SOON_S = 3.0
"""Within this a fault must be known, on a machine that is busy with other tests; measured on an idle one: 0.1 s."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """The fake shares the machine with everything else; a servo answers within microseconds whatever runs here."""
    monkeypatch.setattr(servo_bus, "REPLY_TIMEOUT_S", 0.15)
    monkeypatch.setattr(servo_bus, "SETUP_TIMEOUT_S", 0.4)
    monkeypatch.setattr(so101, "STALE_S", 2.0)


@pytest.fixture
def bus():
    with FakeFeetechBus() as bus:
        yield bus


@pytest.fixture
def cell(bus, tmp_path):
    ranges = {
        name: {"id": number, "drive_mode": 0, "homing_offset": 0, "range_min": 1024, "range_max": 3072}
        for number, name in enumerate(SERVOS, start=1)
    }
    (tmp_path / "follower.json").write_text(json.dumps(ranges))
    shipped = cells.load("so101")
    return shipped.but(arm=shipped.arm.but(port=bus.port, calibration_folder=tmp_path))


@pytest.fixture
def arm(cell):
    arm, _ = devices.open_arm(cell)
    yield arm
    arm.close()


def until(condition, within_s: float = SOON_S) -> bool:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.005)
    return False


def fault_of(arm) -> DeviceLost:
    """What `read` raises, soon; from then on everything raises it, and `stop` stays quiet."""
    end_s = time.monotonic() + SOON_S
    while time.monotonic() < end_s:
        try:
            arm.read()
        except DeviceLost as lost:
            with pytest.raises(DeviceLost):
                arm.send(np.zeros(5))
            with pytest.raises(DeviceLost):
                arm.gripper.read()
            arm.stop()
            return lost
        time.sleep(0.002)
    raise AssertionError("no fault was reported")


# --- motion -----------------------------------------------------------------------------------------------------------


def test_it_is_an_arm_and_a_gripper(arm):
    assert isinstance(arm, Arm)
    assert isinstance(arm.gripper, Gripper)
    assert arm.names == JOINTS


def test_it_reads_where_the_servos_are(bus, arm):
    for servo in bus.servos.values():
        servo.ticks = 2048 + 100 * servo.number
        servo.set(GOAL, round(servo.ticks), 2)
    expected = np.array([100 * number * RAD_PER_TICK for number in range(1, 6)])
    assert until(lambda: np.allclose(arm.read().q_rad, expected))
    assert arm.gripper.read()[1] == pytest.approx((2648 - 1024) / 2048)


def test_what_is_sent_is_rounded_to_ticks_and_reached(bus, arm):
    asked = np.array([0.1234, -0.2, 0.3, 0.0, 1.0])
    sent = arm.send(asked)
    assert np.abs(sent - asked).max() <= RAD_PER_TICK / 2 + 1e-12
    assert until(lambda: np.allclose(arm.read().q_rad, sent, atol=1e-9))
    assert bus.servos[1].get(GOAL, 2) == round(2048 + 0.1234 / RAD_PER_TICK)


def test_velocity_has_sign_and_unit(arm):
    arm.send(np.array([-1.5, 1.5, 0, 0, 0]))
    expected = 3000 * RAD_PER_TICK
    assert until(lambda: arm.read().dq_rad_s[0] < -0.5 * expected)
    dq_rad_s = arm.read().dq_rad_s
    assert dq_rad_s[0] == pytest.approx(-expected, rel=0.3)
    assert dq_rad_s[1] == pytest.approx(expected, rel=0.3)
    assert dq_rad_s[4] == 0


def test_beyond_the_calibrated_range_the_end_is_sent(arm):
    sent = arm.send(np.array([9.0, -9.0, 0, 0, 0]))
    assert sent[0] == pytest.approx(1024 * RAD_PER_TICK)
    assert sent[1] == pytest.approx(-1024 * RAD_PER_TICK)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros(6), np.full(5, np.nan), np.array([np.inf, 0, 0, 0, 0])])
def test_a_command_that_is_no_command_sends_nothing(bus, arm, bad):
    before = len(bus.goals)
    with pytest.raises(ValueError, match="finite angles"):
        arm.send(bad)
    time.sleep(0.05)
    assert len(bus.goals) == before


def test_the_gripper_opens_and_says_what_was_sent(bus, arm):
    assert arm.gripper.send(1.0) == 1.0
    assert until(lambda: arm.gripper.read()[1] == pytest.approx(1.0))
    assert arm.gripper.send(-3.0) == 0.0
    assert bus.servos[6].get(GOAL, 2) == 1024 or until(lambda: bus.servos[6].get(GOAL, 2) == 1024)
    assert arm.gripper.send(0.5004) == 1025 / 2048  # of 2048 ticks, 1024.8 rounded
    with pytest.raises(ValueError):
        arm.gripper.send(math.nan)


def test_neither_read_nor_send_waits_for_the_bus(bus, arm):
    for servo in bus.servos.values():
        servo.mute = True  # the bus thread is now waiting for its timeouts
    took_s = []
    for _ in range(20):
        began_s = time.perf_counter()
        try:
            arm.read()
            arm.send(np.zeros(5))
        except DeviceLost:
            break
        took_s.append(time.perf_counter() - began_s)
    assert np.median(took_s) < TIMEOUT_S  # a call that waited would take 0.15 s or more


def test_readings_come_at_their_rate_and_are_stamped_when_they_were_measured(bus, arm):
    stamps = []
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        stamps.append(arm.read().stamp_ns)
        assert 0 <= time.monotonic_ns() - stamps[-1] < 1_000_000_000
        time.sleep(0.002)
    assert 5 <= len(set(stamps)) <= 52  # 100 Hz for 0.5 s, with room for a busy machine
    assert stamps == sorted(stamps)


def test_stop_holds_where_it_is_and_motion_goes_on_after(arm):
    arm.send(np.array([1.5, 0, 0, 0, 0]))
    assert until(lambda: arm.read().q_rad[0] > 0.2)
    arm.stop()
    arm.stop()
    time.sleep(0.1)
    held = arm.read().q_rad[0]
    assert held < 1.2
    time.sleep(0.1)
    assert arm.read().q_rad[0] == pytest.approx(held, abs=2 * RAD_PER_TICK)
    arm.send(np.array([1.5, 0, 0, 0, 0]))
    assert until(lambda: arm.read().q_rad[0] > 1.49)


# --- start and end ----------------------------------------------------------------------------------------------------


def test_torque_comes_on_without_a_jump_and_stays_on_after_closing(bus, cell):
    for servo in bus.servos.values():
        servo.ticks = 2500
    arm, gripper = devices.open_arm(cell)
    assert all(servo.torque_jumps == [0] for servo in bus.servos.values())
    gripper.close()
    arm.close()
    arm.close()
    assert all(servo.get(TORQUE, 1) for servo in bus.servos.values())
    with pytest.raises(DeviceLost, match="closed"):
        arm.read()


def test_opening_again_does_not_take_the_torque_away(bus, cell):
    for _ in range(2):
        devices.open_arm(cell)[0].close()
        offs = [servo.torque_off for servo in bus.servos.values()]
    assert offs == [0] * 6 or all(servo.torque_jumps == [0] for servo in bus.servos.values())
    assert max(len(servo.torque_jumps) for servo in bus.servos.values()) == 1


def test_the_servos_get_lerobots_settings_and_the_cells_grip(bus, cell):
    for servo in bus.servos.values():
        servo.set(PHASE, 0x1C, 1)
    devices.open_arm(cell.but(arm=cell.arm.but(gripper_torque_limit=0.3)))[0].close()
    for servo in bus.servos.values():
        assert [servo.get(address, 1) for address in (21, 22, 23, 33)] == [16, 32, 0, 0]  # P, D, I, mode
        assert servo.get(PHASE, 1) == 0x0C
    assert bus.servos[6].get(16, 2) == 300
    assert bus.servos[1].get(16, 2) == 0


def test_the_motors_are_those_of_lerobots_follower(tmp_path):
    follower = SO101Follower(SO101FollowerConfig(port="/dev/null", id="x", calibration_dir=tmp_path))
    assert tuple(follower.bus.motors) == SERVOS


def test_a_port_that_is_not_there_is_named(cell):
    with pytest.raises(DeviceLost, match="cannot open /dev/no_such_port"):
        devices.open_arm(cell.but(arm=cell.arm.but(port="/dev/no_such_port")))


def test_an_arm_without_power_is_named(bus, cell, monkeypatch):
    monkeypatch.setattr(servo_bus, "SETUP_TIMEOUT_S", 0.05)
    bus.servos.clear()
    with pytest.raises(DeviceLost, match="no servo answers on") as lost:
        devices.open_arm(cell)
    assert "power" in lost.value.fix


def test_a_servo_with_a_wrong_id_is_named_with_the_id_that_it_has(bus, cell):
    bus.servos[9] = bus.servos.pop(3)
    bus.servos[9].set(5, 9, 1)
    with pytest.raises(DeviceLost, match=r"no servo answers as 'elbow_flex' \(id 3\)") as lost:
        devices.open_arm(cell)
    assert "id 9 answers" in lost.value.fix


def test_a_servo_of_another_model_is_named(bus, cell):
    bus.servos[2].set(3, 2825, 2)
    with pytest.raises(DeviceLost, match=r"'shoulder_lift' \(id 2\): not an STS3215 \(model 2825"):
        devices.open_arm(cell)


@pytest.mark.parametrize(
    ("address", "value", "field"),
    [(LOW, 900, "range_min"), (HIGH, 3000, "range_max"), (OFFSET, 5, "homing_offset")],
)
def test_a_calibration_of_another_arm_is_refused(bus, cell, address, value, field):
    bus.servos[4].set(address, value, 2)
    with pytest.raises(BadInput, match=f"'wrist_flex' has {field} {value}") as bad:
        devices.open_arm(cell)
    assert "lerobot-calibrate" in bad.value.fix
    assert not bus.goals


def test_a_missing_calibration_says_how_to_make_one(bus, cell):
    with pytest.raises(BadInput, match="no calibration") as bad:
        devices.open_arm(cell.but(arm=cell.arm.but(id="nobody")))
    assert (
        f"lerobot-calibrate --robot.type=so101_follower --robot.port={bus.port} --robot.id=nobody" in bad.value.fix
    )


# --- faults in motion -------------------------------------------------------------------------------------------------


def test_one_servo_that_falls_silent_is_named(bus, arm):
    bus.servos[3].dead = True
    assert "no answer from 'elbow_flex' (id 3); the others answer" in str(fault_of(arm))


def test_power_that_goes_is_named_as_soon_as_three_questions_are_unanswered(bus, arm, monkeypatch):
    monkeypatch.setattr(servo_bus, "REPLY_TIMEOUT_S", 0.025)
    began_s = time.monotonic()
    for servo in bus.servos.values():
        servo.dead = True
    assert "no servo answers" in str(fault_of(arm))
    assert time.monotonic() - began_s < 1.0


def test_the_adapter_unplugged_in_motion_is_named(bus, arm):
    arm.send(np.array([1.5, 0, 0, 0, 0]))
    time.sleep(0.05)
    bus.unplug()
    assert "USB adapter" in str(fault_of(arm))


def test_an_answer_from_an_id_that_is_none_of_ours_is_named(bus, arm):
    bus.servos[2].set(5, 42, 1)
    assert "from id 42" in str(fault_of(arm))


def test_every_packet_with_a_wrong_checksum_is_a_fault(bus, arm):
    bus.spoil = lambda packet: packet[:-1] + bytes([packet[-1] ^ 1])
    assert "wrong checksum" in str(fault_of(arm))


def test_a_packet_that_is_corrupt_now_and_then_is_read_again(bus, arm):
    count = iter(range(10**9))
    bus.spoil = lambda packet: packet[:-1] + bytes([packet[-1] ^ 1]) if next(count) % 50 == 0 else packet
    before = bus.sync_reads
    time.sleep(0.5)
    assert bus.sync_reads > before + 10
    arm.read()


def test_noise_between_packets_is_skipped(bus, arm):
    bus.spoil = lambda packet: b"\x00\xff\x12" + packet
    time.sleep(0.3)
    arm.send(np.full(5, 0.2))
    assert until(lambda: np.allclose(arm.read().q_rad, 0.2, atol=RAD_PER_TICK))


@pytest.mark.parametrize(
    ("bit", "words"), [(1, "voltage"), (2, "position sensor"), (4, "too hot"), (8, "current"), (32, "overloaded")]
)
@pytest.mark.parametrize("where", ["register", "error byte"])
def test_each_fault_that_a_servo_reports_is_named_and_the_joints_hold(bus, arm, bit, words, where):
    arm.send(np.array([1.5, 1.5, 1.5, 1.5, 1.5]))
    time.sleep(0.1)
    if where == "register":
        bus.servos[2].set(STATUS, bit, 1)
    else:
        bus.servos[2].error = bit
    lost = fault_of(arm)
    assert "'shoulder_lift' reports: " in str(lost)
    assert words in str(lost)
    assert lost.fix
    asked = round(2048 + 1.5 / RAD_PER_TICK)
    assert until(lambda: asked not in bus.goals[-1][1].values())
    _, goals = bus.goals[-1]
    assert set(goals) == {1, 2, 3, 4, 5}
    for number, goal in goals.items():
        assert abs(goal - bus.servos[number].ticks) < 400
        assert bus.servos[number].get(TORQUE, 1) == 1


def test_a_jaw_that_holds_something_is_not_a_fault(bus, arm):
    bus.servos[6].set(STATUS, 32, 1)
    time.sleep(0.2)
    arm.read()
    bus.servos[6].set(STATUS, 32 | 4, 1)
    assert "'gripper' reports: it is too hot" in str(fault_of(arm))


def test_a_servo_that_gets_too_warm_stops_the_arm_before_it_switches_itself_off(bus, arm):
    bus.servos[1].set(CELSIUS, 65, 1)
    time.sleep(0.1)
    arm.read()
    bus.servos[1].set(CELSIUS, 66, 1)
    assert "'shoulder_pan' is at 66 °C (limit 65 °C)" in str(fault_of(arm))


def test_after_a_fault_the_arm_can_be_opened_again(bus, cell):
    arm, _ = devices.open_arm(cell)
    bus.servos[3].mute = True
    fault_of(arm)
    arm.close()
    bus.servos[3].mute = False
    again, _ = devices.open_arm(cell)
    again.read()
    again.close()


def test_after_an_answer_that_came_too_late_readings_are_not_one_behind_for_ever(bus, arm):
    hiccups = iter([0.2])  # longer than an answer is waited for

    def hiccup(packet: bytes) -> bytes:
        time.sleep(next(hiccups, 0.0))
        return packet

    bus.spoil = hiccup
    time.sleep(0.6)
    for servo in bus.servos.values():
        servo.set(GOAL, 2500, 2)
        servo.ticks = 2500
    changed_ns = time.monotonic_ns()
    assert until(lambda: arm.read().stamp_ns > changed_ns)
    assert arm.read().q_rad == pytest.approx(np.full(5, 452 * RAD_PER_TICK))
