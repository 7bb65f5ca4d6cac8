"""A folder of episodes as one Zarr v3 group: new ones are added, finished ones never change.

`STORE/zarr.json`, `STORE/episodes/000000/{zarr.json, commits, joints, sent, cameras/<name>, frames}`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from hardware import artefact
from hardware.dataset import picture
from hardware.dataset.column import METADATA, ColumnReader, ColumnWriter
from hardware.dataset.frame_grid import FrameIndex, align, gaps_of, spans_of
from hardware.dataset.manifest import (
    EpisodeManifest,
    StoreManifest,
    read_store,
    write_episode,
    write_group,
    write_store,
)
from hardware.dataset.stored_episode import CAMERAS, FRAMES, JOINTS, SENT, StoredEpisode, locked
from hardware.errors import BadInput

log = logging.getLogger(__name__)

EPISODES = "episodes"
NUMERIC = {JOINTS: ("stamp_ns", "q_rad", "dq_rad_s"), SENT: ("stamp_ns", "action", "source")}
CAMERA_NUMERIC = ("stamp_ns", "index")
LAST_MADE = "bytes"
"""The last of a camera's arrays that a writer makes."""


@dataclass(frozen=True)
class EpisodeStore:
    """Reads; starts and seals episodes. `Recording` fills them."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> EpisodeStore:
        """Raises `BadInput` when there is no store of a format known here."""
        if not (folder / METADATA).is_file():
            raise BadInput(f"there is no episode store in {folder}", "name a folder that a recorder wrote")
        read_store(folder)
        return cls(folder)

    @classmethod
    def create(cls, folder: Path) -> EpisodeStore:
        """Opens it, or makes an empty one; refuses a folder that holds something else."""
        if (folder / METADATA).is_file():
            return cls.open(folder)
        try:
            if folder.exists() and any(p for p in folder.iterdir() if p.name != EPISODES):
                raise BadInput(f"{folder} holds something that is no episode store", "name an empty or new folder")
            (folder / EPISODES).mkdir(parents=True, exist_ok=True)
            write_group(folder / EPISODES, {})
            write_store(folder, StoreManifest())
        except OSError as error:
            raise BadInput(
                f"cannot make an episode store in {folder}: {error}", "name a writable folder"
            ) from error
        return cls(folder)

    def folders(self) -> list[Path]:
        """Every episode folder, in order, whatever its state."""
        found = (self.folder / EPISODES).glob("[0-9]*")
        return sorted(path for path in found if path.name.isdecimal() and path.is_dir())

    def episodes(self) -> list[StoredEpisode]:
        """All that can be read: finished, and what is there of the others."""
        return [StoredEpisode(folder) for folder in self.folders() if (folder / METADATA).is_file()]

    def finished(self) -> list[StoredEpisode]:
        return [episode for episode in self.episodes() if episode.manifest.state == "finished"]

    def episode(self, number: int) -> StoredEpisode:
        for episode in self.episodes():
            if episode.number == number:
                return episode
        have = ", ".join(str(episode.number) for episode in self.episodes()) or "none"
        raise BadInput(f"no episode {number} in {self.folder}; have: {have}")

    def reserve(self) -> Path:
        """An empty folder for the next episode, of this process alone."""
        taken = self.folders()
        number = int(taken[-1].name) + 1 if taken else 0
        while True:
            folder = self.folder / EPISODES / f"{number:06d}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            except OSError as error:
                raise BadInput(f"cannot add an episode: {error}", "check the disk and who owns it") from error
            else:
                return folder

    def seal_interrupted(self) -> list[StoredEpisode]:
        """Finishes what killed recorders left: the acknowledged part is kept, a folder without any goes."""
        return [episode for folder in self.folders() for episode in seal_if_orphan(folder)]

    def remove(self, number: int) -> None:
        artefact.remove(self.episode(number).folder)


def seal_if_orphan(folder: Path) -> Iterator[StoredEpisode]:
    with locked(folder) as mine:
        if not mine:
            return
        if not (folder / METADATA).is_file():
            log.warning("%s was begun and holds nothing acknowledged; it is removed", folder)
            artefact.remove(folder)
        elif StoredEpisode(folder).manifest.state == "recording":
            yield seal(folder, None, lost={}, interrupted=True)


def seal(folder: Path, success: bool | None, lost: dict[str, int], *, interrupted: bool = False) -> StoredEpisode:
    """Makes a recorded episode a finished one: frames and spans worked out, torn tails cut, files read-only.

    The caller holds its lock. It may be killed and called again at any point: the manifest is written last.
    """
    sweep(folder)
    episode = StoredEpisode(folder)
    index, streams = align(episode.manifest.alignment, episode.streams), episode.streams
    write_frames(folder, index)
    cut_to_counts(episode)
    manifest = episode.manifest.but(
        state="finished",
        success=success,
        interrupted=interrupted,
        frames=len(index),
        counts=counts_by_name(episode.manifest, episode.counts),
        spans=spans_of(index.source),
        gaps=gaps_of(index, streams),
        lost=lost,
        checksums=checksums(episode),
    )
    write_episode(folder, manifest)
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o444)
    return StoredEpisode(folder)


def sweep(folder: Path) -> None:
    """Removes half-written metadata that a kill left beside the real one."""
    for path in folder.rglob("*"):
        if path.is_file() and (path.name.startswith(".") or path.name.endswith(".partial")):
            path.unlink()


def write_frames(folder: Path, index: FrameIndex) -> None:
    artefact.remove(folder / FRAMES)
    (folder / FRAMES).mkdir()
    write_group(folder / FRAMES, {})
    for name in FrameIndex.__dataclass_fields__:
        values = getattr(index, name)
        if 0 in values.shape[1:]:  # no cameras: Zarr has no chunk of that shape
            continue
        values = values.astype(np.uint8) if values.dtype == bool else values
        column = ColumnWriter(folder / FRAMES, name, values.dtype.str, values.shape[1:], max(len(values), 1))
        column.append(values)
        column.close(len(values))


def cut_to_counts(episode: StoredEpisode) -> None:
    for stream, name, rows in arrays(episode):
        array = zarr.open_array(episode.folder / stream / name, mode="r+")
        array.resize((rows, *array.shape[1:]))


def arrays(episode: StoredEpisode) -> Iterator[tuple[str, str, int]]:
    """(stream, array, rows that count) of every stream that began."""
    for stream, names in NUMERIC.items():
        for name in names:
            yield stream, name, episode.rows_of(stream)
    for number, camera in enumerate(episode.manifest.cameras):
        stream = f"{CAMERAS}/{camera}"
        if not (episode.folder / stream / LAST_MADE / METADATA).is_file():  # killed while the stream was made
            continue
        for name in CAMERA_NUMERIC:
            yield stream, name, episode.rows_of(stream)
        yield stream, LAST_MADE, episode.counts[3 + 2 * number]


def checksums(episode: StoredEpisode) -> dict[str, int]:
    """CRC-32 of the counted rows of every array but the pictures, which have one each."""
    return {
        f"{stream}/{name}": picture.fingerprint(ColumnReader(episode.folder / stream / name).rows(rows).tobytes())
        for stream, name, rows in arrays(episode)
        if name != "bytes"
    }


def counts_by_name(manifest: EpisodeManifest, counts: tuple[int, ...]) -> dict[str, int]:
    cameras = {f"{CAMERAS}/{name}": counts[2 + 2 * number] for number, name in enumerate(manifest.cameras)}
    return {JOINTS: counts[0], SENT: counts[1], **cameras}
