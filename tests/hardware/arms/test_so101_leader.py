"""The leader's driver against servos faked at the serial packet, and a follower that goes along as by a clutch."""

import json
import math
import time

import numpy as np
import pytest
from fake_feetech_bus import HIGH, LOW, TORQUE, FakeFeetechBus

from hardware.arms import servo_bus
from hardware.arms.servo_bus import SERVOS
from hardware.arms.so101 import RAD_PER_TICK
from hardware.arms.so101_leader import Bent, So101Leader
from hardware.errors import BadInput
from hardware.joy_jog import JoyConfig, Pad
from hardware.leader_follow import LeaderFollow
from hardware.ports import DeviceLost, JointReading
from hardware.teleop_config import LeaderConfig

MS = 1_000_000
HELD = (0, 0, 0, 0, 1)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """The fake shares the machine with everything else."""
    monkeypatch.setattr(servo_bus, "SETUP_TIMEOUT_S", 0.4)


@pytest.fixture
def bus():
    with FakeFeetechBus() as bus:
        yield bus


@pytest.fixture
def config(bus: FakeFeetechBus, tmp_path) -> LeaderConfig:
    ranges = {
        name: {"id": number, "drive_mode": 0, "homing_offset": 0, "range_min": 1024, "range_max": 3072}
        for number, name in enumerate(SERVOS, start=1)
    }
    (tmp_path / "leader.json").write_text(json.dumps(ranges))
    return LeaderConfig(port=bus.port, calibration_folder=tmp_path)


def newest(leader: So101Leader) -> Bent:
    """Read on a machine that is busy with other tests, where a fresh one may be late."""
    end_s = time.monotonic() + 5
    while True:
        try:
            return leader.newest()
        except DeviceLost:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.02)


def test_it_is_read_as_the_follower_is_scaled_and_can_be_bent(bus: FakeFeetechBus, config: LeaderConfig) -> None:
    leader = So101Leader(config)
    assert all(not servo.get(TORQUE, 1) for servo in bus.servos.values())
    bus.servos[1].ticks, bus.servos[6].ticks = 2048 + 512, 3072
    end_s = time.monotonic() + 5
    while newest(leader).q_rad[0] == 0 and time.monotonic() < end_s:
        time.sleep(0.01)
    bent = newest(leader)
    assert bent.q_rad == pytest.approx([512 * RAD_PER_TICK, 0, 0, 0, 0])
    assert pytest.approx(math.pi / 4) == 512 * RAD_PER_TICK
    assert bent.gripper_open == 1.0
    leader.close()


def test_a_leader_that_is_unplugged_is_lost(bus: FakeFeetechBus, config: LeaderConfig) -> None:
    leader = So101Leader(config)
    bus.unplug()
    end_s = time.monotonic() + 5
    while leader.is_well and time.monotonic() < end_s:
        time.sleep(0.01)
    with pytest.raises(DeviceLost):
        leader.newest()
    leader.close()


def test_another_arms_calibration_is_refused(bus: FakeFeetechBus, config: LeaderConfig) -> None:
    bus.servos[3].set(LOW, 900, 2)
    with pytest.raises(BadInput, match="elbow_flex"):
        So101Leader(config)
    bus.servos[3].set(HIGH, 3072, 2)
    with pytest.raises(BadInput, match="no calibration"):
        So101Leader(config.but(id="another"))


class PaperLeader:
    """Bent as it is told."""

    def __init__(self) -> None:
        self.bent = Bent(0, np.array([0.5, 0.0]), 0.2)
        self.is_lost = False

    def newest(self) -> Bent:
        if self.is_lost:
            raise DeviceLost("pulled out")
        return self.bent


def test_the_follower_goes_along_from_where_it_stands_and_only_while_the_dead_man_is_held() -> None:
    leader = PaperLeader()
    follow = LeaderFollow(LeaderConfig(), JoyConfig(dead_man_button=4), leader)
    reading = JointReading(1, ("a", "b"), np.array([-0.3, 0.1]))
    assert follow.wish(0, reading, 0.9) is None
    follow.hear(Pad(10 * MS, (), HELD))
    wish = follow.wish(10 * MS, reading, 0.9)
    assert wish is not None
    assert wish.q_rad == pytest.approx([-0.3, 0.1])  # nothing leaps, however the leader stands
    leader.bent = Bent(20 * MS, np.array([0.6, -0.2]), 0.0)
    follow.hear(Pad(20 * MS, (), HELD))
    wish = follow.wish(20 * MS, reading, 0.9)
    assert wish is not None
    assert wish.q_rad == pytest.approx([-0.2, -0.1])
    assert wish.gripper_open == pytest.approx(0.7)
    assert follow.wish(200 * MS, reading, 0.9) is None  # the dead-man fell silent
    follow.hear(Pad(210 * MS, (), HELD))
    wish = follow.wish(210 * MS, reading, 0.9)
    assert wish is not None
    assert wish.q_rad == pytest.approx([-0.3, 0.1])  # engaged anew
    leader.is_lost = True
    follow.hear(Pad(220 * MS, (), HELD))
    assert follow.wish(220 * MS, reading, 0.9) is None
    leader.is_lost = False
    assert follow.wish(230 * MS, reading, 0.9) is None  # must be pressed anew
