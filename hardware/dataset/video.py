"""Video files: what they hold (`probe`), their pictures (`decode`), new ones (`encode`), joined as is (`Remuxer`).

A LeRobot dataset wants picture k of an episode at k / fps exactly; whatever the source's stamps are, files written
here have that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import av
import av.container
import av.error
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from pydantic import Field

from hardware.config import Config
from hardware.errors import BadInput

TICKS_PER_FRAME = 512
SLACK_S = 0.004
"""A clip's pictures may be this much before its stated start: half a period at 120 Hz."""
TAGS = {"av1": ("av01",), "h264": ("avc1", "avc3", "h264"), "hevc": ("hvc1", "hev1"), "mpeg4": ("mp4v",)}
"""Four-letter codes that name a codec in an MP4 file."""


class Encoder(Config):
    """How pictures become video. A keyframe every second picture, as LeRobot does: random reads stay quick."""

    # At 640×480 on two cores: AV1 (crf 30) 7.1 ms a picture, 8.9 kB, 41.7 dB; h264 (crf 23) 7.2 ms, 7.3 kB, 39.2 dB.
    codec: Literal["av1", "h264"] = "av1"
    """AV1 is LeRobot's own choice; h264 plays everywhere."""
    crf: Annotated[int, Field(ge=0, le=63)] = 30
    """Lower is better and larger."""
    pictures_per_keyframe: Annotated[int, Field(ge=1)] = 2

    @property
    def name(self) -> str:
        return {"h264": "libx264", "av1": "libsvtav1"}[self.codec]

    @property
    def options(self) -> dict[str, str]:
        preset = {"h264": "veryfast", "av1": "12"}[self.codec]
        return {"crf": str(self.crf), "g": str(self.pictures_per_keyframe), "preset": preset}


@dataclass(frozen=True, eq=False)
class VideoFacts:
    """What a file says and holds; one entry per packet, in the order of display."""

    codec: str
    tag: str
    width: int
    height: int
    pix_fmt: str
    time_s: Float[ndarray, " N"]
    keyframe: Bool[ndarray, " N"]
    declared: int
    """How many pictures its index lists; more than there are packets when the file is cut off."""
    decode_order: Int[ndarray, " N"]
    """Place in the file of each displayed picture."""

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def rate_hz(self) -> float:
        """From the middle one of the distances between pictures; 0 when there are fewer than two."""
        return float(1 / np.median(np.diff(self.time_s))) if len(self) > 1 else 0.0


@dataclass(frozen=True)
class Clip:
    """Pictures of one episode in a file: `count` of them from `start_s` on.

    With `alone` the file is the episode's own: its first `count` pictures are meant, whatever their stamps say.
    """

    file: Path
    start_s: float
    count: int
    rate_hz: float
    alone: bool = False
    end_s: float | None = None
    """Where the next clip begins, if that is known; else it follows from `count`."""

    @property
    def window_s(self) -> tuple[float, float]:
        """Stamps of its pictures: from (included), to (excluded)."""
        if self.alone:
            return -math.inf, math.inf
        end_s = self.start_s + self.count / self.rate_hz if self.end_s is None else self.end_s
        return self.start_s - SLACK_S, end_s - SLACK_S


def probe(file: Path) -> VideoFacts:
    """Reads every packet's stamps, decodes nothing. Raises `BadInput` for a file that is no video."""
    with opened(file) as container:
        stream = container.streams.video[0]
        packets = [(p.pts, p.is_keyframe) for p in whole_packets(container, stream)]
        context = stream.codec_context
        pts = np.array([pts for pts, _ in packets], np.int64)
        order = np.argsort(pts, kind="stable")
        return VideoFacts(
            codec=canonical(context),
            tag=context.codec_tag.strip("\0"),
            width=context.width,
            height=context.height,
            pix_fmt=context.pix_fmt or "",
            time_s=pts[order] * float(stream.time_base or 1),
            keyframe=np.array([key for _, key in packets], bool)[order],
            declared=stream.frames,
            decode_order=order.astype(np.int64),
        )


def canonical(context: av.VideoCodecContext) -> str:
    """The codec, whichever library decodes it."""
    return context.codec.canonical_name


@contextmanager
def opened(file: Path) -> Generator[av.container.InputContainer]:
    """Opens a video file for reading; libav's errors become `BadInput` that names the file."""
    try:
        container = av.open(str(file))
    except (av.error.FFmpegError, OSError) as error:
        raise BadInput(f"cannot read the video {file}: {reason(error)}", "tandem data repair") from error
    with container:
        if not container.streams.video:
            raise BadInput(f"{file} holds no video stream")
        try:
            yield container
        except av.error.FFmpegError as error:
            raise BadInput(f"the video {file} is damaged: {reason(error)}", "tandem data repair") from error


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def whole_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Packets with a stamp, until the file ends or breaks off."""
    try:
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None and not packet.is_corrupt:
                yield packet
    except av.error.FFmpegError:
        return


def decode(clip: Clip) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """The clip's pictures in order. Ends early where the file breaks off."""
    start_s, stop_s = clip.window_s
    with opened(clip.file) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        time_base = stream.time_base or Fraction(1)
        if start_s > 0:
            container.seek(int(clip.start_s / time_base), stream=stream)
        count = 0
        try:
            for picture in container.decode(stream):
                time_s = float((picture.pts or 0) * time_base)
                if time_s >= stop_s or count == clip.count:
                    return
                if time_s >= start_s:
                    count += 1
                    yield picture.to_ndarray(format="rgb24")
        except av.error.FFmpegError:
            return


