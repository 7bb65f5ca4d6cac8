"""Streams with their own stamps in, frames at a fixed rate out: which row of each stream belongs to each frame.

Frame k is at `start + k / rate`. Its joint state and pictures are the newest measured at or before that moment; its
action is the newest command sent up to one period later. That is the meaning of an `ActionChunk`: row 0 answers the
observation and is due one period after it. Nothing is matched by index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, get_args

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from pydantic import Field

from hardware.config import Config
from hardware.episode import Source
from hardware.messages import NANOSECONDS_PER_SECOND

SOURCES: tuple[Source, ...] = get_args(Source)
"""A source's number on disk is its place here; so new ones go to the end."""


class Alignment(Config):
    """The fixed rate, and how old a measurement may be at a frame before the frame counts as a gap."""

    rate_hz: Annotated[float, Field(gt=0)] = 30.0
    joint_tolerance_s: Annotated[float, Field(gt=0)] = 0.05
    sent_tolerance_s: Annotated[float, Field(gt=0)] = 0.1
    picture_tolerance_s: Annotated[float, Field(gt=0)] = 0.1


class Gap(Config):
    """Frames `start` (included) to `stop` (excluded) for which one stream had nothing fresh."""

    stream: str
    start: int
    stop: int
    worst_age_s: float


class LabelledSpan(Config):
    """Frames `start` (included) to `stop` (excluded) that one source acted; together they tile the episode."""

    start: int
    stop: int
    source: Source


@dataclass(frozen=True, eq=False)
class Streams:
    """What was measured: increasing stamps per stream, and who sent each command."""

    joint_ns: Int[ndarray, " J"]
    sent_ns: Int[ndarray, " S"]
    sent_source: UInt8[ndarray, " S"]
    picture_ns: Mapping[str, Int[ndarray, " P"]]


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Row numbers into the streams, one per frame."""

    stamp_ns: Int[ndarray, " N"]
    joint_row: Int[ndarray, " N"]
    sent_row: Int[ndarray, " N"]
    picture_row: Int[ndarray, "N C"]
    source: UInt8[ndarray, " N"]
    late: Bool[ndarray, "N S"]
    """One column per stream: joints, sent, then the cameras."""

    def __len__(self) -> int:
        return len(self.stamp_ns)


def align(alignment: Alignment, streams: Streams) -> FrameIndex:
    """The frames from the first moment at which every stream has something until one of them ends."""
    period_ns = NANOSECONDS_PER_SECOND / alignment.rate_hz
    stamps = moments(alignment, streams, period_ns)
    joint_row = newest(streams.joint_ns, stamps)
    sent_row = newest(streams.sent_ns, stamps + round(period_ns))
    picture_rows = [newest(picture_ns, stamps) for picture_ns in streams.picture_ns.values()]
    late = [
        ages_s(streams.joint_ns, joint_row, stamps) > alignment.joint_tolerance_s,
        ages_s(streams.sent_ns, sent_row, stamps) > alignment.sent_tolerance_s,
    ]
    for picture_ns, row in zip(streams.picture_ns.values(), picture_rows, strict=True):
        late.append(ages_s(picture_ns, row, stamps) > alignment.picture_tolerance_s)
    return FrameIndex(
        stamp_ns=stamps,
        joint_row=joint_row,
        sent_row=sent_row,
        picture_row=np.stack(picture_rows, 1) if picture_rows else np.zeros((len(stamps), 0), np.int64),
        source=streams.sent_source[sent_row],
        late=np.stack(late, 1),
    )


def moments(alignment: Alignment, streams: Streams, period_ns: float) -> Int[ndarray, " N"]:
    """When the frames are: `start + round(k · period)`, so that the grid does not drift."""
    pictures = list(streams.picture_ns.values())
    if not all(map(len, [streams.joint_ns, streams.sent_ns, *pictures])):
        return np.zeros(0, np.int64)
    start = max(
        streams.joint_ns[0], streams.sent_ns[0] - round(period_ns), *(picture_ns[0] for picture_ns in pictures)
    )
    joints_end = streams.joint_ns[-1] + nanoseconds(alignment.joint_tolerance_s)
    pictures_end = [picture_ns[-1] + nanoseconds(alignment.picture_tolerance_s) for picture_ns in pictures]
    end = min(streams.sent_ns[-1] - 1, joints_end, *pictures_end)
    if end < start:
        return np.zeros(0, np.int64)
    count = int((end - start) / period_ns) + 2
    stamps = start + np.round(np.arange(count) * period_ns).astype(np.int64)
    return stamps[stamps <= end]


def nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS_PER_SECOND)


def newest(stamps_ns: Int[ndarray, " M"], moments_ns: Int[ndarray, " N"]) -> Int[ndarray, " N"]:
    """The last row at or before each moment; every moment has one."""
    return np.searchsorted(stamps_ns, moments_ns, side="right").astype(np.int64) - 1


def ages_s(stamps_ns: ndarray, rows: ndarray, moments_ns: ndarray) -> ndarray:
    return (moments_ns - stamps_ns[rows]) / NANOSECONDS_PER_SECOND


def spans_of(source: UInt8[ndarray, " N"]) -> tuple[LabelledSpan, ...]:
    """Runs of one source; they tile the episode without gap or overlap."""
    return tuple(
        LabelledSpan(start=start, stop=stop, source=SOURCES[source[start]]) for start, stop in runs(source)
    )


def gaps_of(index: FrameIndex, streams: Streams) -> tuple[Gap, ...]:
    """Every run of frames for which a stream was older than its tolerance, with the worst age."""
    rows = [index.joint_row, index.sent_row, *index.picture_row.T]
    stamps = [streams.joint_ns, streams.sent_ns, *streams.picture_ns.values()]
    gaps = []
    for column, (name, row, stamp) in enumerate(
        zip(["joints", "sent", *streams.picture_ns], rows, stamps, strict=True)
    ):
        late, ages = index.late[:, column], ages_s(stamp, row, index.stamp_ns)
        for start, stop in runs(late):
            if late[start]:
                worst = round(float(ages[start:stop].max()), 4)
                gaps.append(Gap(stream=name, start=start, stop=stop, worst_age_s=worst))
    return tuple(gaps)


def runs(values: ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each stretch of equal values."""
    if not len(values):
        return []
    edges = np.flatnonzero(np.diff(values)) + 1
    return [(int(start), int(stop)) for start, stop in pairwise([0, *edges, len(values)])]
