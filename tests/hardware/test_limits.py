"""Whatever is asked, what is sent keeps every limit, and every difference between the two is reported and counted."""

import math
from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.errors import BadInput
from hardware.limits import JointLimits, Kind, Limiter, LimitsConfig, Request, Sent
from hardware.ports import JointReading
from hardware.workspace import WorkspaceBox

NAMES = ("yaw", "shoulder", "elbow")
MS = 1_000_000
REST = (0.0, 0.9, -1.2)
"""Well inside: the tip is at (0.43, 0, 0.26)."""


def joint(name: str, **changes) -> JointLimits:
    usual = {
        "lower_rad": -1.5,
        "upper_rad": 1.5,
        "velocity_rad_s": 2.0,
        "acceleration_rad_s2": 10.0,
        "jerk_rad_s3": 200.0,
    }
    return JointLimits(name=name, **(usual | changes))


def config(step_rad: float | None = None, **changes) -> LimitsConfig:
    return LimitsConfig(joints=tuple(joint(name, step_rad=step_rad) for name in NAMES), **changes)


BOX = WorkspaceBox(lower_m=(0.1, -0.35, -1.0), upper_m=(0.5, 0.35, 0.55))
CAGED = config(workspace=BOX, table_height_m=0.02, least_clearance_m=0.05)


def tool_points_m(q_rad):
    """Elbow and tip of an arm of 0.3 m and 0.25 m on a turning column 0.1 m high."""
    yaw, shoulder, elbow = q_rad
    reach = np.cumsum([0.3 * math.cos(shoulder), 0.25 * math.cos(shoulder + elbow)])
    height = 0.1 + np.cumsum([0.3 * math.sin(shoulder), 0.25 * math.sin(shoulder + elbow)])
    return np.stack([reach * math.cos(yaw), reach * math.sin(yaw), height], -1)


def clearance_m(q_rad) -> float:
    """Of the tip from a column of 0.08 m radius."""
    return float(math.hypot(*tool_points_m(q_rad)[1, :2]) - 0.08)


def limiter(limits: LimitsConfig, start=REST, dq=None) -> Limiter:
    new = Limiter(limits, tool_points_m, clearance_m, lever_m=0.55)
    new.start(0, reading(start, dq))
    return new


def reading(q, dq=None) -> JointReading:
    return JointReading(0, NAMES, np.array(q), None if dq is None else np.array(dq))


def ask(q, **rest) -> Request:
    return Request(rest.pop("names", NAMES), np.array(q, dtype=np.float64), **rest)


def kinds(sent: Sent) -> list[str]:
    return [violation.kind for violation in sent.violations]


class Watch:
    """Keeps what was sent against the time that passed for the motion, and checks its differences.

    Divided differences of a motion whose derivatives keep limits keep them too, at uneven times as well.
    """

    def __init__(self, limits: LimitsConfig, start) -> None:
        self.limits = limits
        self.times_s, self.sent = [0.0], [np.array(start)]
        self.last_dt_s = 0.01

    def saw(self, dt_s: float, sent: Sent) -> None:
        if dt_s == 0:
            np.testing.assert_array_equal(sent.q_rad, self.sent[-1])
            return
        if dt_s < 0:  # a clock that went backwards counts as one ordinary step
            dt_s = self.last_dt_s
        elif dt_s <= self.limits.max_gap_s:
            self.last_dt_s = dt_s
        self.times_s.append(self.times_s[-1] + dt_s)
        self.sent.append(sent.q_rad)
        assert np.isfinite(sent.q_rad).all()
        for name, dq in zip(NAMES, sent.dq_rad_s, strict=True):
            assert abs(dq) <= self.joint(name).velocity_rad_s + 1e-9

    def joint(self, name: str) -> JointLimits:
        return self.limits.joints[NAMES.index(name)]

    def check(self) -> None:
        t, q = np.array(self.times_s), np.array(self.sent)
        for number, limits in enumerate(self.limits.joints):
            assert q[:, number].min() >= limits.lower_rad - 1e-9
            assert q[:, number].max() <= limits.upper_rad + 1e-9
            if limits.step_rad is not None:
                assert np.abs(np.diff(q[:, number])).max(initial=0) <= limits.step_rad + 1e-9
            difference, span = q[:, number], t
            for order, most in enumerate(
                (limits.velocity_rad_s, limits.acceleration_rad_s2, limits.jerk_rad_s3), start=1
            ):
                if len(t) <= order:
                    break
                span = t[order:] - t[:-order]
                difference = order * np.diff(difference) / span
                noise = 1e-9 + 4e-15 / np.diff(t).min() ** order  # rounding of the angles themselves
                assert np.abs(difference).max() <= most * (1 + 1e-6) + noise


