"""Pictures of the last moments in, the probability that the task is done out: a learned judge on frozen features.

A linear probe on the encoder's patches: cameras that stand still see the goal in the same patches every time. Beside
what is seen now, it is told how much has changed since a moment ago, for "at rest" cannot be seen in one picture.
On disk: `reward.json` and `reward.safetensors`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hardware import artefact
from hardware import config as configs
from hardware.config import Config
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from vla.encoders import ENCODER, ImageEncoder, encode_all, feature_size, split

MANIFEST, WEIGHTS = "reward.json", "reward.safetensors"


class RewardView(Config):
    """What a judge looks at."""

    cameras: tuple[str, ...] = Field(min_length=1)
    image_px: PositiveInt = 128
    change_s: PositiveFloat = 0.4
    """How long ago the moment is that now is compared with."""
    encoder: str = ENCODER

    @property
    def dims(self) -> int:
        """Of one moment's features: the patches of every camera, then how much each channel has changed."""
        fine, coarse = split(torch.zeros(1, feature_size(self.image_px)), self.image_px)
        return len(self.cameras) * (feature_size(self.image_px) + fine.shape[-1] + coarse.shape[-1])


class JudgeScores(Config):
    """How a judge does on labelled episodes."""

    frames: NonNegativeInt
    frame_precision: float
    frame_recall: float
    episodes: NonNegativeInt
    true_successes: NonNegativeInt
    """Judged a success, and labelled one."""
    false_successes: NonNegativeInt
    """Judged a success on an episode labelled a failure, or long before the end of one labelled a success."""
    missed: NonNegativeInt
    """Labelled a success, and not judged one."""
    false_share: float
    """Of all that was judged a success."""
    false_interval: tuple[float, float]
    """Wilson, 95 %."""


class RewardManifest(Config):
    """A trained judge without its weights."""

    version: int = 1
    task: str
    view: RewardView
    threshold: float = Field(gt=0, lt=1)
    consecutive: PositiveInt = 3
    """So many moments in a row must be above the threshold."""
    wanted_precision: float
    held_out: JudgeScores
    """The threshold was chosen on these episodes; `tandem rl reward check` measures on new ones."""
    learned_episodes: int
    mined_frames: int
    """Negatives that an earlier round of it took for successes."""
    data: str
    seed: int


class RewardModel:
    """p(done) = σ(w · standardised features + b)."""

    def __init__(self, manifest: RewardManifest, weight: Float32[ndarray, " F"], bias: float) -> None:
        self.manifest, self.weight, self.bias = manifest, weight, bias

    def probabilities(self, moments: ndarray) -> Float[ndarray, " N"]:
        """Of rows of features as `moments` makes them."""
        return probabilities(moments, self.weight, self.bias)

    def save(self, folder: Path) -> None:
        with artefact.staged_folder(folder) as staged:
            tensors = {"weight": self.weight, "bias": np.array([self.bias], np.float32)}
            artefact.write_bytes(staged / WEIGHTS, save(tensors))
            artefact.write_model(staged / MANIFEST, self.manifest)


def probabilities(moments: ndarray, weight: Float32[ndarray, " F"], bias: float) -> Float[ndarray, " N"]:
    """Of rows of features as `moments` makes them."""
    logits = moments.astype(np.float32) @ weight + bias
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))


def load_reward(folder: Path) -> RewardModel:
    """Raises `BadInput` for a folder that holds none, or one of other features."""
    manifest = configs.read(RewardManifest, folder / MANIFEST)
    if manifest.version != 1 or manifest.view.encoder != ENCODER:
        raise BadInput(f"{folder} was trained on other features", "tandem rl reward train makes it anew")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"cannot read {folder / WEIGHTS}: {error}") from error
    weight = tensors.get("weight")
    if weight is None or weight.shape != (manifest.view.dims,) or "bias" not in tensors:
        raise BadInput(f"{folder / WEIGHTS} does not fit {MANIFEST}", "tandem rl reward train makes it anew")
    return RewardModel(manifest, weight, float(tensors["bias"][0]))


def moments(now: ndarray, before: ndarray, image_px: int) -> Float[ndarray, "N F"]:
    """Features [N, C, f] of the pictures now and of those `change_s` earlier → one row for each moment."""
    change = torch.from_numpy(np.abs(now.astype(np.float32) - before.astype(np.float32)))
    fine, coarse = split(change, image_px)
    moved = torch.cat([fine.mean(dim=-2), coarse.mean(dim=-2)], dim=-1).flatten(1).numpy()
    return np.concatenate([now.reshape(len(now), -1).astype(np.float32), moved], axis=1)


class Judge:
    """A model on a live stream: one episode after another, one moment after another. One thread."""

    def __init__(self, model: RewardModel, encoder: ImageEncoder | None = None) -> None:
        self.model = model
        self._encoder = encoder or ImageEncoder(model.manifest.view.image_px)
        self.begin()

    def begin(self) -> None:
        """A new episode."""
        self._seen: deque[tuple[int, ndarray]] = deque()
        self.in_a_row = 0
        self.probability = 0.0

    def see(self, stamp_ns: int, images: Mapping[str, UInt8[ndarray, "H W 3"]]) -> bool:
        """Whether the task is done, by all that was seen since `begin`."""
        view = self.model.manifest.view
        missing = [camera for camera in view.cameras if camera not in images]
        if missing:
            raise BadInput(f"the judge looks through '{missing[0]}'; there is: {', '.join(images) or 'no camera'}")
        parts = [encode_all(self._encoder, images[camera][None])[0] for camera in view.cameras]
        now = np.stack(parts)
        self._seen.append((stamp_ns, now))
        earlier_ns = stamp_ns - round(view.change_s * NANOSECONDS_PER_SECOND)
        while len(self._seen) > 1 and self._seen[1][0] <= earlier_ns:
            self._seen.popleft()
        row = moments(now[None], self._seen[0][1][None], view.image_px)
        self.probability = float(self.model.probabilities(row)[0])
        self.in_a_row = self.in_a_row + 1 if self.probability >= self.model.manifest.threshold else 0
        return self.in_a_row >= self.model.manifest.consecutive


def in_a_row(probabilities: Float[ndarray, " N"], count: int) -> Float[ndarray, " N"]:
    """The least of each moment and the `count` − 1 before it; 0 where there are not so many."""
    least = np.zeros(len(probabilities))
    for number in range(count - 1, len(probabilities)):
        least[number] = probabilities[number - count + 1 : number + 1].min()
    return least


def first_judged(probabilities: Float[ndarray, " N"], threshold: float, consecutive: int) -> int | None:
    """The moment at which a judge says that it is done, of an episode's probabilities; None: it never does."""
    done = np.flatnonzero(in_a_row(probabilities, consecutive) >= threshold)
    return int(done[0]) if len(done) else None
