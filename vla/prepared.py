"""Demonstrations in, episodes ready to be drawn from out: pictures shrunk, features of frozen encoders computed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from numpy import ndarray

from hardware import artefact
from hardware.progress import progress
from vla import minilm
from vla.augmentation import Augmentation, augmented
from vla.demonstrations import Demonstrations
from vla.encoders import FeatureCache, ImageEncoder, encode_all, resized
from vla.policy import Interface


@dataclass(frozen=True, eq=False)
class PreparedEpisode:
    """Numbers in memory, pictures or features in mapped files."""

    dataset: str
    number: int
    instruction: str
    instruction_features: Float[ndarray, " E"] | None
    """None: the policy reads no instruction."""
    state: Float[ndarray, "T S"]
    actions: Float[ndarray, "T D"]
    pictures: tuple[UInt8[ndarray, "P px px 3"], ...] = ()
    """By camera; only where the encoder is trained."""
    features: tuple[tuple[Float16[ndarray, "P F"], ...], ...] = ()
    """By variant, then by camera. Variant 0 is of the pictures as they are."""
    stride: int = 1
    """Steps from one of the P pictures to the next, from step 0 on."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class Preparation:
    """How pictures become what is trained on."""

    interface: Interface
    encoder: ImageEncoder
    augmentation: Augmentation
    cached_variants: int
    """Feature variants per picture: the plain one and augmented ones. 0: keep pictures, the encoder is trained."""
    folder: Path
    seed: int
    stride: int = 1
    """Steps from one picture that is looked at to the next."""

    def episodes(self, mixture: Sequence[Demonstrations]) -> list[PreparedEpisode]:
        """All of them, in order. Several at once, each on one core: unpacking and shrinking pictures, half of the work,
        knows no threads.
        """
        places = [(dataset, number) for dataset in mixture for number in range(len(dataset))]
        made = []
        with (
            progress("reading and encoding demonstrations", len(places)) as advance,
            one_thread_each() as threads,
            ThreadPoolExecutor(threads) as workers,
        ):
            begun = [workers.submit(self._episode, *place) for place in places]
            try:
                for (dataset, _), episode in zip(places, begun, strict=True):
                    made.append(episode.result())
                    advance(dataset.name)
            finally:
                workers.shutdown(wait=False, cancel_futures=True)
        return made

    def _episode(self, source: Demonstrations, number: int) -> PreparedEpisode:
        dataset, episode = source.name, source[number]
        small = [self._small(episode.pictures(camera)[:: self.stride]) for camera in self.interface.cameras]
        variants = [tuple(self._features(rgb, variant) for rgb in small) for variant in range(self.cached_variants)]
        kept = (
            []
            if self.cached_variants
            else [self._mapped(f"{dataset}-{number:06}-{camera}", rgb) for camera, rgb in enumerate(small)]
        )
        language = self.interface.language
        return PreparedEpisode(
            dataset=dataset,
            number=number,
            instruction=episode.instruction,
            instruction_features=minilm.embed([episode.instruction])[0] if language else None,
            state=episode.state.astype(np.float32),
            actions=episode.actions.astype(np.float32),
            pictures=tuple(kept),
            features=tuple(variants),
            stride=self.stride if small else 1,
        )

    def _small(self, rgb: UInt8[ndarray, "P H W 3"]) -> UInt8[ndarray, "P px px 3"]:
        return resized(torch.from_numpy(np.ascontiguousarray(rgb)), self.encoder.image_px).numpy()

    def _features(self, rgb: UInt8[ndarray, "P px px 3"], variant: int) -> Float16[ndarray, "P F"]:
        def encode() -> Float16[ndarray, "P F"]:
            if variant == 0:
                return encode_all(self.encoder, rgb)
            rng = np.random.default_rng([self.seed, variant])
            return encode_all(self.encoder, augmented(rgb, self.augmentation, rng))

        shaped_by = () if variant == 0 else (self.augmentation.model_dump_json(), self.seed, variant)
        return FeatureCache(self.folder / "features").features(rgb, encode, self.encoder.in_bfloat16, *shaped_by)

    def _mapped(self, name: str, rgb: UInt8[ndarray, "P px px 3"]) -> UInt8[ndarray, "P px px 3"]:
        file = self.folder / "pictures" / f"{name}.npy"
        with artefact.staged_file(file) as temporary:
            np.save(temporary, rgb, allow_pickle=False)
        return np.load(file, mmap_mode="r", allow_pickle=False)


@contextlib.contextmanager
def one_thread_each() -> Generator[int]:
    """How many cores torch may take; meanwhile each of its operations takes one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
