"""The one place where safety lives: what was asked of the arm goes in, what may be sent comes out.

Whatever is asked, and at whatever times, the sent positions keep position, velocity, acceleration, jerk and step
within `LimitsConfig` (`hardware.joint_motion` says why), and every difference between asked and sent is a `Violation`.
A request that cannot be trusted (not finite, wrong names, stale, a clock that went backwards) is refused as a whole:
the arm then comes to rest as quickly as the limits allow, and stays exactly there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field, model_validator

from hardware import joint_motion
from hardware.config import Config
from hardware.errors import BadInput
from hardware.joint_motion import Bounds, State
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import JointReading
from hardware.workspace import NO_DEPTH, Depths, Workspace, WorkspaceBox, brake, positions

Kind = Literal[
    "position",
    "step",
    "velocity",
    "acceleration",
    "jerk",
    "workspace",
    "table",
    "collision",
    "not_finite",
    "names",
    "order",
    "clock",
    "gap",
    "stale_image",
    "stale_chunk",
    "start",
]

_REPORTED_RAD = _REPORTED_M = 1e-6  # below that, sent and asked are the same
_LINE_HALVINGS = 6


@dataclass(frozen=True)
class Violation:
    """Something asked that was not sent.

    `asked` and `sent` are rad for a joint, metres of depth for workspace, table and collision, seconds for ages, gaps
    and clocks, and NaN where there is no number.
    """

    kind: Kind
    joint: str | None
    asked: float
    sent: float


class JointLimits(Config):
    """Limits of one joint. Leave jerk generous: about acceleration / 0.05 s suits geared hobby arms."""

    name: str
    lower_rad: float
    upper_rad: float
    velocity_rad_s: float = Field(gt=0)
    acceleration_rad_s2: float = Field(gt=0)
    jerk_rad_s3: float = Field(gt=0)
    step_rad: float | None = Field(default=None, gt=0)
    """The furthest one command may be from the one before it, even after a pause."""

    @model_validator(mode="after")
    def _is_usable(self) -> JointLimits:
        numbers = self.model_dump(exclude={"name"}, exclude_none=True)
        if not all(isfinite(value) for value in numbers.values()):
            raise ValueError(f"limits of '{self.name}' must be finite: {numbers}")
        if not self.lower_rad < self.upper_rad:
            raise ValueError(f"'{self.name}': lower_rad {self.lower_rad} must be below upper_rad {self.upper_rad}")
        return self

    def bounds(self, max_gap_s: float) -> Bounds:
        """With the velocity lowered where `step_rad` asks for it.

        A step takes up to `max_gap_s`, and after a longer pause a whole stop; both must fit into `step_rad`.
        """
        velocity, limit, jerk = self.velocity_rad_s, self.acceleration_rad_s2, self.jerk_rad_s3
        if self.step_rad is not None:
            ramp_s = 1.5 * limit / jerk  # a stop from speed u takes less than u·ramp_s + u²/(2 limit)
            stopping = limit * (sqrt(ramp_s * ramp_s + 2 * self.step_rad / limit) - ramp_s)
            velocity = min(velocity, self.step_rad / max_gap_s, stopping)
        return Bounds(self.lower_rad, self.upper_rad, velocity, limit, jerk)


class LimitsConfig(Config):
    """Everything that a cell limits. Frames: the arm's base."""

    joints: tuple[JointLimits, ...] = Field(min_length=1)
    workspace: WorkspaceBox | None = None
    table_height_m: float | None = None
    least_clearance_m: float | None = Field(default=None, ge=0)
    """Between links, by the twin's collision model."""
    max_gap_s: float = Field(default=0.1, gt=0)
    """A longer pause between two commands brings the arm to rest before it goes on."""
    stale_image_s: float = Field(default=0.5, gt=0)
    stale_chunk_s: float = Field(default=1.5, gt=0)
    """Age of the observation that a chunk answers, at the moment it is executed."""
    ahead_s: float = Field(default=0.02, ge=0)
    """How far a stamp may lie in the future before its clock counts as wrong."""
    start_tolerance_rad: float = Field(default=0.1, ge=0)
    """How far beyond a position limit an arm may stand and still be moved (back inside only)."""

    @model_validator(mode="after")
    def _names_differ(self) -> LimitsConfig:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"joint names repeat: {', '.join(self.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)