anything = st.floats(allow_nan=True, allow_infinity=True)
angles = st.floats(-1.6, 1.6) | st.floats(-4, 4) | anything
steps_ms = st.integers(2, 30) | st.sampled_from([0, -5, 10, 10, 10, 10, 99, 101, 250, 3000])


@st.composite
def requests(draw):
    """(what, arguments) of one call: mostly sane requests, now and then every kind of nonsense."""
    what = draw(
        st.sampled_from(["filter"] * 12 + ["hold", "names", "order", "short", "stale", "future", "velocity"])
    )
    return what, draw(st.tuples(angles, angles, angles)), draw(st.tuples(anything, anything, anything))


def call(limiter: Limiter, now_ns: int, what: str, q, dq) -> Sent:
    if what == "hold":
        return limiter.hold(now_ns)
    changes = {
        "filter": {},
        "names": {"names": ("yaw", "shoulder", "wrist")},
        "order": {"names": ("shoulder", "yaw", "elbow")},
        "short": {},
        "stale": {"chunk_stamp_ns": now_ns - 2_000 * MS},
        "future": {"image_stamps_ns": {"wrist": now_ns + 50 * MS}},
        "velocity": {"dq_rad_s": np.array(dq)},
    }[what]
    return limiter.filter(now_ns, ask(q[:2] if what == "short" else q, **changes))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([None, 0.02]),
    st.lists(st.tuples(steps_ms, requests()), min_size=1, max_size=40),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_no_input_whatever_makes_a_command_leave_the_joint_limits(step_rad, calls, start):
    limits = config(step_rad)
    arm, watch, now_ns, counted = limiter(limits, start), Watch(limits, start), 0, Counter()
    for dt_ms, (what, q, dq) in calls:
        now_ns += dt_ms * MS
        sent = call(arm, now_ns, what, q, dq)
        watch.saw(dt_ms / 1000, sent)
        counted.update(kinds(sent))
        refused = what not in ("filter", "hold", "velocity") or not 0 < dt_ms <= 100
        same = what == "hold" or np.array_equal(q, sent.q_rad)
        assert sent.violations or (same and not refused) or np.allclose(q, sent.q_rad, atol=1e-6)
    watch.check()
    assert arm.counts == counted


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(steps_ms, requests()), min_size=1, max_size=40))
def test_no_input_whatever_makes_a_command_leave_the_cage(calls):
    arm, watch, now_ns = limiter(CAGED), Watch(CAGED, REST), 0
    for dt_ms, (what, q, dq) in calls:
        now_ns += dt_ms * MS
        sent = call(arm, now_ns, what, q, dq)
        watch.saw(dt_ms / 1000, sent)
        assert_caged(sent.q_rad)
    watch.check()


def assert_caged(q_rad, slack_m: float = 1e-4) -> None:
    points_m = tool_points_m(q_rad)
    assert (points_m >= np.array(BOX.lower_m) - slack_m).all()
    assert (points_m <= np.array(BOX.upper_m) + slack_m).all()
    assert points_m[:, 2].min() >= 0.02 - slack_m
    assert clearance_m(q_rad) >= 0.05 - slack_m


@pytest.mark.parametrize("seed", range(2))
def test_a_restless_policy_of_five_seconds_stays_in_the_cage(seed):
    rng = np.random.default_rng(seed)
    arm, watch, now_ns, q = limiter(CAGED), Watch(CAGED, REST), 0, np.array(REST)
    for _ in range(300):
        dt_ms = int(rng.choice([5, 10, 10, 10, 20, 50]))
        now_ns += dt_ms * MS
        q = q + rng.normal(0, 0.2, 3) if rng.random() < 0.9 else rng.uniform(-1.5, 1.5, 3)
        sent = arm.filter(now_ns, ask(q))
        watch.saw(dt_ms / 1000, sent)
        assert_caged(sent.q_rad)
    watch.check()
    assert {"table", "workspace", "collision", "velocity"} & set(arm.counts)


@pytest.mark.parametrize("limits", [config(), CAGED])
@pytest.mark.parametrize("knows_velocity", [True, False])
def test_a_smooth_motion_within_the_limits_is_sent_as_asked(limits, knows_velocity):
    arm, swing = limiter(limits), np.array([0.3, 0.1, 0.1])
    for step in range(1, 200):
        angle = 3.0 * step * 0.01
        rise, speed = (1 - math.cos(angle)) ** 2 / 4, 3.0 * (1 - math.cos(angle)) * math.sin(angle) / 2
        dq_rad_s = swing * speed if knows_velocity else None
        sent = arm.filter(step * 10 * MS, ask(np.array(REST) + swing * rise, dq_rad_s=dq_rad_s))
        # Estimated from positions, the velocity is late where the acceleration changes fast.
        assert np.abs(sent.q_rad - np.array(REST) - swing * rise).max() <= (1e-12 if knows_velocity else 2e-3)
    assert set(arm.counts) <= (set() if knows_velocity else {"jerk", "acceleration"})


