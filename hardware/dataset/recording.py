"""Measurements as they come in; one episode of a store that survives any kill out.

The caller never waits: a bounded queue takes what it offers, a thread encodes and appends it, and a commit makes it
count. What the queue cannot take is refused, counted and logged.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field

from hardware import artefact
from hardware.config import Config
from hardware.dataset.frame_grid import SOURCES, Alignment
from hardware.dataset.manifest import ClockPair, EpisodeManifest, SeenObject, write_episode
from hardware.dataset.picture import Encoding, Jpeg
from hardware.dataset.store import EpisodeStore, seal
from hardware.dataset.stored_episode import StoredEpisode, locked
from hardware.dataset.writers import StreamWriters
from hardware.errors import BadInput, TandemError

log = logging.getLogger(__name__)

LOG_LOSS_EVERY_S = 2.0


class RecordingFailed(TandemError):
    """The disk took no more (full, gone, read-only). All that was acknowledged before is readable."""

    exit_code = 4


class RecordingConfig(Config):
    """How an episode is written."""

    alignment: Alignment = Alignment()
    encoding: Encoding = Jpeg()
    queue_mib: Annotated[float, Field(gt=0)] = 256.0
    """Pictures waiting for the disk; beyond this they are refused. 256 MiB is 4.8 s of two 640×480 cameras at 30 Hz."""
    queue_rows: Annotated[int, Field(ge=1)] = 60_000
    """Joint states and commands waiting, each: ten minutes at 100 Hz."""
    commit_every_s: Annotated[float, Field(gt=0)] = 0.1
    power_safe: bool = False
    """Also survive a power cut, by waiting for the disk at each commit. A kill never loses what was acknowledged."""


@dataclass(frozen=True)
class Pressure:
    """The queue now, and what was lost so far, per stream."""

    waiting: int
    waiting_mib: float
    capacity_mib: float
    lost: dict[str, int]


class Recording:
    """One episode being recorded. `joint`, `sent` and `image` may be called from any thread and return at once.

    They give True when the measurement was taken, False when it was not: a repeated stamp (a driver hands out the same
    reading twice; no loss), or a loss, counted in `pressure().lost`: stamp backwards, not finite, queue full.
    `acknowledged()` tells what is safe by now. Raises `RecordingFailed` once the disk has failed.
    """

    def __init__(
        self,
        store_path: Path | str,
        task: str,
        cameras: Sequence[str],
        joint_names: Sequence[str],
        action_names: Sequence[str] | None = None,
        cell: str = "",
        calibration: str = "",
        config: RecordingConfig | None = None,
        object_seen: SeenObject | None = None,
    ) -> None:
        self.config = config or RecordingConfig()
        self.manifest = EpisodeManifest(
            task=task,
            joint_names=tuple(joint_names),
            action_names=tuple(joint_names if action_names is None else action_names),
            cameras=checked(cameras),
            cell=cell,
            calibration=calibration,
            encoding=self.config.encoding,
            alignment=self.config.alignment,
            clock=ClockPair(monotonic_ns=time.monotonic_ns(), unix_ns=time.time_ns()),
            object_seen=object_seen,
        )
        store = EpisodeStore.create(Path(store_path))
        for left in store.seal_interrupted():
            log.warning("episode %d was interrupted; its %d frames are kept", left.number, len(left))
        self._held = ExitStack()
        self.folder = store.reserve()
        self._held.enter_context(locked(self.folder))
        self._start_writing()

    def _start_writing(self) -> None:
        self._wake = threading.Condition()
        self._waiting: dict[str, list[tuple[int, object]]] = defaultdict(list)
        self._waiting_bytes = 0
        self._last_ns: dict[str, int] = {}
        self._lost: dict[str, int] = defaultdict(int)
        self._logged_s = -LOG_LOSS_EVERY_S
        self._closing = False
        self._failure: Exception | None = None
        self._taken = self._safe = 0
        self._writers = StreamWriters(self.folder, self.manifest, power_safe=self.config.power_safe)
        write_episode(self.folder, self.manifest)
        self._acknowledged = self._writers.counts()
        self._thread = threading.Thread(target=self._write, name=f"recording-{self.folder.name}", daemon=True)
        self._thread.start()

    @property
    def number(self) -> int:
        return int(self.folder.name)

    def joint(
        self, stamp_ns: int, q_rad: Float[ndarray, " J"], dq_rad_s: Float[ndarray, " J"] | None = None
    ) -> bool:
        """A joint state at the moment it was measured."""
        joints = len(self.manifest.joint_names)
        q = row(q_rad, joints, "q_rad")
        dq = np.full(joints, np.nan) if dq_rad_s is None else row(dq_rad_s, joints, "dq_rad_s")
        finite = bool(np.isfinite(q).all() and (dq_rad_s is None or np.isfinite(dq).all()))
        return self._offer("joints", stamp_ns, (q, dq), 0, finite)

    def sent(self, stamp_ns: int, action: Float[ndarray, " D"], source: str) -> bool:
        """A command that was *really sent*, when, and who chose it (a `Source`; in a hold, who is in control)."""
        if source not in SOURCES:
            raise ValueError(f"no source '{source}'; have: {', '.join(SOURCES)}")
        values = row(action, len(self.manifest.action_names), "action")
        return self._offer("sent", stamp_ns, (values, SOURCES.index(source)), 0, bool(np.isfinite(values).all()))

    def image(self, camera: str, stamp_ns: int, rgb: UInt8[ndarray, "H W 3"]) -> bool:
        """A picture and when its exposure began. It is copied: the caller may reuse the array."""
        if camera not in self.manifest.cameras:
            raise ValueError(f"no camera '{camera}'; have: {', '.join(self.manifest.cameras) or 'none'}")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ValueError(f"a picture is uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
        return self._offer(f"cameras/{camera}", stamp_ns, rgb, rgb.nbytes, True)

    def acknowledged(self) -> dict[str, int]:
        """Rows per stream that no kill can take away any more."""
        with self._wake:
            return dict(self._acknowledged)

    def pressure(self) -> Pressure:
        with self._wake:
            waiting = sum(map(len, self._waiting.values()))
            mib = self._waiting_bytes / 2**20
            return Pressure(waiting, mib, self.config.queue_mib, dict(self._lost))

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Waits until all that was taken before is acknowledged; False when that took too long."""
        with self._wake:
            goal = self._taken
            self._wake.notify_all()
            done = self._wake.wait_for(lambda: self._safe >= goal or self._failure is not None, timeout_s)
            self._raise_failure()
            return done

    def finish(self, success: bool | None = None) -> StoredEpisode:
        """Writes what is waiting and seals the episode. Raises `RecordingFailed`; the episode is then as it was."""
        self._stop()
        with self._held:
            self._raise_failure()
            try:
                episode = seal(self.folder, success, dict(self._lost))
            except OSError as error:
                raise RecordingFailed(f"cannot finish {self.folder}: {error}", "free some space") from error
        for gap in episode.manifest.gaps:
            log.warning(
                "episode %d: %s up to %.3f s old in frames %d…%d",
                *(episode.number, gap.stream, gap.worst_age_s, gap.start, gap.stop - 1),
            )
        return episode

    def discard(self) -> None:
        """Throws the episode away."""
        self._stop()
        with self._held:
            artefact.remove(self.folder)

    def _offer(self, stream: str, stamp_ns: int, item: object, size: int, finite: bool) -> bool:
        with self._wake:
            self._raise_failure()
            if self._closing:
                raise RuntimeError(f"episode {self.folder.name} is closed")
            last = self._last_ns.get(stream)
            if stamp_ns == last:
                return False
            if last is not None and stamp_ns < last:
                return self._lose(stream, "its clock went backwards")
            if not finite:
                return self._lose(stream, "a value is not finite")
            full = self._waiting_bytes + size > self.config.queue_mib * 2**20 if size else False
            if full or len(self._waiting[stream]) >= self.config.queue_rows:
                return self._lose(stream, "the disk is too slow and the queue is full")
            self._last_ns[stream] = stamp_ns
            self._waiting[stream].append((stamp_ns, item.copy() if isinstance(item, np.ndarray) else item))
            self._waiting_bytes += size
            self._taken += 1
            return True

    def _lose(self, stream: str, why: str) -> bool:
        self._lost[stream] += 1
        now = time.monotonic()
        if now - self._logged_s >= LOG_LOSS_EVERY_S:
            self._logged_s = now
            log.warning("lost a measurement of %s: %s (lost so far: %s)", stream, why, dict(self._lost))
        return False

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise RecordingFailed(
                f"cannot write {self.folder}: {self._failure}", "what was acknowledged is kept; free some space"
            ) from self._failure

    def _stop(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self._writers.close()

    def _write(self) -> None:
        """The thread: takes all that waits, writes it, commits, until it is told to stop and nothing waits."""
        with ThreadPoolExecutor(2, thread_name_prefix="encode") as pool:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, self.config.commit_every_s)
                    batch, self._waiting = self._waiting, defaultdict(list)
                    stop = self._closing and not any(batch.values())
                if stop:
                    return
                try:
                    for written, freed in self._writers.write(batch, pool):
                        self._acknowledge(written, freed)
                except Exception as error:
                    log.exception("the recorder cannot write %s", self.folder)
                    with self._wake:
                        self._failure = error
                        self._wake.notify_all()
                    return

    def _acknowledge(self, written: int, freed_bytes: int) -> None:
        with self._wake:
            self._acknowledged = self._writers.counts()
            self._safe += written
            self._waiting_bytes -= freed_bytes
            self._wake.notify_all()


def checked(cameras: Sequence[str]) -> tuple[str, ...]:
    """Camera names become folder names."""
    for name in cameras:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise BadInput(f"'{name}' cannot name a camera", "letters, digits, _ . - only, as it becomes a folder")
    if len(set(cameras)) != len(cameras):
        raise BadInput(f"camera names repeat: {', '.join(cameras)}")
    return tuple(cameras)


def row(values: ndarray, count: int, name: str) -> Float[ndarray, " N"]:
    array = np.array(values, np.float64)
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, but there are {count} names")
    return array
