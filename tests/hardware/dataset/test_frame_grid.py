import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.dataset.frame_grid import SOURCES, Alignment, FrameIndex, Streams, align, gaps_of, newest, spans_of

MS = 1_000_000


def streams(
    joint_ms: list[int], sent_ms: list[int], camera_ms: list[int], source: list[int] | None = None
) -> Streams:
    return Streams(
        joint_ns=np.array(joint_ms, np.int64) * MS,
        sent_ns=np.array(sent_ms, np.int64) * MS,
        sent_source=np.array(source or [0] * len(sent_ms), np.uint8),
        picture_ns={"front": np.array(camera_ms, np.int64) * MS},
    )


def test_a_hand_worked_alignment() -> None:
    # 10 Hz: one frame each 100 ms. Joints at 0, 40, …, 400; pictures at 30, 130 (late), 260, 330; commands at 90 … 390.
    # Start: the latest of joints 0, pictures 30, first command less a period 90 - 100 = -10: so 30.
    # End: the last command less 1 ns, 389.999…; joints reach 450, pictures 430. Frames at 30, 130, 230, 330.
    measured = streams(
        [0, 40, 80, 120, 160, 200, 240, 280, 320, 360, 400], [90, 190, 290, 390], [30, 130, 260, 330]
    )
    index = align(Alignment(rate_hz=10), measured)
    assert (index.stamp_ns // MS).tolist() == [30, 130, 230, 330]
    assert index.joint_row.tolist() == [0, 3, 5, 8]  # 0, 120, 200, 320: the newest not after the frame
    assert index.picture_row[:, 0].tolist() == [0, 1, 1, 3]  # at 230 the picture of 260 is not seen yet
    assert index.sent_row.tolist() == [
        0,
        1,
        2,
        3,
    ]  # the command that is in force one period later: 90 for (30, 130]
    assert not index.late.any()  # the picture at 230 is 100 ms old, just within its tolerance


def test_pictures_are_matched_by_stamp_when_one_is_lost() -> None:
    # The camera loses two pictures: by index everything after them would be 200 ms off, by stamp nothing is.
    joints, camera = list(range(0, 1000, 10)), [0, 100, 200, 500, 600, 700, 800, 900]
    index = align(
        Alignment(rate_hz=10, picture_tolerance_s=0.1), streams(joints, list(range(50, 1000, 100)), camera)
    )
    shown_ms = np.array(camera)[index.picture_row[:, 0]]
    assert shown_ms.tolist() == [0, 100, 200, 200, 200, 500, 600, 700, 800, 900]
    gaps = gaps_of(index, streams(joints, list(range(50, 1000, 100)), camera))
    assert [(gap.stream, gap.start, gap.stop, gap.worst_age_s) for gap in gaps] == [("front", 4, 5, 0.2)]


def test_frames_keep_to_the_grid_over_an_hour() -> None:
    joints = np.arange(0, 3_600_000, 20)
    index = align(Alignment(rate_hz=30), streams(joints.tolist(), joints.tolist(), joints.tolist()))
    last = len(index) - 1
    start = index.stamp_ns[0]
    assert abs(int(index.stamp_ns[last] - start) - round(last * 1e9 / 30)) <= 1


def test_no_overlap_gives_no_frames() -> None:
    assert len(align(Alignment(), streams([0, 10], [1000, 1010], [5000]))) == 0
    assert len(align(Alignment(), streams([0, 10], [], [0]))) == 0


@given(
    stamps=st.lists(st.integers(0, 10_000), min_size=1, unique=True),
    moments=st.lists(st.integers(0, 10_000), min_size=1),
)
def test_newest_is_the_last_at_or_before(stamps: list[int], moments: list[int]) -> None:
    ordered = sorted(stamps)
    later = [moment for moment in moments if moment >= ordered[0]]
    rows = newest(np.array(ordered, np.int64), np.array(later, np.int64))
    for moment, row in zip(later, rows, strict=True):
        assert ordered[row] == max(stamp for stamp in ordered if stamp <= moment)


@given(st.lists(st.integers(0, len(SOURCES) - 1)))
def test_spans_tile_the_episode(source: list[int]) -> None:
    spans = spans_of(np.array(source, np.uint8))
    frames = [SOURCES.index(span.source) for span in spans for _ in range(span.start, span.stop)]
    assert frames == source
    assert all(one.source != other.source for one, other in itertools.pairwise(spans))
    assert [span.start for span in spans] == [0, *(span.stop for span in spans)][: len(spans)]


@given(
    joint=st.lists(st.integers(0, 2000), min_size=2, max_size=40, unique=True),
    sent=st.lists(st.integers(0, 2000), min_size=2, max_size=40, unique=True),
    camera=st.lists(st.integers(0, 2000), min_size=1, max_size=40, unique=True),
    rate=st.sampled_from([7.0, 10.0, 30.0]),
)
def test_nothing_from_the_future_is_seen(joint: list[int], sent: list[int], camera: list[int], rate: float) -> None:
    measured = streams(sorted(joint), sorted(sent), sorted(camera))
    index: FrameIndex = align(Alignment(rate_hz=rate), measured)
    assert (measured.joint_ns[index.joint_row] <= index.stamp_ns).all()
    assert (measured.picture_ns["front"][index.picture_row[:, 0]] <= index.stamp_ns).all()
    assert (measured.sent_ns[index.sent_row] <= index.stamp_ns + round(1e9 / rate)).all()
    assert (index.joint_row >= 0).all()
    assert (index.sent_row >= 0).all()


def test_an_unknown_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Alignment(rate_hz=0)
