"""An episode is unbroken, and its spans tile it."""

import subprocess
import sys
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.episode import Episode, Frame, Span
from hardware.messages import Observation

SOURCES = ("policy", "human", "scripted", "twin")


def frame(stamp_ns: int, source: str = "policy", names: tuple[str, ...] = ("a",), action: int = 1, **rest) -> Frame:
    return Frame(Observation(stamp_ns, names, np.zeros(len(names))), np.zeros(action), source, **rest)


def episode(sources: list[str]) -> Episode:
    return Episode("stack", [frame(10 * number, source) for number, source in enumerate(sources)])


@given(st.lists(st.sampled_from(SOURCES), max_size=40))
def test_spans_tile_the_episode_without_gap_or_overlap(sources):
    spans = episode(sources).spans()
    assert [source for span in spans for source in [span.source] * (span.stop - span.start)] == sources
    assert [span.start for span in spans] == [0, *(span.stop for span in spans)][: len(spans)]
    assert len(spans) == len(list(groupby(sources)))  # neighbours of one source are one span


def test_a_correction_is_a_span_inside():
    corrected = episode(["policy", "policy", "human", "policy"])
    assert corrected.spans() == [Span(0, 2, "policy"), Span(2, 3, "human"), Span(3, 4, "policy")]
    assert len(corrected) == 4
    assert corrected.duration_s == pytest.approx(30e-9)
    assert corrected.success is None


def test_an_empty_episode_lasts_no_time():
    assert episode([]).duration_s == 0.0
    assert episode([]).spans() == []


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([frame(10), frame(10)], "stamps must increase: 10 ns is followed by 10 ns"),
        ([frame(10), frame(9)], "stamps must increase"),
        ([frame(1), frame(2, names=("b",))], "joint names change"),
        ([frame(1), frame(2, action=2)], r"the action changes shape: \(1,\) → \(2,\)"),
        ([frame(1, terminated=True), frame(2)], "follows one that terminated"),
    ],
)
def test_a_broken_episode_is_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        Episode("stack", frames)


def test_the_last_frame_may_terminate():
    assert len(Episode("stack", [frame(1), frame(2, reward=1.0, terminated=True)], success=True)) == 2


def test_nobody_else_acts():
    """In a process of its own: under pytest the annotation refuses it before the class can say why."""
    code = (
        "import numpy as np\nfrom hardware.episode import Frame\nfrom hardware.messages import Observation\n"
        "Frame(Observation(0, ('a',), np.zeros(1)), np.zeros(1), 'robot')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError: no source 'robot'; have: policy, human, scripted, twin" in done.stderr