def test_hold_comes_to_rest_in_the_least_time_and_stays_exactly_there():
    arm = limiter(config(), (0.0, 0.0, 0.0), (1.0, -0.5, 0.0))
    path = [arm.hold(step * 10 * MS) for step in range(1, 40)]
    # 1 rad/s takes 0.15 s and 0.075 rad (worked out in test_joint_motion): 15 steps of 10 ms.
    assert [sent.at_rest for sent in path].index(True) in (14, 15)
    assert path[-1].q_rad[0] == pytest.approx(0.075, abs=1e-6)
    np.testing.assert_array_equal(path[20].q_rad, path[-1].q_rad)
    assert path[-1].dq_rad_s.tolist() == [0.0, 0.0, 0.0]
    assert not arm.counts


def provoke(kind: str) -> tuple[Limiter, Sent]:
    """The limiter and what it sent after the simplest request that breaks this one limit."""
    limits = {"workspace": config(workspace=BOX), "table": config(table_height_m=0.02)}.get(kind, config())
    limits = {"step": config(0.02), "collision": config(least_clearance_m=0.05)}.get(kind, limits)
    start = {"position": (1.4999, 0.9, -1.2)}.get(kind, REST)
    dq = {"acceleration": (0.5, 0.0, 0.0), "jerk": (0.0, 0.0, 0.0)}.get(kind)
    arm, now_ns = limiter(limits, start, dq), 10 * MS
    asked, rest = np.array(start), {}
    if kind in ("position", "step", "velocity", "acceleration", "jerk"):
        asked[0] += {"position": 0.1, "step": 0.03, "velocity": 0.021, "acceleration": 0.0035, "jerk": 5e-4}[kind]
    elif kind == "workspace":
        asked = np.array([0.0, 0.0, 0.0])  # the tip at x = 0.55
    elif kind == "table":
        asked = np.array([0.0, -0.2, -0.2])  # the tip at z = 0.1 − 0.06 − 0.097
    elif kind == "collision":
        asked = np.array([0.0, 1.4, 1.4])  # the tip at x = −0.18, reached through the column
    elif kind == "not_finite":
        asked[1] = np.nan
    elif kind in ("names", "order"):
        rest["names"] = ("yaw", "elbow", "shoulder") if kind == "order" else ("yaw", "shoulder", "wrist")
    elif kind == "clock":
        now_ns = -5 * MS
    elif kind == "gap":
        now_ns = 101 * MS
    elif kind == "stale_chunk":
        now_ns, rest["chunk_stamp_ns"] = 100 * MS, -1_401 * MS
    elif kind == "stale_image":
        now_ns, rest["image_stamps_ns"] = 100 * MS, {"wrist": -401 * MS}
    return arm, arm.filter(now_ns, ask(asked, **rest))


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "start"])
def test_every_kind_of_violation_is_reported_and_counted(kind):
    arm, sent = provoke(kind)
    if kind in ("workspace", "table", "collision"):
        now_ns, target = (
            10 * MS,
            {"workspace": (0, 0, 0), "table": (0, -0.2, -0.2), "collision": (0, 1.4, 1.4)}[kind],
        )
        for _ in range(200):
            now_ns += 10 * MS
            sent = arm.filter(now_ns, ask(target))
    assert kind in kinds(sent)
    assert arm.counts[kind] >= 1
    violation = next(violation for violation in sent.violations if violation.kind == kind)
    if kind in ("position", "step", "velocity", "acceleration", "jerk"):
        assert violation.joint == "yaw"
        assert violation.sent == sent.q_rad[0] != violation.asked
    if kind in ("workspace", "table", "collision"):
        assert violation.asked > 1e-6
        assert violation.sent <= 1e-6
        assert violation.sent > -0.01  # it comes as near as it may


def test_a_refused_request_moves_nothing_at_rest():
    for kind in ("not_finite", "names", "order", "clock", "gap", "stale_chunk", "stale_image"):
        arm, sent = provoke(kind)
        assert kinds(sent) == [kind]
        assert sent.q_rad.tolist() == list(REST)
        assert sent.at_rest
        assert dict(arm.counts) == {kind: 1}


