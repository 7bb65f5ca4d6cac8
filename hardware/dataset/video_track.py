"""Clips and pictures of one camera in, the MP4 files of that camera in a LeRobot dataset v3.0 out.

A clip is copied packet by packet where it can be; where it cannot, it is encoded again and the loss is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from hardware.dataset import stats as statistics
from hardware.dataset import video
from hardware.dataset.stats import Stats
from hardware.dataset.video import Clip, Encoder, Remuxer
from hardware.errors import BadInput

VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNKS_SIZE = 1000
VIDEO_FILE_MB = 200


@dataclass(frozen=True)
class Pictures:
    """Pictures that are to be encoded: `make` gives them in order, each time it is called."""

    count: int
    make: Callable[[], Iterable[UInt8[ndarray, "H W 3"]]]


@dataclass
class Taken:
    """How the pictures came over."""

    copied: int = 0
    encoded: int = 0
    encoded_again: int = 0
    psnr_db: list[float] = field(default_factory=list)
    """Worst of each clip that was encoded again."""


class VideoTrack:
    """The video files of one camera. A clip of another coding, or a full file, begins the next file."""

    def __init__(self, root: Path, key: str, fps: int, encoder: Encoder, taken: Taken) -> None:
        self.root, self.key, self.fps, self.encoder, self.taken = root, key, fps, encoder, taken
        self.number = 0
        self._remuxer: Remuxer | None = None

    def append(self, pictures: Clip | Pictures) -> tuple[dict[str, Any], Stats]:
        """Where in the files the clip went, and its statistics. Raises `BadInput` when pictures are missing."""
        if isinstance(pictures, Pictures):
            self.taken.encoded += pictures.count
            return self._encode(pictures)
        samples = list(statistics.sampled(video.decode(pictures), pictures.count))
        if len(samples) < len(statistics.sample(pictures.count)):
            raise BadInput(f"{pictures.file} has fewer than {pictures.count} pictures", "tandem data repair")
        place = self._copy(pictures)
        if place is not None:
            self.taken.copied += pictures.count
            return place, statistics.of_pictures(samples)
        self.taken.encoded_again += pictures.count
        return self._encode(Pictures(pictures.count, lambda: video.decode(pictures)), measured=pictures)

    def close(self) -> None:
        if self._remuxer is not None:
            self._remuxer.close()
            self._remuxer = None

    def info(self) -> dict[str, Any]:
        """What `info.json` says of the coding; of the first file, as LeRobot does."""
        facts = video.probe(self.root / self._path(0))
        return {
            "video.height": facts.height,
            "video.width": facts.width,
            "video.codec": facts.codec,
            "video.pix_fmt": facts.pix_fmt,
            "video.fps": self.fps,
            "video.channels": 3,
            "is_depth_map": False,
            "has_audio": False,
        }

    def _path(self, number: int) -> str:
        chunk, file = divmod(number, CHUNKS_SIZE)
        return VIDEO_PATH.format(video_key=self.key, chunk_index=chunk, file_index=file)

    def _copy(self, clip: Clip) -> dict[str, Any] | None:
        """None when the clip cannot be cut out without decoding it."""
        with video.opened(clip.file) as container:
            piece = video.cut(container, clip)
            if piece is None:
                return None
            stream, remuxer = container.streams.video[0], self._remuxer
            if remuxer is not None and (remuxer.bytes > VIDEO_FILE_MB << 20 or not remuxer.takes(stream, piece)):
                self.close()
                self.number += 1
            if self._remuxer is None:
                self._remuxer = Remuxer(self.root / self._path(self.number), self.fps)
            start = self._remuxer.frames
            self._remuxer.append(stream, piece)
        chunk, file = divmod(self.number, CHUNKS_SIZE)
        return {
            "chunk_index": chunk,
            "file_index": file,
            "from_timestamp": start / self.fps,
            "to_timestamp": (start + clip.count) / self.fps,
        }

    def _encode(self, pictures: Pictures, measured: Clip | None = None) -> tuple[dict[str, Any], Stats]:
        file = self.root / f".{self.key}.mp4"
        samples: list[ndarray] = []
        try:
            count = video.encode(self.encoder, file, keeping(pictures, samples), self.fps)
            if count != pictures.count:
                raise BadInput(f"{self.key}: {count} pictures came, {pictures.count} were announced")
            clip = Clip(file, 0.0, count, float(self.fps))
            if measured is not None:
                pairs = zip(video.decode(measured), video.decode(clip), strict=True)
                self.taken.psnr_db.append(min(video.psnr_db(one, other) for one, other in pairs))
            place = self._copy(clip)
        finally:
            file.unlink(missing_ok=True)
        if place is None:
            raise BadInput(
                f"the encoder's own file for {self.key} cannot be copied", "choose another --encoder.codec"
            )
        return place, statistics.of_pictures(samples)


def keeping(pictures: Pictures, samples: list[ndarray]) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """The pictures, while those that the statistics want are kept aside."""
    wanted = set(statistics.sample(pictures.count))
    for number, rgb in enumerate(pictures.make()):
        if number in wanted:
            samples.append(statistics.thinned(rgb).copy())
        yield rgb
