"""A store of episodes → the page's list of them, and single frames as JPEG to look through. Reads only."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.page.notes import read_notes

NEWEST = 40
QUALITY = 75


class Span(Config):
    """Frames from `start` to before `stop`."""

    source: str
    start: int
    stop: int


class Row(Config):
    """One finished episode. `success` None: nobody has judged it."""

    number: int
    success: bool | None
    frames: int
    seconds: float
    spans: tuple[Span, ...]
    cameras: tuple[str, ...]
    note: str


class Shelf:
    """Any thread. `folder` None: nothing is recorded in this run."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def rows(self) -> list[Row]:
        """The newest first."""
        store = self._store()
        notes = {} if store is None else read_notes(store.folder)
        rows = []
        for episode in reversed(store.finished()[-NEWEST:] if store is not None else []):
            manifest = episode.manifest
            spans = tuple(Span(source=one.source, start=one.start, stop=one.stop) for one in manifest.spans)
            seconds = round(manifest.frames / manifest.alignment.rate_hz, 1)
            rows.append(
                Row(
                    number=episode.number,
                    success=manifest.success,
                    frames=manifest.frames,
                    seconds=seconds,
                    spans=spans,
                    cameras=manifest.cameras,
                    note=notes.get(episode.number, ""),
                )
            )
        return rows

    def jpeg(self, number: int, camera: str, frame: int) -> bytes | None:
        """None where there is no such episode, frame or camera."""
        store = self._store()
        try:
            episode = None if store is None else store.episode(number)
        except BadInput:
            return None
        if episode is None or camera not in episode.manifest.cameras or not 0 <= frame < episode.manifest.frames:
            return None
        row = int(episode.index.picture_row[frame, episode.manifest.cameras.index(camera)])
        rgb = episode.cameras[camera].picture(row)
        _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return jpeg.tobytes()

    def _store(self) -> EpisodeStore | None:
        """None before the recorder has made one."""
        try:
            return None if self._folder is None else EpisodeStore.open(self._folder)
        except BadInput:
            return None