@pytest.mark.parametrize(
    ("stamps", "refused"),
    [
        ({"chunk_stamp_ns": 1000 * MS - 1500 * MS}, []),
        ({"chunk_stamp_ns": 1000 * MS - 1500 * MS - 1}, ["stale_chunk"]),
        ({"image_stamps_ns": {"wrist": 500 * MS, "side": 499 * MS}}, ["stale_image"]),
        ({"image_stamps_ns": {"wrist": 1020 * MS}}, []),
        ({"image_stamps_ns": {"wrist": 1021 * MS}}, ["clock"]),
        ({"chunk_stamp_ns": 1021 * MS}, ["clock"]),
    ],
)
def test_stamps_are_refused_just_beyond_their_limit(stamps, refused):
    arm = limiter(config())
    for step in range(1, 100):
        arm.filter(step * 10 * MS, ask(REST))
    assert kinds(arm.filter(1000 * MS, ask(REST, **stamps))) == refused


def test_two_commands_at_one_moment_send_the_same_angles():
    arm = limiter(config())
    first = arm.filter(10 * MS, ask((0.1, 0.9, -1.2)))
    again = arm.filter(10 * MS, ask((0.2, 0.9, -1.2)))
    assert kinds(again) == ["clock"]
    np.testing.assert_array_equal(first.q_rad, again.q_rad)


def test_an_arm_that_stands_beyond_a_limit_may_only_come_back():
    arm = Limiter(config())
    assert kinds_of(arm.start(0, reading((1.55, 0.0, 0.0)))) == ["start"]
    furthest = 1.55
    for step in range(1, 60):
        sent = arm.filter(step * 10 * MS, ask((2.0 if step < 30 else 1.0, 0.0, 0.0)))
        assert sent.q_rad[0] <= furthest + 1e-9
        furthest = max(1.5, sent.q_rad[0])
    assert sent.q_rad[0] < 1.5
    for step in range(60, 200):
        sent = arm.filter(step * 10 * MS, ask((2.0, 0.0, 0.0)))
        assert sent.q_rad[0] <= 1.5 + 1e-9
    assert arm.counts["start"] == 1


def test_a_tool_that_starts_below_the_table_may_only_come_up():
    arm = Limiter(config(table_height_m=0.3), tool_points_m, lever_m=0.55)
    arm.start(0, reading(REST))  # the tip is at 0.26
    lowest = tool_points_m(REST)[:, 2].min()
    for step in range(1, 300):
        asked = (0.0, 0.5, -1.2) if step < 100 else (0.0, 1.2, -0.9) if step < 200 else (0.0, 0.5, -1.2)
        sent = arm.filter(step * 10 * MS, ask(asked))
        height = tool_points_m(sent.q_rad)[:, 2].min()
        assert height >= lowest - 1e-4
        lowest = max(lowest, min(height, 0.3))
    assert lowest == pytest.approx(0.3, abs=0.01)
    assert arm.counts["table"] > 0


def kinds_of(violations) -> list[str]:
    return [violation.kind for violation in violations]


def test_a_start_that_cannot_be_right_is_refused():
    arm = Limiter(config())
    with pytest.raises(BadInput, match="call start first"):
        arm.hold(0)
    with pytest.raises(BadInput, match=r"'yaw' stands at 1\.700 rad, outside -1\.500 … 1\.500"):
        arm.start(0, reading((1.7, 0.0, 0.0)))
    with pytest.raises(BadInput, match="joints are a, b, c; the limits name yaw, shoulder, elbow"):
        arm.start(0, JointReading(0, ("a", "b", "c"), np.zeros(3)))


def test_limits_that_nothing_can_check_are_refused():
    with pytest.raises(BadInput, match="where the tool is cannot be computed"):
        Limiter(config(workspace=BOX))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lower_rad": 1.5},
        {"velocity_rad_s": 0.0},
        {"jerk_rad_s3": math.inf},
        {"upper_rad": math.nan},
        {"step_rad": 0.0},
        {"step_deg": 1.0},
    ],
)
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(ValidationError):
        joint("yaw", **wrong)


def test_two_joints_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="joint names repeat: yaw, yaw"):
        LimitsConfig(joints=(joint("yaw"), joint("yaw")))


@given(st.floats(1e-4, 0.5), st.floats(0.01, 0.5))
def test_the_step_limit_leaves_room_for_a_whole_stop(step_rad, max_gap_s):
    bounds = joint("yaw", step_rad=step_rad).bounds(max_gap_s)
    speed, ramp_s = bounds.velocity, 1.5 * bounds.acceleration / bounds.jerk
    assert 0 < speed <= 2.0
    assert speed * max_gap_s <= step_rad * (1 + 1e-9)
    assert speed * ramp_s + speed**2 / (2 * bounds.acceleration) <= step_rad * (1 + 1e-9)