@dataclass(frozen=True, eq=False)
class Request:
    """One position command, with where its contents come from."""

    names: tuple[str, ...]
    q_rad: Float[ndarray, " J"]
    dq_rad_s: Float[ndarray, " J"] | None = None
    """The velocity that the motion has there; estimated from the requests before when None."""
    chunk_stamp_ns: int | None = None
    """When the observation was made that this command answers."""
    image_stamps_ns: Mapping[str, int] = field(default_factory=dict)
    """The newest image of each camera that the policy saw."""


@dataclass(frozen=True, eq=False)
class Sent:
    """One command that is within the limits, and what it leaves out of what was asked."""

    stamp_ns: int
    q_rad: Float[ndarray, " J"]
    dq_rad_s: Float[ndarray, " J"]
    violations: tuple[Violation, ...]
    at_rest: bool


class Limiter:
    """A stateful filter for one arm; one thread. `start`, then `filter` or `hold` once per cycle.

    `now_ns` of all methods is one monotonic clock. `counts` holds how often each kind was violated since creation.
    """

    def __init__(
        self,
        config: LimitsConfig,
        tool_points_m: Callable[[ndarray], ndarray] | None = None,
        clearance_m: Callable[[ndarray], float] | None = None,
        lever_m: float = inf,
    ) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._bounds = [joint.bounds(config.max_gap_s) for joint in config.joints]
        self._workspace = Workspace(
            config.workspace,
            config.table_height_m,
            config.least_clearance_m,
            tool_points_m,
            clearance_m,
            lever_m,
        )
        self._states: list[State] = []
        self._beyond = False
        self._allowed = NO_DEPTH
        self._last_ns = 0
        self._last_dt_s = 0.01
        self._asked: list[tuple[list[float], float]] = []

    def start(self, now_ns: int, reading: JointReading) -> tuple[Violation, ...]:
        """Begins from where the arm is, with the velocity it has. May be called again at any time.

        Raises `BadInput` when a joint stands further beyond its limits than `start_tolerance_rad`, or the names differ.
        """
        if reading.names != self.config.names:
            raise BadInput(
                f"the arm's joints are {', '.join(reading.names)}; the limits name {', '.join(self.config.names)}",
                "name the joints in the cell file as the arm does, in its order",
            )
        q_rad = reading.q_rad.tolist()
        for joint, q in zip(self.config.joints, q_rad, strict=True):
            beyond = max(joint.lower_rad - q, q - joint.upper_rad)
            if beyond > self.config.start_tolerance_rad:
                raise BadInput(
                    f"'{joint.name}' stands at {q:.3f} rad, outside {joint.lower_rad:.3f} … {joint.upper_rad:.3f}",
                    "move the arm by hand, or correct its zero or the limits in the cell file",
                )
        dq_rad_s = [0.0] * len(q_rad) if reading.dq_rad_s is None else reading.dq_rad_s.tolist()
        self._states = [(q, dq, 0.0) for q, dq in zip(q_rad, dq_rad_s, strict=True)]
        self._last_ns = now_ns
        self._asked.clear()
        violations = [
            Violation("start", joint.name, state[0], state[0])
            for joint, state, bounds in zip(self.config.joints, self._states, self._bounds, strict=True)
            if not joint_motion.is_safe(state, bounds)
        ]
        self._beyond = bool(violations)
        self._allowed = NO_DEPTH
        if self._workspace.is_limited:
            self._allowed = self._workspace.stop_depths(self._states, self._bounds, NO_DEPTH)
        return self._count(violations)

    def filter(self, now_ns: int, request: Request) -> Sent:
        """The nearest that the limits let be sent now. Raises `BadInput` before `start`."""
        dt_s, violations = self._step(now_ns)
        violations += self._distrust(now_ns, request)
        if violations:
            return self._stop(now_ns, dt_s, violations)
        asked = request.q_rad.tolist()
        aims = self._aims(asked, request.dq_rad_s, dt_s)
        before = self._states
        if self._workspace.is_limited:
            self._states, violations = self._follow_inside(asked, aims, dt_s)
        else:
            self._states = self._follow(asked, aims, dt_s)
        violations += self._clipped(asked, before, dt_s)
        return self._sent(now_ns, violations)

    def hold(self, now_ns: int) -> Sent:
        """Comes to rest as quickly as the limits allow, then sends the same angles for ever."""
        dt_s, violations = self._step(now_ns)
        return self._stop(now_ns, dt_s, violations)

    def _step(self, now_ns: int) -> tuple[float, list[Violation]]:
        """Time since the last command. A clock that went backwards counts as one ordinary step."""
        if not self._states:
            raise BadInput("the limits do not know where the arm is", "read the arm and call start first")
        dt_s = (now_ns - self._last_ns) / NANOSECONDS_PER_SECOND
        self._last_ns = now_ns
        if dt_s <= 0:
            return (self._last_dt_s if dt_s < 0 else 0.0), [Violation("clock", None, dt_s, 0.0)]
        if dt_s > self.config.max_gap_s:
            return dt_s, [Violation("gap", None, dt_s, self.config.max_gap_s)]
        self._last_dt_s = dt_s
        return dt_s, []

    def _distrust(self, now_ns: int, request: Request) -> list[Violation]:
        names = self.config.names
        if request.names != names:
            kind: Kind = "order" if sorted(request.names) == sorted(names) else "names"
            return [Violation(kind, None, float("nan"), float("nan"))]
        if request.q_rad.shape != (len(names),):
            return [Violation("names", None, float(request.q_rad.size), float(len(names)))]
        found = [
            Violation("not_finite", names[index], float(request.q_rad[index]), self._states[index][0])
            for index in np.flatnonzero(~np.isfinite(request.q_rad))
        ]
        dq_rad_s = request.dq_rad_s
        if dq_rad_s is not None and not (dq_rad_s.shape == (len(names),) and np.isfinite(dq_rad_s).all()):
            found.append(Violation("not_finite", None, float("nan"), float("nan")))
        if request.chunk_stamp_ns is not None:
            found += self._stale("stale_chunk", None, now_ns, request.chunk_stamp_ns, self.config.stale_chunk_s)
        for camera, stamp_ns in request.image_stamps_ns.items():
            found += self._stale("stale_image", camera, now_ns, stamp_ns, self.config.stale_image_s)
        return found

    def _stale(self, kind: Kind, what: str | None, now_ns: int, stamp_ns: int, limit_s: float) -> list[Violation]:
        age_s = (now_ns - stamp_ns) / NANOSECONDS_PER_SECOND
        if age_s > limit_s:
            return [Violation(kind, what, age_s, limit_s)]
        if age_s < -self.config.ahead_s:
            return [Violation("clock", what, age_s, 0.0)]
        return []

    def _aims(self, asked: list[float], dq_rad_s: ndarray | None, dt_s: float) -> list[tuple[float, float]]:
        """(velocity to arrive with, velocity to chase with) per joint."""
        if dq_rad_s is not None:
            self._asked.clear()
            return [(dq, dq) for dq in dq_rad_s.tolist()]
        history, self._asked = self._asked, [(asked, dt_s), *self._asked[:1]]
        if len(history) < 2:
            return [(0.0, 0.0)] * len(asked)
        (newer, newer_dt_s), (older, _) = history
        aims = []
        for q2, q1, q0 in zip(asked, newer, older, strict=True):
            late, early = (q2 - q1) / dt_s, (q1 - q0) / newer_dt_s
            parabola = late + dt_s * (late - early) / (dt_s + newer_dt_s)
            calmer = min(late, early, key=abs) if late * early > 0 else 0.0
            aims.append((parabola, calmer))
        return aims

    def _follow(self, asked: list[float], aims: list[tuple[float, float]], dt_s: float) -> list[State]:
        after = []
        for state, bounds, q, (arrive, chase) in zip(self._states, self._bounds, asked, aims, strict=True):
            if self._beyond:
                bounds = joint_motion.widened(state, bounds)
            after.append(joint_motion.follow(state, q, arrive, chase, dt_s, bounds))
        return after

    def _follow_inside(
        self, asked: list[float], aims: list[tuple[float, float]], dt_s: float
    ) -> tuple[list[State], list[Violation]]:
        """As `_follow`, but only where the way and a stop from its end keep inside workspace, table and clearance."""
        target, wrong = self._inside(asked)
        if target is not asked:
            aims = [(0.0, 0.0)] * len(asked)
        after = self._follow(target, aims, dt_s)
        depths = self._workspace.stop_depths(after, self._bounds, self._allowed)
        if self._is_allowed(depths):
            self._allow(depths)
            return after, wrong
        after = brake(self._states, dt_s, self._bounds)
        if not wrong:
            wrong = self._beyond_allowed(depths, self._workspace.depths(positions(after)))
        return after, wrong

    def _inside(self, asked: list[float]) -> tuple[list[float], list[Violation]]:
        """What was asked, or the furthest towards it, on a straight line in joint space, that is allowed."""
        depths = self._workspace.depths(np.array(asked))
        if self._is_allowed(depths):
            return asked, []
        rest = [
            q + joint_motion.stop_end(dq, ddq, bounds)
            for (q, dq, ddq), bounds in zip(self._states, self._bounds, strict=True)
        ]
        near, far = 0.0, 1.0
        for _ in range(_LINE_HALVINGS):
            middle = (near + far) / 2
            point = [a + middle * (b - a) for a, b in zip(rest, asked, strict=True)]
            if self._is_allowed(self._workspace.depths(np.array(point))):
                near = middle
            else:
                far = middle
        point = [a + near * (b - a) for a, b in zip(rest, asked, strict=True)]
        return point, self._beyond_allowed(depths, self._workspace.depths(np.array(point)))

    def _is_allowed(self, depths: Depths) -> bool:
        return depths.excess(self._allowed) <= _REPORTED_M

    def _allow(self, depths: Depths) -> None:
        """From beyond a limit the arm may only come back: what it has left stays forbidden."""
        self._allowed = Depths(*(min(a, b) for a, b in zip(self._allowed, depths, strict=True)))

    def _beyond_allowed(self, asked: Depths, sent: Depths) -> list[Violation]:
        kinds: tuple[Kind, Kind, Kind] = ("workspace", "table", "collision")
        return [
            Violation(kind, None, depth, sent_depth)
            for kind, depth, sent_depth, allowed in zip(kinds, asked, sent, self._allowed, strict=True)
            if depth > max(0.0, allowed) + _REPORTED_M
        ]

    def _stop(self, now_ns: int, dt_s: float, violations: list[Violation]) -> Sent:
        self._asked.clear()
        self._states = brake(self._states, dt_s, self._bounds)
        return self._sent(now_ns, violations)

    def _clipped(self, asked: list[float], before: list[State], dt_s: float) -> list[Violation]:
        found = []
        for joint, q, (q0, dq0, _), (sent, _, _) in zip(
            self.config.joints, asked, before, self._states, strict=True
        ):
            if abs(q - sent) > _REPORTED_RAD:
                found.append(Violation(_reason(joint, q, q0, dq0, dt_s), joint.name, q, sent))
        return found

    def _sent(self, now_ns: int, violations: list[Violation]) -> Sent:
        if self._beyond:
            self._beyond = not all(map(joint_motion.is_safe, self._states, self._bounds))
        return Sent(
            stamp_ns=now_ns,
            q_rad=positions(self._states),
            dq_rad_s=np.array([dq for _, dq, _ in self._states]),
            violations=self._count(violations),
            at_rest=all(dq == 0.0 and ddq == 0.0 for _, dq, ddq in self._states),
        )

    def _count(self, violations: list[Violation]) -> tuple[Violation, ...]:
        self.counts.update(violation.kind for violation in violations)
        return tuple(violations)


def _reason(joint: JointLimits, asked: float, q: float, dq: float, dt_s: float) -> Kind:
    """The first limit that a straight jump from (q, dq) to what was asked would break."""
    if not joint.lower_rad <= asked <= joint.upper_rad:
        return "position"
    if joint.step_rad is not None and abs(asked - q) > joint.step_rad:
        return "step"
    velocity = (asked - q) / dt_s
    if abs(velocity) > joint.velocity_rad_s:
        return "velocity"
    if abs(velocity - dq) > joint.acceleration_rad_s2 * dt_s:
        return "acceleration"
    return "jerk"