def decodable(clip: Clip) -> int:
    """How many of the clip's pictures can be decoded, by doing it."""
    return sum(1 for _ in decode(clip))


def encode(encoder: Encoder, file: Path, pictures: Iterable[UInt8[ndarray, "H W 3"]], fps: int) -> int:
    """Writes an MP4 of all pictures, k at k / fps, and gives their number.

    Raises `BadInput` when the encoder refuses them, or a side is odd (4:2:0 colour).
    """
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 writes straight to stderr
    try:
        container = av.open(str(file), "w")
        try:
            return encode_into(container, encoder, pictures, fps)
        finally:
            container.close()
    except av.error.FFmpegError as error:
        raise BadInput(f"{encoder.name} cannot write {file}: {reason(error)}", "choose another codec") from error


def encode_into(
    container: av.container.OutputContainer, encoder: Encoder, pictures: Iterable[UInt8[ndarray, "H W 3"]], fps: int
) -> int:
    count = 0
    stream: av.VideoStream | None = None
    for rgb in pictures:
        if stream is None:
            stream = new_stream(container, encoder, fps, rgb.shape[0], rgb.shape[1])
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = count, Fraction(1, fps)
        container.mux(stream.encode(frame))
        count += 1
    if stream is not None:
        container.mux(stream.encode(None))
    return count


def new_stream(
    container: av.container.OutputContainer, encoder: Encoder, fps: int, height: int, width: int
) -> av.VideoStream:
    if height % 2 or width % 2:
        raise BadInput(f"pictures of {width}×{height} cannot become {encoder.codec}: both must be even")
    stream = container.add_stream(encoder.name, rate=fps, options=encoder.options)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, fps)
    return stream


@dataclass(frozen=True)
class Cut:
    """The packets of a clip, ready to be appended: display rank per packet in file order, and the reordering depth."""

    packets: list[av.Packet]
    rank: list[int]
    depth: int


def cut(container: av.container.InputContainer, clip: Clip) -> Cut | None:
    """None where the clip cannot be copied, because it does not begin with a keyframe or leans on what is outside."""
    stream = container.streams.video[0]
    time_base = float(stream.time_base or 1)
    start_s, stop_s = clip.window_s
    if start_s > 0:
        container.seek(int(clip.start_s / time_base), stream=stream)
    packets = []
    for packet in whole_packets(container, stream):
        if start_s <= (packet.pts or 0) * time_base < stop_s:
            packets.append(packet)
        if (packet.dts if packet.dts is not None else packet.pts or 0) * time_base >= stop_s:
            break
    is_trimmed, packets = len(packets) > clip.count, packets[: clip.count]
    if not packets or not packets[0].is_keyframe or len(packets) != clip.count:
        return None
    stamps = [packet.pts or 0 for packet in packets]
    rank = np.argsort(np.argsort(stamps, kind="stable"), kind="stable").tolist()
    depth = max(place - shown for place, shown in enumerate(rank))
    if rank[0] != 0 or (depth and is_trimmed):  # a trimmed tail may hold what an earlier picture leans on
        return None
    return Cut(packets, rank, depth)


class Remuxer:
    """One growing MP4 to which clips of the same coding are appended, bit for bit, on the grid of `fps`."""

    def __init__(self, file: Path, fps: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.fps, self.frames, self.bytes = file, fps, 0, 0
        self._output = av.open(str(file), "w", options={"movflags": "faststart"})
        self._stream: av.VideoStream | None = None
        self._coding: tuple[object, ...] = ()
        self._depth = 0

    def takes(self, source: av.VideoStream, piece: Cut) -> bool:
        """Whether the clip's coding is that of the file so far."""
        return self._stream is None or (self._coding == coding(source) and piece.depth <= self._depth)

    def append(self, source: av.VideoStream, piece: Cut) -> None:
        if self._stream is None:
            stream = self._output.add_stream_from_template(source, opaque=True)
            assert isinstance(stream, av.VideoStream)
            stream.time_base = Fraction(1, self.fps * TICKS_PER_FRAME)
            self._stream, self._coding, self._depth = stream, coding(source), piece.depth
        for place, (packet, shown) in enumerate(zip(piece.packets, piece.rank, strict=True)):
            self.bytes += packet.size
            packet.stream = self._stream
            packet.time_base = Fraction(1, self.fps * TICKS_PER_FRAME)
            packet.pts = (self.frames + shown) * TICKS_PER_FRAME
            packet.dts = (self.frames + place - self._depth) * TICKS_PER_FRAME
            packet.duration = TICKS_PER_FRAME
            self._output.mux_one(packet)
        self.frames += len(piece.packets)

    def close(self) -> None:
        self._output.close()


def coding(stream: av.VideoStream) -> tuple[object, ...]:
    """What must be equal for two clips to share a file."""
    context = stream.codec_context
    return canonical(context), context.width, context.height, context.pix_fmt, bytes(context.extradata or b"")


def psnr_db(one: UInt8[ndarray, "H W 3"], other: UInt8[ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio; infinite for equal pictures."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
