"""Who may do what, and when: the page's messages in, commands to a robot that remembers them out."""

from pathlib import Path

import numpy as np
import pytest

from hardware import cell as cells
from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.page import wire
from hardware.page.desk import Desk, Visitor
from hardware.page.ghost import Guide
from hardware.page.guidance import Guidance
from hardware.page.resets import ResetLog
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
        self.held = 0

    def intervene(self, takes_over: bool) -> None:
        self.charges.append(takes_over)

    def command(self, command: JointCommand) -> None:
        self.commands.append(command)

    def hold_dead_man(self) -> None:
        self.held += 1

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

    def hold(self, visitor: Visitor, undo: bool = False, axes: dict[str, float] | None = None) -> None:
        """A heartbeat; what it sends is really sent at once."""
        before = len(self.robot.commands)
        sequence = self.sequences[visitor.number] = self.sequences.get(visitor.number, 0) + 1
        beat = wire.Beat(
            seq=sequence, time_ms=0, echo=self.desk.pulses.newest, since_ms=0, axes=axes or {}, undo=undo, speed=1.0
        )
        self.desk.hear(visitor, beat)
        self.now_ns += 20 * MS
        if len(self.robot.commands) > before:
            newest = self.robot.commands[-1]
            self.desk.sent = JointCommand(self.now_ns, newest.names, newest.q_rad, None, newest.gripper_open)
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


def test_undo_is_held_and_brings_the_arm_back_along_its_way() -> None:
    rig = Rig(stage="free")
    person = rig.driver()
    for _ in range(50):
        rig.hold(person, axes={"elbow_flex": 1.0})
    there = rig.robot.commands[-1].q_rad[2]
    assert there > Q[2] + 0.4
    rig.hold(person)
    undone_s = rig.desk.trail.seconds
    assert undone_s > 0.8
    for _ in range(20):
        rig.hold(person, undo=True)
    half_way = rig.robot.commands[-1].q_rad[2]
    assert Q[2] + 0.05 < half_way < there - 0.05
    count = len(rig.robot.commands)
    rig.hold(person)  # let go: nothing more is sent
    assert len(rig.robot.commands) == count
    for _ in range(80):
        rig.hold(person, undo=True)
    assert rig.robot.commands[-1].q_rad[2] == pytest.approx(Q[2], abs=0.02)
    assert rig.desk.trail.seconds < 0.1
    assert {command.source for command in rig.robot.commands} == {"human"}


def test_undo_takes_nothing_over_from_a_policy_and_forgets_at_a_new_stage() -> None:
    rig = Rig()
    person = rig.driver()
    for step in range(1, 20):
        rig.now_ns += 10 * MS
        names = rig.desk.cell.limits.names
        rig.desk.sent = JointCommand(rig.now_ns, names, Q + 0.01 * step, None, 0.6)
    rig.hold(person, undo=True)
    assert rig.robot.commands == []
    assert rig.desk.trail.seconds > 0.1
    rig.announce("judged")
    rig.desk.pulse()
    assert rig.desk.trail.seconds == 0


def test_a_reset_is_noted_as_vision_saw_it_and_starts_are_left_out(tmp_path: Path) -> None:
    starts = tuple(TaskStart(x_m=0.2, y_m=0.01 * number, yaw_rad=0.0) for number in range(4))
    rig = Rig(stage="free")
    guidance = Guidance(guide(starts), ResetLog(tmp_path))
    rig.desk = Desk(rig.desk.cell, rig.robot, clock=lambda: rig.now_ns, guidance=guidance)
    person = rig.driver()
    found = [None, starts[1], starts[2].but(x_m=0.25), None]
    for episode, (where, what) in enumerate(zip(found, ("start", "start", "start", "unreachable"), strict=True)):
        rig.desk.announcement = Announcement(stage="free", episode=episode, since_ns=rig.now_ns)
        rig.wait(25)
        guidance.found = None if where is None else (rig.now_ns, where)
        left = rig.desk.pulse()["left"]
        assert (left is None) == (where is None)
        rig.desk.hear(person, wire.AskEpisode(what=what))  # pyright: ignore[reportArgumentType]
    assert rig.robot.asked == ["start", "start", "start", "skip"]
    again = ResetLog(tmp_path)  # a page that comes back after a crash goes on from there
    assert again.counts() == {"unseen": 1, "placed": 1, "off": 1, "unreachable": 1}
    assert rig.desk.pulse()["plan"] == {"total": 4, **again.counts()}
    rig.wait(5000)
    assert rig.desk.pulse()["left"] is None  # what was seen long ago says nothing


def test_a_score_that_falls_silent_is_none() -> None:
    rig = Rig()
    assert rig.desk.pulse()["score"] is None
    rig.desk.score = rig.now_ns, 0.73
    assert rig.desk.pulse()["score"] == 0.73
    rig.wait(3000)
    assert rig.desk.pulse()["score"] is None


def guide(starts: tuple[TaskStart, ...]) -> Guide:
    """Seen from 1 m above the start."""
    return Guide(
        object_name="block",
        size_m=(0.04, 0.04, 0.04),
        centre_z_m=0.02,
        camera="cam_front",
        intrinsics=CameraModel(width_px=100, height_px=100, fx_px=100, fy_px=100, cx_px=50, cy_px=50),
        T_base_cam=((1, 0, 0, 0.2), (0, -1, 0, 0), (0, 0, -1, 1.0), (0, 0, 0, 1)),
        starts=starts,
    )


def test_the_page_holds_the_dead_man_of_a_leader_arm_and_commands_nothing_itself() -> None:
    rig = Rig()
    rig.desk = Desk(rig.desk.cell, rig.robot, can_drive=False, follows=True, clock=lambda: rig.now_ns)
    rig.announce("running")
    rig.wait(1000)
    person, watcher = rig.driver(), rig.desk.enter()

    def follow(who: Visitor) -> int:
        sequence = rig.sequences[who.number] = rig.sequences.get(who.number, 0) + 1
        echo, before = rig.desk.pulses.newest, rig.robot.held
        rig.desk.hear(who, wire.Beat(seq=sequence, time_ms=0, echo=echo, since_ms=0, follow=True))
        rig.wait(20)
        return rig.robot.held - before

    rig.beat(watcher)
    assert (follow(person), follow(person), follow(watcher)) == (1, 1, 0)
    rig.wait(300)
    assert follow(person) == 0  # after silence it is pressed anew
    assert rig.robot.commands == []
    assert rig.robot.charges == []
