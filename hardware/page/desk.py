"""Where the page and the robot meet: heartbeats and buttons in, commands out; and what everybody sees, as one pulse.

One thread owns it (the server's). What the robot reports may come from any thread: each report replaces the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.cell import CellConfig
from hardware.episode_request import What
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.page import wire
from hardware.page.dead_man import DeadMan, DeadManConfig, Pulses
from hardware.page.guidance import Guidance
from hardware.page.jog import Jog, JogConfig, ToolKinematics
from hardware.page.preview import ChunkPreview
from hardware.page.seat import Seat
from hardware.page.trail import Trail
from hardware.ports import JointReading
from hardware.spatial import Pose

SETTLE_S = 0.3
"""After a stage began: the executor starts from its first reading, and forgets who had taken over before."""
FRESH_S = 0.5
SCORE_S = 2.0
"""What the classifier said longer ago is not shown any more."""
HOLDER_SILENT_S = 3.0
"""A holder whose page says nothing for so long has lost the seat to whoever asks."""


@runtime_checkable
class Robot(Protocol):
    """What the page does to the robot; every call returns at once."""

    def intervene(self, takes_over: bool) -> None: ...

    def command(self, command: JointCommand) -> None: ...

    def hold_dead_man(self) -> None:
        """For whoever intervenes with a leader arm, as a gamepad's button would."""
        ...

    def emergency_stop(self, active: bool) -> None: ...

    def ask_episode(self, what: What) -> None: ...


@runtime_checkable
class ArmKinematics(ToolKinematics, Protocol):
    def T_base_tip(self, q_rad: Float[ndarray, " J"]) -> Pose: ...


@dataclass(frozen=True)
class Diagnosis:
    """The newest of one process, in its own words."""

    heard_ns: int
    is_well: bool
    text: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Visitor:
    """One connection."""

    number: int
    dead_man: DeadMan


