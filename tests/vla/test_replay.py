"""A recording comes back as it was written, and each session gets it from its own beginning, by the clock."""

import re
import time

import numpy as np
import pytest

from hardware.episode import Episode, Frame
from hardware.errors import BadInput
from hardware.messages import Observation
from vla import exchange, replay
from vla.replay import Recording, Replay


def without_address(value: object) -> str:
    """A test's name: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


NAMES = ("a", "b")
RECORDING = Recording(np.arange(20.0).reshape(10, 2), NAMES, rate_hz=10.0)
SECOND_NS = 1_000_000_000


def test_a_recording_is_read_as_it_was_written(tmp_path):
    replay.write(tmp_path / "run.npz", RECORDING)
    read = replay.read(tmp_path / "run.npz")
    np.testing.assert_array_equal(read.actions, RECORDING.actions)
    assert (read.action_names, read.rate_hz, read.space) == (NAMES, 10.0, "joint_pos_rad")


def test_rows_follow_the_observations_clock_from_the_first_one_on():
    session = Replay(RECORDING, horizon_steps=4).session()
    # 10 Hz: after 0.35 s, rows 0 to 2 are over and row 3 is due at 0.4 s.
    for at_s, rows in [(0.0, [0, 1, 2, 3]), (0.35, [3, 4, 5, 6]), (0.8, [8, 9, 9, 9]), (50.0, [9, 9, 9, 9])]:
        answer = session.infer({exchange.STAMP: 7 * SECOND_NS + round(at_s * SECOND_NS)})
        np.testing.assert_array_equal(answer["actions"], RECORDING.actions[rows])
        assert answer["done"] == (at_s == 50.0)


def test_sessions_do_not_share_their_beginning():
    policy = Replay(RECORDING, horizon_steps=1)
    first, second = policy.session(), policy.session()
    first.infer({exchange.STAMP: 0})
    np.testing.assert_array_equal(second.infer({exchange.STAMP: SECOND_NS})["actions"], RECORDING.actions[:1])
    np.testing.assert_array_equal(first.infer({exchange.STAMP: SECOND_NS})["actions"], RECORDING.actions[-1:])


def test_a_stamp_may_be_any_number_or_missing():
    session = Replay(RECORDING).session()
    for stamp in (0, 2**64 - 1, -(2**63), None):
        assert session.infer({exchange.STAMP: stamp})["actions"].shape == (10, 2)


def test_without_stamps_the_servers_clock_counts():
    session = Replay(RECORDING, horizon_steps=1).session()
    session.infer({})
    time.sleep(0.25)
    assert session.infer({})["actions"][0, 0] >= 4.0


def test_an_episode_becomes_a_recording_at_its_own_rate():
    frames = [
        Frame(Observation(round(index * SECOND_NS / 20), ("a",), np.zeros(1)), np.full(2, float(index)), "human")
        for index in range(5)
    ]
    recording = replay.of_episode(Episode("task", frames), NAMES)
    assert recording.rate_hz == pytest.approx(20.0)
    np.testing.assert_array_equal(recording.actions[:, 0], np.arange(5.0))
    with pytest.raises(BadInput, match="1 frames"):
        replay.of_episode(Episode("task", frames[:1]), NAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"actions": np.array([[object()]], dtype=object)},
        {"actions": np.zeros((3, 5))},
        {"actions": np.full((3, 2), np.nan)},
        {"rate_hz": 0.0},
        {"space": "elsewhere"},
        {"action_names": None},
    ],
    ids=without_address,
)
def test_what_is_no_recording_is_refused(tmp_path, change):
    stored = {
        "actions": np.zeros((3, 2)),
        "action_names": np.array(NAMES),
        "rate_hz": 10.0,
        "space": "joint_pos_rad",
    }
    kept = {key: value for key, value in (stored | change).items() if value is not None}
    np.savez(tmp_path / "run.npz", **kept)
    with pytest.raises(BadInput, match="not a recording to replay"):
        replay.read(tmp_path / "run.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(BadInput, match="not a recording to replay"):
        replay.read(tmp_path / "run.npz")
    with pytest.raises(BadInput, match="not a recording to replay"):
        replay.read(tmp_path / "none.npz")
