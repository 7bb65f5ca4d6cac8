"""The executor acts only within an episode, from where the arm then is, and while nobody is missing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware import cell
from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.execution_loop import ExecutionLoop
from hardware.messages import ActionChunk
from hardware.ports import JointReading

STEP_NS = 10_000_000
CELL = cell.load("bench")
NAMES = CELL.limits.names


class Rig:
    """The loop with its clock, in an episode that began at 1 s."""

    def __init__(self, folder: Path) -> None:
        self.loop = ExecutionLoop(CELL, folder)
        self.now_ns = 1_000_000_000
        self.loop.announced(Announcement(stage="running", since_ns=self.now_ns))

    def read(self, stamp_ns: int) -> None:
        self.loop.reading(JointReading(stamp_ns, NAMES, np.full(5, 0.1)), 1.0)

    def offer(self) -> None:
        """A second of a ramp of 1 rad/s, observed now."""
        rows = np.linspace(0.15, 1.1, 20)
        columns = (*NAMES, "gripper")
        self.loop.offer(
            ActionChunk(self.now_ns, 20.0, "joint_pos_rad", columns, np.stack([rows] * 6, 1).clip(0, 1))
        )

    def run(self, steps: int) -> JointCommand:
        for _ in range(steps):
            self.now_ns += STEP_NS
            command = self.loop.tick(self.now_ns)
        assert command is not None
        return command


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.loop.close()


def test_nothing_is_commanded_before_an_episode_runs_and_a_newer_reading_came(rig: Rig) -> None:
    rig.read(rig.now_ns - STEP_NS)
    assert rig.loop.tick(rig.now_ns + STEP_NS) is None
    rig.read(rig.now_ns + STEP_NS)
    command = rig.loop.tick(rig.now_ns + 2 * STEP_NS)
    assert command is not None
    np.testing.assert_allclose(command.q_rad, 0.1)
    assert command.source == "hold"


def test_an_episode_that_is_over_commands_nothing(rig: Rig) -> None:
    rig.read(rig.now_ns + 1)
    rig.run(3)
    rig.loop.announced(Announcement(stage="judged", since_ns=rig.now_ns))
    assert rig.loop.tick(rig.now_ns + STEP_NS) is None


def test_chunks_of_the_demonstrator_are_labelled_scripted(rig: Rig) -> None:
    rig.read(rig.now_ns + 1)
    rig.run(3)
    rig.offer()
    assert rig.run(30).source == "scripted"


def test_a_missing_process_holds_and_its_return_needs_a_new_chunk(rig: Rig) -> None:
    rig.read(rig.now_ns + 1)
    rig.run(3)
    rig.offer()
    assert rig.run(30).source == "scripted"
    rig.loop.lost(("cam_front",))
    held = rig.run(20)
    assert held.source == "brake"
    assert held.dq_rad_s is not None
    np.testing.assert_allclose(held.dq_rad_s, 0.0)
    assert rig.loop.missing == ("cam_front",)
    rig.loop.lost(())
    assert rig.run(3).source == "brake"
    rig.offer()
    assert rig.run(30).source == "scripted"


def test_a_step_that_fails_is_an_emergency_stop(rig: Rig) -> None:
    rig.read(rig.now_ns + 1)
    rig.run(3)
    rig.loop.failed(ArithmeticError("no"))
    rig.run(2)
    rig.offer()
    assert rig.run(20).source == "brake"
    assert rig.loop.status["state"] == "emergency_stop"
    rig.loop.emergency(False)
    rig.run(2)
    assert rig.loop.status["state"] == "waiting"


def test_a_person_takes_over_drives_and_gives_back(rig: Rig) -> None:
    rig.read(rig.now_ns + 1)
    rig.run(3)
    rig.loop.intervene("human")
    for _ in range(30):
        rig.loop.person(JointCommand(rig.now_ns, NAMES, np.full(5, 0.2)))
        command = rig.run(1)
    assert command.source == "human"
    assert command.q_rad == pytest.approx(0.2, abs=0.02)
    rig.loop.person(JointCommand(rig.now_ns, ("somebody", "else"), np.zeros(2)))
    rig.loop.intervene("")
    assert rig.run(2).source == "hold"