class Desk:
    """`can_drive` False: another process intervenes (a gamepad, a script), so this page only watches and stops.

    `follows`: that process has a leader arm, and this page holds its dead-man.
    """

    def __init__(
        self,
        cell: CellConfig,
        robot: Robot,
        kinematics: ArmKinematics | None = None,
        *,
        can_drive: bool = True,
        follows: bool = False,
        guidance: Guidance | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        dead_man: DeadManConfig | None = None,
        jog: JogConfig | None = None,
    ) -> None:
        self.cell, self.can_drive, self.follows = cell, can_drive, follows
        self.pulses = Pulses()
        self.seat = Seat()
        self.visitors: dict[int, Visitor] = {}
        self.reading: tuple[JointReading, float | None] | None = None
        self.trail = Trail()
        self.preview = ChunkPreview(cell.limits.names)
        self.guidance = guidance or Guidance()
        self.score: tuple[int, float] | None = None
        """When a reward classifier last said how likely success is, and what."""
        self.source = "hold"
        self.stopped = False
        self.announcement = Announcement()
        self.diagnoses: dict[str, Diagnosis] = {}
        self.in_charge = False
        """The person has taken over."""
        self._robot, self._kinematics, self._clock = robot, kinematics, clock
        self._sent: JointCommand | None = None
        self._dead_man = dead_man or DeadManConfig()
        joints = cell.limits.joints
        lower, upper = np.array([one.lower_rad for one in joints]), np.array([one.upper_rad for one in joints])
        self.jog = Jog(cell.limits.names, lower, upper, kinematics, jog)
        self._moves = False
        self._seen = (self.announcement, self.stopped)
        self._visits = 0

    # Reports, from any thread: `reading`, `source`, `stopped`, `announcement`, … are replaced as they come

    @property
    def sent(self) -> JointCommand | None:
        """What the arm was really sent last."""
        return self._sent

    @sent.setter
    def sent(self, command: JointCommand) -> None:
        self._sent = command
        self.trail.add(command.stamp_ns, command.q_rad, command.gripper_open)

    def diagnosed(self, name: str, is_well: bool, text: str, values: dict[str, str]) -> None:
        self.diagnoses[name] = Diagnosis(self._clock(), is_well, text, values)

    # Visitors, in the server's thread

    def enter(self) -> Visitor:
        self._visits += 1
        visitor = Visitor(self._visits, DeadMan(self.pulses, self._dead_man))
        self.visitors[visitor.number] = visitor
        return visitor

    def leave(self, visitor: Visitor) -> None:
        """The arm comes to rest, as nothing is commanded any more; the policy does not go on by itself."""
        del self.visitors[visitor.number]
        if self.seat.leave(visitor.number):
            self._rest()

    def hear(self, visitor: Visitor, said: object) -> None:
        """One checked message. What a visitor may not do is left out: its buttons are not shown."""
        self._notice()
        holds = self.seat.now.holder == visitor.number
        match said:
            case wire.Beat():
                self._beat(visitor, said, holds)
            case wire.EmergencyStop(active=True):
                self._robot.emergency_stop(True)
                self._lose_charge()
            case wire.EmergencyStop() if holds:
                self._robot.emergency_stop(False)
            case wire.Sit() if self.can_drive or self.follows:
                self._sit(visitor, said)
            case wire.TakeOver() if holds and self.can_drive:
                self.take_over()
            case wire.GiveBack() if holds and self.in_charge:
                self._lose_charge()
            case wire.AskEpisode() if holds:
                self._ask_episode(said.what)

    def take_over(self) -> bool:
        """At the commanded state; False when the arm may not move now. What is held already moves nothing."""
        if not self._may_take_over():
            return False
        self._rest()
        self._take_over()
        return True

    def _may_take_over(self) -> bool:
        since_s = (self._clock() - self.announcement.since_ns) / NANOSECONDS_PER_SECOND
        return not self.stopped and self.announcement.moves and since_s > SETTLE_S

    def _take_over(self) -> None:
        self.in_charge = True
        self._robot.intervene(True)

    # What everybody sees

    def pulse(self) -> dict[str, object]:
        """As JSON can carry it; angles in radians, lengths in metres, ages in seconds."""
        self._notice()
        now_ns = self._clock()
        said, reading = self.announcement, self.reading
        pulse: dict[str, object] = {
            "is": "pulse",
            "n": self.pulses.send(now_ns),
            "source": self.source,
            "in_charge": self.in_charge,
            "stopped": self.stopped,
            "at_end": self.jog.at_end,
            "seat": {
                "holder": self.seat.now.holder,
                "asking": self.seat.now.asking,
                "visitors": len(self.visitors),
            },
            "trips_ms": {n: _ms(v.dead_man.trip_s) for n, v in self.visitors.items()},
            "episode": {"stage": said.stage, "number": said.episode, "since_s": _age_s(now_ns, said.since_ns)},
            "processes": self._processes(now_ns),
            "undo_s": round(self.trail.seconds, 1),
            "score": self._score(now_ns),
        }
        pulse |= self.guidance.pulse(said.stage, said.episode, now_ns)
        if reading is not None:
            joints, gripper_open = reading
            pulse |= {
                "age_s": _age_s(now_ns, joints.stamp_ns),
                "q_rad": np.round(joints.q_rad, 4).tolist(),
                "gripper_open": gripper_open,
            }
            if self._kinematics is not None:
                T_base_tip = self._kinematics.T_base_tip(joints.q_rad)
                pulse["tip_m"] = np.round(T_base_tip.translation_m, 4).tolist()
        return pulse

    def _score(self, now_ns: int) -> float | None:
        """None: no classifier, or it says nothing any more."""
        score = self.score
        return None if score is None or _age_s(now_ns, score[0]) > SCORE_S else round(score[1], 4)

    def _ask_episode(
        self, what: Literal["start", "skip", "unreachable", "stop", "success", "failure", "discard"]
    ) -> None:
        if self.announcement.stage == "free" and what in ("start", "skip", "unreachable"):
            self.guidance.note(what, self.announcement.episode, self._clock())
        self._robot.ask_episode("skip" if what == "unreachable" else what)

    def hello(self, visitor: Visitor) -> dict[str, object]:
        """What does not change while the page is open."""
        joints = [
            {"name": joint.name, "lower_rad": joint.lower_rad, "upper_rad": joint.upper_rad}
            for joint in self.cell.limits.joints
        ]
        return {
            "is": "hello",
            "you": visitor.number,
            "cell": self.cell.name,
            "task": self.cell.task,
            "policy": self.cell.policy.kind,
            "joints": joints,
            "has_gripper": self.cell.has_gripper,
            "modes": self.jog.modes,
            "cameras": list(self.cell.cameras),
            "can_drive": self.can_drive,
            "follows": self.follows,
        }

    def _processes(self, now_ns: int) -> list[dict[str, object]]:
        rows = []
        for name, one in sorted(self.diagnoses.items()):
            silent_s = _age_s(now_ns, one.heard_ns)
            lost = silent_s > 3.0
            text = f"silent for {silent_s:.0f} s" if lost else one.text
            rows.append({"name": name, "well": one.is_well and not lost, "text": text, "values": one.values})
        return rows

    # Driving

    def _beat(self, visitor: Visitor, beat: wire.Beat, holds: bool) -> None:
        now_ns = self._clock()
        verdict = visitor.dead_man.hear(now_ns, beat.seq, beat.echo, beat.since_ms / 1e3, beat.is_held)
        if not holds:
            return
        if self.follows:
            if verdict == "moves" and beat.follow and not self.stopped:
                self._robot.hold_dead_man()
        elif verdict == "moves" and (self.in_charge or self._may_just_move()):
            self._drive(beat, now_ns)
        else:
            self._settle(verdict == "rests")

    def _may_just_move(self) -> bool:
        """Where no policy acts, holding a key is enough: there is nobody to take over from."""
        nobody_acts = self.announcement.stage == "free" or self.cell.policy.kind == "none"
        if not nobody_acts or not self._may_take_over():
            return False
        self._take_over()
        return True

    def _drive(self, beat: wire.Beat, now_ns: int) -> None:
        start = self._commanded(now_ns)
        if start is None:
            return
        q_rad, gripper_open = start
        if not self._moves:
            self.jog.begin(q_rad, gripper_open)
            self._moves = True
        if beat.undo:
            wish = self.trail.back(now_ns, beat.speed)
            self.jog.begin(q_rad, gripper_open)  # a key that is held on goes on from here
        else:
            self.trail.rest()
            wish = self.jog.move(now_ns, beat.mode, beat.axes, beat.gripper, beat.speed, q_rad)
        if wish is None:
            return
        names = self.cell.limits.names
        self._robot.command(JointCommand(now_ns, names, wish.q_rad, wish.dq_rad_s, wish.gripper_open, "human"))

    def _settle(self, is_let_go: bool) -> None:
        """Nothing more is sent, so the executor stops: a target would be run past and sought again."""
        self.trail.rest()
        if is_let_go:
            self._moves = False
        else:
            self._rest()

    def _commanded(self, now_ns: int) -> tuple[Float[ndarray, " J"], float | None] | None:
        """What was really sent last; where nothing is sent, where the arm is. None: neither is fresh."""
        sent, reading = self.sent, self.reading
        if sent is not None and _age_s(now_ns, sent.stamp_ns) < FRESH_S:
            return sent.q_rad, sent.gripper_open
        if reading is not None and _age_s(now_ns, reading[0].stamp_ns) < FRESH_S:
            return reading[0].q_rad, reading[1]
        return None

    def _sit(self, visitor: Visitor, said: wire.Sit) -> None:
        before = self.seat.now.holder
        if said.how == "ask":
            holder = self.visitors.get(before) if before is not None else None
            silent = holder is not None and holder.dead_man.silent_for_s(self._clock()) > HOLDER_SILENT_S
            self.seat.ask(visitor.number, silent)
        elif said.how == "hand_over":
            self.seat.hand_over(visitor.number, said.to)
        elif said.how == "keep":
            self.seat.keep(visitor.number)
        else:
            self.seat.leave(visitor.number)
        if self.seat.now.holder != before:
            self._rest()

    def _notice(self) -> None:
        """A stop, or a new stage, ends a person's charge; the executor has done the same."""
        seen = (self.announcement, self.stopped)
        if seen != self._seen:
            self._seen = seen
            self.trail.forget()
            self._lose_charge()

    def _lose_charge(self) -> None:
        self._rest()
        if self.in_charge:
            self.in_charge = False
            self._robot.intervene(False)

    def _rest(self) -> None:
        """Nothing is commanded until keys have been let go and pressed anew."""
        self._moves = False
        self.jog.forget()
        self.trail.rest()
        for visitor in self.visitors.values():
            visitor.dead_man.distrust()


def _age_s(now_ns: int, stamp_ns: int) -> float:
    return round((now_ns - stamp_ns) / NANOSECONDS_PER_SECOND, 3)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 1)
