"""A phone video in; sharp frames spread evenly over the camera's motion out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8
from numpy import ndarray

from hardware.errors import BadInput
from hardware.progress import progress
from twin import sharpness

SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".3gp"}
MEASURED_PER_S = 15
"""Frames looked at per second of video: phones film 30 or 60, and neighbours hardly differ."""
MOTION_PX = 160
"""Image motion is measured at this width; finer would follow noise."""


@dataclass(frozen=True)
class Look:
    """What the first pass over the video measures of a frame."""

    index: int
    stamp_s: float
    blur: float
    motion: float
    """Image motion since the last look, as a share of the width."""


def spread_frames(file: Path, count: int) -> Iterator[tuple[float, UInt8[ndarray, "H W 3"]]]:
    """(time in s, upright picture) of `count` frames or fewer, in order. Raises `BadInput`."""
    looks = survey(file)
    wanted = {look.index for look in choose(looks, count)}
    for index, frame in enumerate(decode(file)):
        if index in wanted:
            yield float(frame.time or 0.0), upright(frame)


def decode(file: Path) -> Iterator[av.VideoFrame]:
    """All frames of the first video stream; errors name the file."""
    try:
        with av.open(str(file)) as container:
            container.streams.video[0].thread_type = "AUTO"
            yield from container.decode(video=0)
    except FFmpegError as error:
        raise BadInput(f"{file} is not a whole video: {error}", "copy it from the phone again") from error


def upright(frame: av.VideoFrame) -> UInt8[ndarray, "H W 3"]:
    """Turned as the phone was held (the container's display matrix)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees counter-clockwise
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))


def survey(file: Path) -> list[Look]:
    """Blur and motion of every second frame or so."""
    total, rate_hz = length(file)
    with progress("looking through the video", total) as advance:
        step = max(1, round(rate_hz / MEASURED_PER_S))
        looks: list[Look] = []
        before: ndarray | None = None
        for index, frame in enumerate(decode(file)):
            advance("")
            if index % step:
                continue
            grey = sharpness.grey(frame.to_ndarray(format="rgb24"))
            height = round(grey.shape[0] * MOTION_PX / grey.shape[1])
            small = cv2.resize(grey, (MOTION_PX, height), interpolation=cv2.INTER_AREA)
            motion = 0.0 if before is None else shift_px(before, small) / MOTION_PX
            looks.append(Look(index, float(frame.time or 0.0), sharpness.blur(grey), motion))
            before = small
    if not looks:
        raise BadInput(f"{file} holds no frames", "film the scene again, half a minute or more")
    return looks


def length(file: Path) -> tuple[int, float]:
    """Number of frames and frame rate (Hz), as far as the container knows them. Raises `BadInput`."""
    try:
        container = av.open(str(file))
    except FFmpegError as error:
        raise BadInput(f"{file} is not a video: {error}", "copy it from the phone again") from error
    try:
        if not container.streams.video:
            raise BadInput(f"{file} has no video in it", "give the video file that the phone saved")
        stream = container.streams.video[0]
        rate_hz = float(stream.average_rate or 30)
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        return stream.frames or max(1, round(seconds * rate_hz)), rate_hz
    finally:
        container.close()


def shift_px(before: ndarray, now: ndarray) -> float:
    """Length of the whole picture's shift; a turn or a zoom counts by what it moves on average."""
    (dx, dy), _ = cv2.phaseCorrelate(before, now, cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F))
    return float(np.hypot(dx, dy))


def choose(looks: list[Look], count: int) -> list[Look]:
    """The sharpest look of each of `count` stretches of equal motion (of equal time where nothing moves)."""
    way = np.cumsum([look.motion + 1e-6 for look in looks])
    bins = np.minimum((way / way[-1] * count).astype(int), count - 1)
    grouped = itertools.groupby(zip(bins, looks, strict=True), key=lambda pair: pair[0])
    return [min((look for _, look in group), key=lambda look: look.blur) for _, group in grouped]
