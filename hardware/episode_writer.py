"""What the recorder hears → recordings: one per running episode, from `running` to whatever comes after it.

An episode that was under way when the recorder was killed stays readable, and goes on as one of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.cell import CellConfig
from hardware.dataset.frame_grid import Alignment
from hardware.dataset.manifest import SeenObject
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.episode import Source
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, JointReading

BACKWARD = "_backward"
"""Ends the name of the store beside the store: of episodes in which the task was undone."""
SOURCES: dict[str, Source] = {"policy": "policy", "human": "human", "scripted": "scripted", "twin": "twin"}
FIRST_SOURCES: dict[str, Source] = {"scripted": "scripted", "none": "human"}
"""Whose the frames are before the first command, by the kind of policy."""

SEEN_WITHIN_S = 5.0
"""Before an episode: what was seen earlier may have been moved since."""


class EpisodeWriter:
    """One thread. Every method raises `RecordingFailed` once the disk has failed."""

    def __init__(self, cell: CellConfig, store: Path) -> None:
        self.written = 0
        self._cell, self._store = cell, store
        self._recording: Recording | None = None
        self._first: Source = FIRST_SOURCES.get(cell.policy.kind, "policy")
        self._source = self._first
        self._backward_by: Source | None = None
        self._since_ns = 0
        self._seen: tuple[int, SeenObject] | None = None

    @property
    def is_recording(self) -> bool:
        return self._recording is not None

    @property
    def lost(self) -> dict[str, int]:
        """Measurements of this episode that were not taken, per stream."""
        return {} if self._recording is None else self._recording.pressure().lost

    def announced(self, announcement: Announcement) -> None:
        if announcement.is_running and self._recording is None:
            self._since_ns = announcement.since_ns
            self._backward_by = announcement.backward_by
            # Whoever moved the arm before the episode has no part in it.
            self._source = self._first if self._backward_by is None else self._backward_by
            alignment = Alignment(rate_hz=self._cell.recording.rate_hz)
            self._recording = Recording(
                self._store if self._backward_by is None else backward_store(self._store),
                announcement.task,
                tuple(self._cell.cameras),
                self._cell.action_names,
                self._cell.action_names,
                self._cell.name,
                config=RecordingConfig(alignment=alignment),
                object_seen=self._seen_at(announcement.since_ns),
            )
        elif not announcement.is_running and self._recording is not None:
            recording, self._recording = self._recording, None
            if announcement.is_discarded:
                recording.discard()
            else:
                recording.finish(announcement.success)
                self.written += 1

    def seen(self, stamp_ns: int, found: SeenObject) -> None:
        """Where vision finds the object while nothing runs."""
        if self._recording is None:
            self._seen = stamp_ns, found

    def _seen_at(self, now_ns: int) -> SeenObject | None:
        if self._seen is None or now_ns - self._seen[0] > SEEN_WITHIN_S * NANOSECONDS_PER_SECOND:
            return None
        return self._seen[1]

    def joints(self, reading: JointReading, gripper_open: float | None) -> None:
        """The gripper's opening is recorded as the last joint."""
        if self._recording is not None and reading.stamp_ns >= self._since_ns:
            q_rad = reading.q_rad if gripper_open is None else np.append(reading.q_rad, gripper_open)
            self._recording.joint(reading.stamp_ns, q_rad)

    def sent(self, command: JointCommand) -> None:
        """While the arm holds, the frames belong to who was in control before."""
        if command.stamp_ns < self._since_ns:  # it waited in a queue while the episode was announced
            return
        source = SOURCES.get(command.source, self._source)
        self._source = self._backward_by if source == "policy" and self._backward_by is not None else source
        if self._recording is not None:
            opening = command.gripper_open
            action = command.q_rad if opening is None else np.append(command.q_rad, opening)
            self._recording.sent(command.stamp_ns, action, self._source)

    def image(self, camera: str, image: CameraImage) -> None:
        if self._recording is not None and image.stamp_ns >= self._since_ns:
            self._recording.image(camera, image.stamp_ns, image.rgb)

    def close(self) -> None:
        """Keeps an episode that is under way, without a label."""
        if self._recording is not None:
            recording, self._recording = self._recording, None
            recording.finish()


def backward_store(store: Path) -> Path:
    """Where episodes lie in which the task was undone: never among those in which it was done."""
    return store.with_name(store.name + BACKWARD)
