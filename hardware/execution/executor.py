"""Chunks and a person's commands in, at any time and from any thread; one smooth command per control step out.

The motion is always one plan: a path, or two added up. Every change of plan leaves from the state that the running one
has at that moment (`path.joined`, `path.stop`), so position, velocity and acceleration go on without a jump whatever
arrives. No clock and no thread in here: `tick(now_ns)` alone changes the motion; all other methods leave a message.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import BadInput
from hardware.execution import intake, path
from hardware.execution.command import (
    Command,
    CommandSource,
    CommandState,
    ExecutorConfig,
    ExecutorStatus,
    Intervener,
    Refusal,
)
from hardware.execution.delay import ExecutedDelay
from hardware.execution.hand import Hand, HandCommand
from hardware.execution.intake import GRIPPER
from hardware.execution.path import Moment
from hardware.execution.plan import ENDED, Handover, Plan
from hardware.execution.seam import SeamKind, SeamMeter
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk
from hardware.ports import JointReading

_WAITING_CHUNKS = 8
_WAITING_COMMANDS = 32
_WAITING_REFUSALS = 1000


class Executor:
    """For one arm. `start`, then `tick` once per control step, both from one thread; the rest from any thread.

    All stamps are of one monotonic clock. `source` labels the chunks: "scripted" where no policy makes them.
    """

    def __init__(
        self,
        joint_names: tuple[str, ...],
        config: ExecutorConfig | None = None,
        has_gripper: bool = True,
        source: Literal["policy", "scripted"] = "policy",
    ) -> None:
        self.config = config or ExecutorConfig()
        self.joint_names = joint_names
        self.names = (*joint_names, GRIPPER) if has_gripper else joint_names
        """The columns that a chunk must have."""
        self.counts: Counter[str] = Counter()
        self._source: CommandSource = source
        self._joints = len(joint_names)
        self._straight = np.array([name == GRIPPER for name in self.names])
        self._delay = ExecutedDelay(self.config.delay_quantile, self.config.delay_window, self.config.cold_chunks)
        self._meter = SeamMeter(self._joints)
        self._orders: deque[tuple[str, str]] = deque()
        self._chunks: deque[tuple[ActionChunk, int]] = deque(maxlen=_WAITING_CHUNKS)
        self._commands: deque[HandCommand] = deque(maxlen=_WAITING_COMMANDS)
        self._refused: deque[Refusal] = deque(maxlen=_WAITING_REFUSALS)
        self._plan: Plan | None = None
        self._next: tuple[Plan, Handover] | None = None
        self._moment = Moment(*np.zeros((3, len(self.names))))
        self._last_ns = 0
        self._steps = 0
        self._person: Intervener | None = None
        self._emergency: str | None = None
        self._held = False
        self._observed_ns: int | None = None
        self._obsolete_ns = 0
        self._hand = Hand(self.config, self._straight)

    # Messages, from any thread

    def offer(self, chunk: ActionChunk, observation_ns: int) -> Refusal | None:
        """Hands in a chunk that answers the observation of that stamp; returns why it is refused, as far as its
        contents say. What depends on the moment is decided by the next `tick`, and counted in `counts` as well.
        """
        refusal = intake.unusable_chunk(chunk, self.names, self.config.rate_hz)
        if refusal is None:
            values = np.array(chunk.values, dtype=np.float64)
            values[:, self._straight] = np.clip(values[:, self._straight], 0.0, 1.0)
            own = ActionChunk(chunk.start_ns, chunk.rate_hz, chunk.space, chunk.names, values)
            self._chunks.append((own, observation_ns))
        else:
            self._refused.append(refusal)
        return refusal

    def human_command(
        self,
        q_rad: Float[ndarray, " J"],
        gripper: float | None,
        stamp_ns: int,
        dq_rad_s: Float[ndarray, " J"] | None = None,
    ) -> Refusal | None:
        """Where a person in charge wants the joints; `gripper` None leaves it as it is. Send 20 … 100 a second.

        Without `dq_rad_s`, how fast they move there, it is taken from the commands before: later, so less smooth.
        """
        refusal = intake.unusable_command(q_rad, gripper, dq_rad_s, self._joints)
        if refusal is None:
            opening = [np.nan if gripper is None else min(max(gripper, 0.0), 1.0)]
            values = np.array([*q_rad, *opening])[: len(self.names)]
            speeds = None if dq_rad_s is None else np.array([*dq_rad_s, 0.0])[: len(self.names)]
            self._commands.append(HandCommand(stamp_ns, values, speeds))
        else:
            self._refused.append(refusal)
        return refusal

    def take_over(self, source: Intervener) -> None:
        """From the next step a person (or its stand-in) is in charge; the arm slows down until the first command."""
        self._orders.append(("take_over", source))

    def give_back(self) -> None:
        """The arm comes to rest, until a chunk comes that answers an observation made after this."""
        self._orders.append(("give_back", ""))

    def emergency_stop(self, reason: str) -> None:
        """Stops quickly and stays so until `reset_emergency_stop`, through `start` too. Ends a person's charge."""
        self._orders.append(("emergency_stop", reason))

    def reset_emergency_stop(self) -> None:
        """For a person to call. The arm stays at rest until a new chunk, or a person who takes over anew."""
        self._orders.append(("reset", ""))

    def hold(self) -> None:
        """The policy may not act, as a process that it needs is missing: stops quickly. A person still may drive."""
        self._orders.append(("hold", ""))

    def release(self) -> None:
        """The policy may act again, on what it observes from now on."""
        self._orders.append(("release", ""))

    @property
    def status(self) -> ExecutorStatus:
        plan = self._plan
        expires_ns = None if plan is None else plan.expires_ns
        buffered_s = 0.0 if expires_ns is None else max(0, expires_ns - self._last_ns) / NANOSECONDS_PER_SECOND
        return ExecutorStatus(
            state="waiting" if plan is None else plan.state,
            source="hold" if plan is None else plan.source,
            in_charge=self._person or "policy",
            emergency_reason=self._emergency,
            delay_steps=self._delay.steps,
            buffered_s=buffered_s,
            steps=self._steps,
            counts=dict(self.counts),
        )

    # The control thread

    def start(self, reading: JointReading, gripper: float | None, now_ns: int) -> None:
        """Begins where the arm is, and brings it to rest. Again at any time, at rest: commands then leave for there."""
        if reading.names != self.joint_names:
            raise BadInput(
                f"the arm's joints are {', '.join(reading.names)}; the executor has {', '.join(self.joint_names)}",
                "name the joints in the cell file as the arm does, in its order",
            )
        if (gripper is None) == (len(self.names) > self._joints):
            raise BadInput("a gripper's opening was read without a gripper in the cell, or the other way round")
        still = np.zeros(self._joints)
        dq_rad_s = still if reading.dq_rad_s is None else reading.dq_rad_s
        moment = Moment(*np.zeros((3, len(self.names))))
        moment.q[:] = [*reading.q_rad, *([] if gripper is None else [gripper])]
        moment.dq[: self._joints] = dq_rad_s
        self._chunks.clear()
        self._commands.clear()
        self._delay.restart()
        self._forget(now_ns)
        self._person = None
        self._last_ns, self._moment = now_ns, moment
        self._meter.restart(now_ns, moment)
        self._plan = Plan(path.stop(moment, now_ns, self.config.quick_stop_s), now_ns, "hold", self._idle_state())

    def tick(self, now_ns: int) -> Command:
        """One control step. Raises `BadInput` before `start`."""
        plan = self._trusted(now_ns)
        self.counts.update(_drained(self._refused))
        for order, text in _drained(self._orders):
            plan = self._obey(order, text, plan, now_ns)
        for chunk, observation_ns in _drained(self._chunks):
            self._accept(chunk, observation_ns, plan, now_ns)
        for command in _drained(self._commands):
            plan = self._follow(command, plan, now_ns)
        plan = self._plan = self._current(plan, now_ns)
        moment = self._moment = plan.path.at(now_ns)
        self._meter.add(now_ns, moment)
        self._delay.executed(now_ns)
        self._last_ns = now_ns
        self._steps += 1
        joints, gripper = slice(self._joints), moment.q[self._joints :]
        return Command(
            stamp_ns=now_ns,
            q_rad=moment.q[joints],
            dq_rad_s=moment.dq[joints],
            ddq_rad_s2=moment.ddq[joints],
            gripper_open=float(min(max(gripper[0], 0.0), 1.0)) if gripper.size else None,
            source=plan.source,
            state=plan.state,
            chunk_stamp_ns=plan.chunk_stamp_ns,
            seam=self._meter.complete(),
        )

    def _trusted(self, now_ns: int) -> Plan:
        """The running plan. After a clock that went backwards, or a pause, its times mean nothing: a stop instead."""
        if self._plan is None:
            raise BadInput("the executor does not know where the arm is", "read the arm and call start first")
        passed_ns = now_ns - self._last_ns
        if 0 <= passed_ns <= self.config.max_gap_s * NANOSECONDS_PER_SECOND:
            return self._plan
        self.counts["clock_backwards" if passed_ns < 0 else "gap"] += 1
        if passed_ns < 0:
            self._delay.restart()
        self._forget(now_ns)
        begins_ns = now_ns - self.config.period_ns
        return self._braked("clock", begins_ns, self._idle_state(), self._moment)

    def _obey(self, order: str, text: str, plan: Plan, now_ns: int) -> Plan:
        """A message that is not a motion; returns the plan after it."""
        if order == "emergency_stop":
            if self._emergency is None:
                self._emergency, self._person = text, None
                return self._braked_now("emergency_stop", plan, now_ns)
        elif order == "reset":
            if self._emergency is not None:
                self._emergency = None
                self._forget(now_ns)
                return self._brake(plan.path.at(now_ns), now_ns, self._idle_state())
        elif order in ("hold", "release"):
            self._held = order == "hold"
            if self._person is None:
                self._forget(now_ns)
                return self._braked_now("hold", plan, now_ns) if self._held else plan
        elif self._emergency is not None:
            self.counts["emergency_stop"] += 1
        elif order == "take_over":
            if self._person != text:
                self._person = "human" if text == "human" else "scripted"
                self._forget(now_ns)
                return self._stopped_now("take_over", plan, now_ns)
        elif self._person is None:
            self.counts["not_in_charge"] += 1
        else:
            self._person = None
            self._forget(now_ns)
            return self._stopped_now("give_back", plan, now_ns)
        return plan

    def _accept(self, chunk: ActionChunk, observation_ns: int, plan: Plan, now_ns: int) -> None:
        """Prepares the hand-over to a chunk, behind the committed steps; or refuses it."""
        freeze_ns = self.config.freeze_steps * self.config.period_ns
        begins_ns = self._next[0].begins_ns if self._next else now_ns + freeze_ns
        if plan.expires_ns is not None:
            begins_ns = max(now_ns, min(begins_ns, plan.expires_ns))
        rows = chunk.after(begins_ns)
        refusal = self._untimely(chunk, observation_ns, now_ns) or ("past" if rows is None else None)
        if rows is None or refusal is not None:
            self.counts[str(refusal)] += 1
            return
        delay_steps = self._delay.arrived(observation_ns)
        too_old_ns = observation_ns + round(self.config.stale_chunk_s * NANOSECONDS_PER_SECOND)
        useful = 3 + max(0, round((too_old_ns - rows.start_ns) / NANOSECONDS_PER_SECOND * rows.rate_hz))
        onto = path.through(rows.values[:useful], rows.due_ns(0), rows.rate_hz, self._straight)
        before = plan.path.at(begins_ns)
        joined = path.joined(
            before, onto, begins_ns, self.config.blend_s, self.config.blend_speed_rad_s, self._joints
        )
        after = Plan(
            path=joined,
            begins_ns=begins_ns,
            source=self._source,
            state="running",
            expires_ns=min(rows.end_ns, too_old_ns),
            ending="dry" if rows.end_ns <= too_old_ns else "stale_chunk",
            chunk_stamp_ns=observation_ns,
        )
        gap = onto.at(begins_ns).q - before.q
        self._next = after, Handover("chunk", joined.duration_s, gap, delay_steps, len(chunk) - len(rows))
        self._observed_ns = observation_ns

    def _not_in_charge(self) -> Refusal | None:
        if self._emergency is not None:
            return "emergency_stop"
        return "not_in_charge" if self._person is None else None

    def _untimely(self, chunk: ActionChunk, observation_ns: int, now_ns: int) -> Refusal | None:
        ahead_ns = now_ns + self.config.ahead_s * NANOSECONDS_PER_SECOND
        if self._emergency is not None:
            return "emergency_stop"
        if self._person is not None:
            return "not_in_charge"
        if self._held:
            return "held"
        if observation_ns > ahead_ns or chunk.start_ns > ahead_ns:
            return "clock"
        if now_ns - observation_ns > self.config.stale_chunk_s * NANOSECONDS_PER_SECOND:
            return "stale"
        if observation_ns < self._obsolete_ns:
            return "obsolete"
        if self._observed_ns is not None and observation_ns <= self._observed_ns:
            return "older"
        return None

    def _follow(self, command: HandCommand, plan: Plan, now_ns: int) -> Plan:
        """A person's command, from the state that the arm is in."""
        refusal = self._not_in_charge() or self._hand.untimely(command, now_ns)
        if refusal is not None:
            self.counts[refusal] += 1
            return plan
        plan = self._current(plan, now_ns)
        before = plan.path.at(now_ns)
        wanted = np.where(np.isnan(command.values), before.q, command.values)
        self._hand.moved(command)
        onto = path.line(wanted, self._hand.speed(wanted - before.q), command.stamp_ns)
        joined = path.joined(before, onto, now_ns, self.config.reach_s, self.config.human_speed_rad_s, self._joints)
        if plan.source != self._person:
            self._meter.begin("take_over", now_ns, joined.duration_s, onto.at(now_ns).q - before.q)
        return Plan(
            path=joined,
            begins_ns=now_ns,
            source=self._person or "hold",
            state="running",
            expires_ns=command.stamp_ns + round(self.config.stale_human_s * NANOSECONDS_PER_SECOND),
            ending="stale_human",
        )

    def _current(self, plan: Plan, now_ns: int) -> Plan:
        """The plan that holds at `now_ns`: the next one if its time has come, a stop if its own is over."""
        if self._next is not None and self._next[0].begins_ns <= now_ns:
            (plan, seam), self._next = self._next, None
            self._meter.begin(
                seam.kind, plan.begins_ns, seam.duration_s, seam.gap, seam.delay_steps, seam.dropped_rows
            )
        if plan.expires_ns is not None and plan.expires_ns < now_ns:
            state, moment = ENDED[plan.ending], plan.path.at(plan.expires_ns)
            stopped = self._braked if plan.ending == "stale_human" else self._stopped
            return stopped(plan.ending, plan.expires_ns, state, moment)
        return plan

    def _stopped_now(self, kind: SeamKind, plan: Plan, now_ns: int) -> Plan:
        plan = self._current(plan, now_ns)
        self._next = None
        return self._stopped(kind, now_ns, self._idle_state(), plan.path.at(now_ns))

    def _braked_now(self, kind: SeamKind, plan: Plan, now_ns: int) -> Plan:
        plan = self._current(plan, now_ns)
        self._next = None
        return self._braked(kind, now_ns, self._idle_state(), plan.path.at(now_ns))

    def _stopped(self, kind: SeamKind, begins_ns: int, state: CommandState, moment: Moment) -> Plan:
        self._meter.begin(kind, begins_ns, self.config.stop_s, np.zeros_like(moment.q))
        return Plan(path.stop(moment, begins_ns, self.config.stop_s), begins_ns, "hold", state)

    def _braked(self, kind: SeamKind, begins_ns: int, state: CommandState, moment: Moment) -> Plan:
        self._meter.begin(kind, begins_ns, self.config.quick_stop_s, np.zeros_like(moment.q))
        return self._brake(moment, begins_ns, state)

    def _brake(self, moment: Moment, begins_ns: int, state: CommandState) -> Plan:
        joints = Moment(*(column[: self._joints] for column in moment))
        least_s = path.shortest_stop_s(joints, self.config.stop_acceleration_rad_s2, self.config.stop_jerk_rad_s3)
        return Plan(path.stop(moment, begins_ns, max(self.config.quick_stop_s, least_s)), begins_ns, "brake", state)

    def _idle_state(self) -> CommandState:
        if self._emergency is not None:
            return "emergency_stop"
        return "waiting" if self._person is None else "quiet"

    def _forget(self, now_ns: int) -> None:
        """What was planned, or observed, before now does not hold any more."""
        self._next = None
        self._observed_ns = None
        self._obsolete_ns = now_ns
        self._hand.clear()


def _drained[T](messages: deque[T]) -> Iterator[T]:
    while messages:
        yield messages.popleft()
