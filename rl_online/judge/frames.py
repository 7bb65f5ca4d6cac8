"""Stored episodes with labels in; features and labels of their moments out, kept in a folder of their own.

The final moments of a success are positive, the moments just before are left out (nobody said when exactly it was
done), everything earlier is negative, and so is every moment of a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import NonNegativeFloat, PositiveInt
from safetensors.numpy import load_file, save

from hardware import artefact
from hardware import config as configs
from hardware.config import Config
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from rl_online.judge.model import RewardView, moments
from vla.encoders import ImageEncoder, encode_all

LABELS, FRAMES = "labels.json", "frames"
UNSURE = -1


class Labelling(Config):
    """Which moments of an episode count as what."""

    positive_s: NonNegativeFloat = 0.6
    """The end of a success that is positive: less than demonstrations linger, so that nothing holds the object then. An
    object held over its goal looks much the same, and is none."""
    unsure_s: NonNegativeFloat = 0.5
    """Before that, so much is neither."""
    every: PositiveInt = 2
    """One moment in so many frames."""


class LabelledEpisode(Config):
    """One episode of the folder."""

    file: str
    store: str
    number: int
    success: bool
    rate_hz: float
    """Of its moments."""


class Labels(Config):
    """What a folder of labelled moments holds."""

    version: int = 1
    task: str
    view: RewardView
    labelling: Labelling
    episodes: tuple[LabelledEpisode, ...]


@dataclass(frozen=True, eq=False)
class Moments:
    """One episode."""

    episode: LabelledEpisode
    rows: ndarray
    """[N, F] float16, as `reward.moments` makes them."""
    label: Int[ndarray, " N"]
    """1, 0 or −1 (left out)."""

    @property
    def known(self) -> Bool[ndarray, " N"]:
        return self.label != UNSURE


@dataclass(frozen=True, eq=False)
class Scored:
    """An episode with a judge's probabilities."""

    moments: Moments
    probabilities: Float[ndarray, " N"]


def label(count: int, success: bool, rate_hz: float, rule: Labelling) -> Int[ndarray, " N"]:
    """Of `count` moments at that rate; the last one is the episode's end."""
    before_end_s = (count - 1 - np.arange(count)) / rate_hz
    if not success:
        return np.zeros(count, np.int64)
    unsure = np.where(before_end_s <= rule.positive_s + rule.unsure_s + 1e-9, UNSURE, 0)
    return np.where(before_end_s <= rule.positive_s + 1e-9, 1, unsure).astype(np.int64)


def measure(
    episode: StoredEpisode, store: str, file: str, view: RewardView, rule: Labelling, encoder: ImageEncoder
) -> Moments:
    """Reads and encodes the pictures of one finished, labelled episode."""
    manifest = episode.manifest
    missing = [camera for camera in view.cameras if camera not in manifest.cameras]
    if missing:
        have = ", ".join(manifest.cameras) or "none"
        raise BadInput(f"episode {episode.number} of {store} has no camera '{missing[0]}'; has: {have}")
    if manifest.success is None:
        raise BadInput(f"episode {episode.number} of {store} has no label")
    frames = np.arange(len(episode) - 1, -1, -rule.every)[::-1]
    rate_hz = manifest.alignment.rate_hz / rule.every
    features = np.stack([_features(episode, camera, frames, encoder) for camera in view.cameras], axis=1)
    earlier = np.maximum(np.arange(len(frames)) - max(1, round(view.change_s * rate_hz)), 0)
    rows = moments(features, features[earlier], view.image_px).astype(np.float16)
    said = LabelledEpisode(file=file, store=store, number=episode.number, success=manifest.success, rate_hz=rate_hz)
    return Moments(said, rows, label(len(frames), manifest.success, rate_hz, rule))


def _features(episode: StoredEpisode, camera: str, frames: ndarray, encoder: ImageEncoder) -> ndarray:
    """[N, f] of one camera; a picture that serves several frames is encoded once."""
    rows = episode.index.picture_row[frames, episode.manifest.cameras.index(camera)]
    unique, place = np.unique(rows, return_inverse=True)
    pictures = np.stack([episode.cameras[camera].picture(int(row)) for row in unique])
    return encode_all(encoder, pictures)[place]


def keep(folder: Path, moments_of: Moments) -> None:
    tensors = {"rows": moments_of.rows, "label": moments_of.label}
    artefact.write_bytes(folder / FRAMES / moments_of.episode.file, save(tensors))


def open_moments(folder: Path, episode: LabelledEpisode) -> Moments:
    tensors = load_file(folder / FRAMES / episode.file)
    return Moments(episode, tensors["rows"], tensors["label"])


def read_labels(folder: Path) -> Labels:
    """Raises `BadInput` where `rl reward collect` has not been."""
    if not (folder / LABELS).is_file():
        raise BadInput(f"{folder} holds no labelled moments", "tandem rl reward collect STORE -o FOLDER makes them")
    return configs.read(Labels, folder / LABELS)


def open_all(folders: Sequence[Path]) -> tuple[Labels, list[Moments]]:
    """The first folder's settings and everybody's moments. Raises `BadInput` where the views differ."""
    every = [read_labels(folder) for folder in folders]
    for folder, labels in zip(folders, every, strict=True):
        if labels.view != every[0].view:
            raise BadInput(f"{folder} has other cameras or features than {folders[0]}", "collect both alike")
    episodes = [
        open_moments(folder, episode)
        for folder, labels in zip(folders, every, strict=True)
        for episode in labels.episodes
    ]
    return every[0], episodes
