"""Who may do what, and when: the page's messages in, commands to a robot that remembers them out."""

import numpy as np
import pytest

from hardware import cell as cells
from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.page import wire
from hardware.page.desk import Desk, Visitor
from hardware.ports import JointReading

MS = 1_000_000
Q = np.array([0.1, -0.8, 0.4, 1.5, 0.0])


class PaperRobot:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.charges: list[bool] = []
        self.commands: list[JointCommand] = []
        self.stops: list[bool] = []
        self.asked: list[str] = []

    def intervene(self, takes_over: bool) -> None:
        self.charges.append(takes_over)

    def command(self, command: JointCommand) -> None:
        self.commands.append(command)

    def emergency_stop(self, active: bool) -> None:
        self.stops.append(active)

    def ask_episode(self, what: str) -> None:
        self.asked.append(what)


class Rig:
    """A desk, and people at pages with a quick link."""

    def __init__(self, policy: str = "scripted", stage: str = "running", can_drive: bool = True) -> None:
        self.now_ns = 10_000_000_000
        self.robot = PaperRobot()
        cell = cells.load("bench").but(policy={"kind": policy})
        self.desk = Desk(cell, self.robot, can_drive=can_drive, clock=lambda: self.now_ns)
        self.sequences: dict[int, int] = {}
        self.announce(stage)
        self.wait(1000)

    def announce(self, stage: str) -> None:
        self.desk.announcement = Announcement.model_validate({"stage": stage, "since_ns": self.now_ns})

    def wait(self, ms: float) -> None:
        self.now_ns += round(ms * MS)
        names = self.desk.cell.limits.names
        self.desk.reading = JointReading(self.now_ns, names, Q - 0.02), 0.5
        self.desk.sent = JointCommand(self.now_ns, names, Q, None, 0.6)
        self.desk.pulse()

    def beat(self, visitor: Visitor, **held: float) -> int:
        """How many commands it made."""
        before = len(self.robot.commands)
        sequence = self.sequences[visitor.number] = self.sequences.get(visitor.number, 0) + 1
        echo = self.desk.pulses.newest
        beat = wire.Beat(seq=sequence, time_ms=0, echo=echo, since_ms=0, mode="joint", axes=held, speed=1.0)
        self.desk.hear(visitor, beat)
        self.wait(25)
        return len(self.robot.commands) - before

    def driver(self) -> Visitor:
        visitor = self.desk.enter()
        self.desk.hear(visitor, wire.Sit())
        self.beat(visitor)
        return visitor


def test_taking_over_starts_at_what_was_sent_not_at_what_was_measured() -> None:
    rig = Rig()
    person = rig.driver()
    rig.desk.hear(person, wire.TakeOver())
    assert rig.robot.charges == [True]
    rig.beat(person)
    rig.beat(person, elbow_flex=1.0)
    first = rig.robot.commands[0]
    assert first.q_rad == pytest.approx(Q + np.array([0, 0, 0.8 / 0.12 * 0.025**2, 0, 0]))
    assert (first.source, first.gripper_open) == ("human", 0.6)


def test_a_key_alone_takes_nothing_over_from_a_policy() -> None:
    rig = Rig()
    person = rig.driver()
    assert rig.beat(person, elbow_flex=1.0) == 0
    assert rig.robot.charges == []


def test_between_episodes_holding_a_key_is_enough() -> None:
    rig = Rig(stage="free")
    person = rig.driver()
    assert [rig.beat(person, elbow_flex=1.0) for _ in range(3)] == [1, 1, 1]
    assert rig.robot.charges == [True]


def test_letting_go_sends_nothing_more_so_that_the_executor_stops() -> None:
    rig = Rig(stage="free")
    person = rig.driver()
    rig.beat(person, elbow_flex=1.0)
    rig.beat(person, elbow_flex=1.0)
    assert rig.beat(person) == 0
    assert rig.beat(person, elbow_flex=1.0) == 1


def test_only_the_one_with_the_controls_moves_begins_or_releases() -> None:
    rig = Rig(stage="free")
    rig.driver()
    other = rig.desk.enter()
    rig.beat(other)
    assert rig.beat(other, elbow_flex=1.0) == 0
    rig.desk.hear(other, wire.AskEpisode(what="start"))
    rig.desk.hear(other, wire.TakeOver())
    rig.desk.hear(other, wire.EmergencyStop(active=False))
    assert (rig.robot.asked, rig.robot.charges, rig.robot.stops) == ([], [], [])


def test_anybody_stops_and_the_person_in_charge_is_not_any_more() -> None:
    rig = Rig(stage="free")
    person = rig.driver()
    rig.beat(person, elbow_flex=1.0)
    other = rig.desk.enter()
    rig.desk.hear(other, wire.EmergencyStop(active=True))
    rig.desk.stopped = True
    assert rig.robot.stops == [True]
    assert rig.robot.charges == [True, False]
    assert rig.beat(person, elbow_flex=1.0) == 0
    rig.desk.stopped = False
    assert rig.beat(person, elbow_flex=1.0) == 0  # still held since before
    rig.beat(person)
    assert rig.beat(person, elbow_flex=1.0) == 1


def test_a_hand_over_in_the_middle_of_a_motion_moves_nothing_until_keys_are_let_go() -> None:
    rig = Rig(stage="free")
    person, other = rig.driver(), rig.desk.enter()
    rig.beat(person, elbow_flex=1.0)
    rig.beat(other)
    rig.desk.hear(other, wire.Sit())
    rig.desk.hear(person, wire.Sit(how="hand_over", to=other.number))
    assert rig.beat(person, elbow_flex=1.0) == 0
    assert rig.beat(other, elbow_flex=1.0) == 0
    rig.beat(other)
    assert rig.beat(other, elbow_flex=1.0) == 1


def test_a_person_who_vanishes_leaves_the_arm_at_rest_and_the_policy_out() -> None:
    rig = Rig()
    person = rig.driver()
    rig.desk.hear(person, wire.TakeOver())
    rig.desk.leave(person)
    assert rig.robot.charges == [True]
    assert rig.desk.pulse()["in_charge"] is True
    next_one = rig.driver()
    rig.desk.hear(next_one, wire.GiveBack())
    assert rig.robot.charges == [True, False]


def test_a_new_stage_ends_the_charge() -> None:
    rig = Rig()
    person = rig.driver()
    rig.desk.hear(person, wire.TakeOver())
    rig.announce("judged")
    rig.wait(25)
    assert rig.robot.charges == [True, False]
    assert not rig.desk.take_over()


def test_a_page_beside_a_gamepad_watches_and_stops() -> None:
    rig = Rig(stage="free", can_drive=False)
    person = rig.driver()
    assert rig.beat(person, elbow_flex=1.0) == 0
    rig.desk.hear(person, wire.EmergencyStop(active=True))
    assert rig.robot.stops == [True]


def test_a_process_that_falls_silent_is_said_so() -> None:
    rig = Rig()
    rig.desk.diagnosed("arm", True, "ok", {})
    rig.wait(4000)
    [arm] = rig.desk.pulse()["processes"]  # type: ignore[misc]
    assert (arm["well"], arm["text"]) == (False, "silent for 4 s")
