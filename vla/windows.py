"""Episodes in, batches of (observation, chunk that followed) out: drawn by weight, or all in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import batched

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.errors import BadInput
from vla.augmentation import Augmentation, augmented
from vla.keyframes import misses, next_keyframes
from vla.policy import GRIPPER, Batch, Interface, ObservationBatch
from vla.prepared import PreparedEpisode

RATES = ("joint_vel_rad_s", "tcp_delta_m_rad")
"""Spaces in which holding still is zero; in the others it is the last action again."""

Window = tuple[int, int]
"""(episode in the list, first step)"""


class Windows:
    """Every step that has a picture starts one window of `horizon_steps`, but for those of tries that missed."""

    def __init__(
        self, episodes: Sequence[PreparedEpisode], interface: Interface, with_misses: bool = False
    ) -> None:
        """`with_misses`: those too."""
        self.episodes, self.interface = episodes, interface
        self.missed = [missed(episode.state, episode.actions, interface) for episode in episodes]
        self.windows: list[Window] = [
            (number, int(step))
            for number, steps in enumerate(self.missed)
            for step in np.flatnonzero(with_misses | ~steps)
            if step % episodes[number].stride == 0
        ]
        self._keyframes = [next_keyframes(episode.actions, interface.action_names) for episode in episodes]

    def __len__(self) -> int:
        return len(self.windows)

    def chunks(self, most: int) -> dict[str, Float[ndarray, "N T D"]]:
        """By dataset, the demonstrated chunks in physical units, evenly thinned out to `most` in all."""
        stride = max(1, -(-len(self) // most))
        made: dict[str, list[ndarray]] = {}
        for number, step in self.windows[::stride]:
            made.setdefault(self.episodes[number].dataset, []).append(self.following(number, step)[0])
        return {name: np.stack(chunks) for name, chunks in made.items()}

    def following(self, number: int, step: int) -> tuple[Float[ndarray, "T D"], Bool[ndarray, " T"]]:
        """The chunk from a step on, and which of its steps are past the episode's end."""
        horizon = self.interface.horizon_steps
        real = self.episodes[number].actions[step : step + horizon]
        missing = horizon - len(real)
        still = real[-1].copy()
        if self.interface.space in RATES:
            still[[name != GRIPPER for name in self.interface.action_names]] = 0
        filled = np.concatenate([real, np.tile(still, (missing, 1))])
        return filled, np.arange(horizon) >= len(real)

    def in_order(self, size: int, most: int) -> Iterator[Batch]:
        """All windows, evenly thinned out to `most`, without augmentation."""
        stride = max(1, -(-len(self) // most))
        for part in batched(self.windows[::stride], size):
            yield self.batch(part, [0] * len(part))

    def batch(self, windows: Sequence[Window], variants: Sequence[int], late: Sequence[int] = ()) -> Batch:
        """The given windows; `variants` says which of the feature variants each one takes, `late` how many steps later
        than its pictures the joints were read and the chunk begins (none: as recorded). A step that has no picture is
        shown the last before it.
        """
        episodes, seen = [self.episodes[number] for number, _ in windows], windows
        windows = [
            (number, min(step + by, len(self.episodes[number]) - 1))
            for (number, step), by in zip(windows, late or [0] * len(windows), strict=True)
        ]
        followed = [self.following(number, step) for number, step in windows]
        observations = ObservationBatch(
            state=np.stack([self.episodes[number].state[step] for number, step in windows]),
            images=self._pictures(seen),
            instructions=tuple(episode.instruction for episode in episodes),
            datasets=tuple(episode.dataset for episode in episodes),
            features=self._features(seen, variants),
            instruction_features=_stacked([episode.instruction_features for episode in episodes]),
        )
        return Batch(
            observations,
            np.stack([chunk for chunk, _ in followed]),
            np.stack([padded for _, padded in followed]),
            np.stack([self.episodes[number].state[self._keyframes[number][step]] for number, step in windows]),
        )

    def _pictures(self, windows: Sequence[Window]) -> dict[str, ndarray]:
        if not self.episodes[0].pictures:
            return {}
        return {
            camera: np.stack(
                [self.episodes[n].pictures[place][step // self.episodes[n].stride] for n, step in windows]
            )
            for place, camera in enumerate(self.interface.cameras)
        }

    def _features(self, windows: Sequence[Window], variants: Sequence[int]) -> Float[torch.Tensor, "B C F"] | None:
        if not self.interface.cameras or not self.episodes[0].features:
            return None
        rows = [
            [camera[step // self.episodes[number].stride] for camera in self.episodes[number].features[variant]]
            for (number, step), variant in zip(windows, variants, strict=True)
        ]
        return torch.from_numpy(np.array(rows)).float()


class Draws:
    """Batches for training. Batch `step` is a function of the seed and the step: nothing to store, nothing to lose."""

    def __init__(
        self, windows: Windows, weights: Mapping[str, float], augmentation: Augmentation, seed: int
    ) -> None:
        """`weights` is by dataset: the share of windows drawn from it, whatever its size."""
        self.windows, self.augmentation, self.seed = windows, augmentation, seed
        of = np.array([windows.episodes[number].dataset for number, _ in windows.windows])
        chances = np.zeros(len(of))
        for name, weight in weights.items():
            if weight > 0 and not (of == name).any():
                raise BadInput(f"no training window in '{name}'", "give it more episodes, or weight 0")
            chances[of == name] = weight / max(1, int((of == name).sum()))
        if not chances.sum() > 0:
            raise BadInput("every dataset of the mixture has weight 0", "give one a weight: --weights 1")
        self._cumulated = np.cumsum(chances / chances.sum())

    def draw(self, step: int, size: int, process: int = 0) -> Batch:
        """The batch of a step; each process of a distributed run draws its own."""
        rng = np.random.default_rng([self.seed, step, process])
        places = np.searchsorted(self._cumulated, rng.random(size), side="right").clip(max=len(self.windows) - 1)
        first = self.windows.episodes[0]
        variants = rng.integers(0, max(1, len(first.features)), size)
        late = rng.integers(0, self.augmentation.late_steps + 1, size)
        chosen = [self.windows.windows[place] for place in places]
        batch = self.windows.batch(chosen, variants.tolist(), late.tolist())
        if not first.pictures:
            return batch
        seen = batch.observations
        images = {camera: augmented(rgb, self.augmentation, rng) for camera, rgb in seen.images.items()}
        observations = ObservationBatch(
            seen.state, images, seen.instructions, seen.datasets, None, seen.instruction_features
        )
        return Batch(observations, batch.actions, batch.padded, batch.keyframes)


def missed(
    state: Float[ndarray, "T S"], actions: Float[ndarray, "T D"], interface: Interface
) -> Bool[ndarray, " T"]:
    """Steps of tries that closed on nothing; none where the gripper is not among state and actions."""
    if GRIPPER not in interface.state_names or GRIPPER not in interface.action_names:
        return np.zeros(len(state), bool)
    return misses(state[:, interface.state_names.index(GRIPPER)], actions[:, interface.action_names.index(GRIPPER)])


def _stacked(vectors: Sequence[ndarray | None]) -> torch.Tensor | None:
    present = [vector for vector in vectors if vector is not None]
    return torch.from_numpy(np.stack(present)) if len(present) == len(vectors) else None
