"""One episode of a store in, the same in another store out, if need be without its damaged pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Set

import numpy as np

from hardware import artefact
from hardware.dataset.manifest import write_episode
from hardware.dataset.store import EpisodeStore, seal
from hardware.dataset.stored_episode import CAMERAS, StoredEpisode, locked
from hardware.dataset.writers import PICTURES_PER_COMMIT, StreamWriters


def copy_episode(
    episode: StoredEpisode, target: EpisodeStore, without: Mapping[str, Set[int]] | None = None
) -> StoredEpisode:
    """A finished one byte for byte; one that was cut off or is to lack pictures (`without`: rows), written anew."""
    folder = target.reserve()
    if episode.manifest.state == "finished" and not without:
        artefact.remove(folder)
        shutil.copytree(episode.folder, folder)
        return StoredEpisode(folder)
    with locked(folder):
        write_anew(episode, folder, without or {})
        manifest = episode.manifest
        interrupted = manifest.interrupted or manifest.state == "recording"
        return seal(folder, manifest.success, dict(manifest.lost), interrupted=interrupted)


def write_anew(episode: StoredEpisode, folder, without: Mapping[str, Set[int]]) -> None:
    """Streams as measured, nothing derived."""
    manifest = episode.manifest.but(state="recording", frames=0, counts={}, spans=(), gaps=(), checksums={})
    writers = StreamWriters(folder, manifest, power_safe=False)
    writers.copy(episode.streams, episode.q_rad, episode.dq_rad_s, episode.sent)
    for name, camera in episode.cameras.items():
        left_out = without.get(name, set())
        kept = [row for row in range(episode.rows_of(f"{CAMERAS}/{name}")) if row not in left_out]
        if not kept:
            continue
        writer = writers.camera(name, camera.size.height, camera.size.width)
        stamps = episode.streams.picture_ns[name]
        for first in range(0, len(kept), PICTURES_PER_COMMIT):
            rows = np.array(kept[first : first + PICTURES_PER_COMMIT])
            writer.append_encoded(stamps[rows], [camera.encoded(int(row)) for row in rows])
    writers.commit()
    writers.close()
    write_episode(folder, manifest)
