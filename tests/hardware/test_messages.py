"""Messages: what does not fit together is refused, and a chunk cut short keeps its times."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.messages import ActionChunk, Observation

NAMES = ("shoulder", "elbow")
IMAGE = np.zeros((2, 3, 3), np.uint8)


def chunk(steps: int = 5, start_ns: int = 1_000, rate_hz: float = 50.0) -> ActionChunk:
    return ActionChunk(start_ns, rate_hz, "joint_pos_rad", NAMES, np.arange(2.0 * steps).reshape(steps, 2))


def test_due_times_by_hand():
    # At 50 Hz a row lasts 20 ms, and row 0 is due one period after the start.
    short = chunk(3, start_ns=7)
    assert [short.due_ns(step) for step in range(3)] == [20_000_007, 40_000_007, 60_000_007]
    assert short.end_ns == 60_000_007
    # A third of a second has no exact binary fraction: a thousand rows later it is still within a nanosecond.
    assert chunk(1000, start_ns=0, rate_hz=3.0).end_ns == pytest.approx(1000e9 / 3, abs=1)


@given(st.integers(1, 40), st.integers(0, 2**62), st.floats(0.5, 1000), st.floats(-0.5, 1.5))
def test_what_is_left_is_the_rest_with_the_same_times(steps, start_ns, rate_hz, share):
    whole = chunk(steps, start_ns, rate_hz)
    stamp_ns = whole.start_ns + int(share * (whole.end_ns - whole.start_ns))
    rest = whole.after(stamp_ns)
    due = [whole.due_ns(step) for step in range(len(whole))]
    expected = [row for row, due_ns in enumerate(due) if due_ns > stamp_ns]
    if not expected:
        assert rest is None
        return
    np.testing.assert_array_equal(rest.values, whole.values[expected[0] :])
    assert (rest.rate_hz, rest.space, rest.names) == (whole.rate_hz, whole.space, whole.names)
    for row, step in enumerate(expected):
        assert abs(rest.due_ns(row) - due[step]) <= 1


def test_a_row_due_now_is_not_left():
    assert len(chunk(3, start_ns=0).after(20_000_000)) == 2
    assert len(chunk(3, start_ns=0).after(19_999_999)) == 3
    assert chunk(3, start_ns=0).after(60_000_000) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 0.0}, "rate_hz must be positive and finite"),
        ({"rate_hz": float("nan")}, "rate_hz must be positive and finite"),
        ({"rate_hz": float("inf")}, "rate_hz must be positive and finite"),
        ({"values": np.zeros((0, 2))}, "T ≥ 1"),
        ({"values": np.zeros((3, 1))}, "1 columns, but there are 2 names"),
        ({"values": np.array([[0, 1], [2, np.nan]])}, "step 1 of 'elbow' is not finite"),
        ({"values": np.array([[0, np.inf]])}, "step 0 of 'elbow' is not finite"),
        ({"names": ("elbow", "elbow")}, "names repeat"),
    ],
)
def test_a_chunk_that_cannot_be_meant_is_refused(change, message):
    whole = {"start_ns": 0, "rate_hz": 10.0, "space": "joint_pos_rad", "names": NAMES, "values": np.zeros((1, 2))}
    with pytest.raises(ValueError, match=message):
        ActionChunk(**(whole | change))


def test_an_observation_keeps_what_it_is_given():
    seen = Observation(5, NAMES, np.array([0.1, 0.2]), {"wrist": IMAGE}, {"wrist": 4}, instruction="pick the cube")
    assert seen.images["wrist"].shape == (2, 3, 3)
    assert seen.dq_rad_s is None
    assert seen.gripper_open is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joint_names": ("elbow", "elbow")}, "joint names repeat"),
        ({"q_rad": np.zeros(3)}, r"q_rad has shape \(3,\), but there are 2"),
        ({"q_rad": np.array([0.0, np.nan])}, "not finite"),
        ({"images": {"wrist": IMAGE}}, r"images \['wrist'\] and image_stamps_ns \[\] differ"),
        ({"image_stamps_ns": {"side": 1}}, "differ"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(change, message):
    whole = {"stamp_ns": 0, "joint_names": NAMES, "q_rad": np.zeros(2)}
    with pytest.raises(ValueError, match=message):
        Observation(**(whole | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "ActionChunk(0, 1.0, 'joint_pos_deg', ('a',), np.zeros((1, 1)))",
            "no action space 'joint_pos_deg'; have: joi",
        ),
        ("ActionChunk(0, 1.0, 'joint_pos_rad', ('a',), np.zeros(1))", "values must be [T, D] with T ≥ 1"),
        ("Observation(0, ('a',), np.zeros(1), dq_rad_s=np.zeros(2))", "dq_rad_s has shape (2,), but there are 1"),
        ("Observation(0, ('a',), np.zeros(1), effort_nm=np.zeros(2))", "effort_nm has shape (2,), but there are 1"),
    ],
)
def test_wrong_shapes_are_refused_where_no_annotation_is_executed(call, message):
    """In a process of its own: under pytest the annotations refuse them before the class can say why."""
    code = f"import numpy as np\nfrom hardware.messages import ActionChunk, Observation\n{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"ValueError: {message}" in done.stderr
