"""What a policy learns from: episodes as arrays, whichever store they lie in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field, PositiveFloat

from hardware.config import Config
from hardware.errors import BadInput
from hardware.spatial import Pose

log = logging.getLogger(__name__)

MOST_CAMERAS = 3


class Layout(Config):
    """What every episode of a dataset has."""

    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...] = Field(min_length=1)
    rate_hz: PositiveFloat


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One episode, row t = frame t. The action is what was sent at that frame, physical units."""

    instruction: str
    state: Float[ndarray, "T S"]
    actions: Float[ndarray, "T D"]
    pictures: Callable[[str], UInt8[ndarray, "T H W 3"]]
    """Camera → all its pictures, decoded when asked for."""
    T_base_object: Pose | None = None
    """At the start, as vision had it; None: nobody looked."""

    def __len__(self) -> int:
        return len(self.actions)


@runtime_checkable
class Demonstrations(Protocol):
    """A dataset. Indexing reads numbers at once and pictures when they are asked for."""

    @property
    def name(self) -> str:
        """Unique in a mixture; the policy keeps the normalisation under it."""
        ...

    @property
    def layout(self) -> Layout: ...

    def __len__(self) -> int: ...

    def __getitem__(self, episode: int, /) -> Demonstration: ...


@dataclass(frozen=True, eq=False)
class ArrayDemonstrations:
    """Episodes that are in memory."""

    name: str
    layout: Layout
    episodes: Sequence[Demonstration]

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, episode: int, /) -> Demonstration:
        return self.episodes[episode]


@dataclass(frozen=True, eq=False)
class ChosenState:
    """A dataset with some of its state columns: what a policy reads, of all that was recorded."""

    whole: Demonstrations
    state_names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def layout(self) -> Layout:
        return self.whole.layout.but(state_names=self.state_names)

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, episode: int, /) -> Demonstration:
        found, columns = self.whole[episode], self.whole.layout.state_names
        return replace(found, state=found.state[:, [columns.index(name) for name in self.state_names]])


def with_state(dataset: Demonstrations, names: Sequence[str]) -> Demonstrations:
    """The dataset with these columns of the state; all where none is named. Raises `BadInput` for one it lacks."""
    have = dataset.layout.state_names
    missing = [name for name in names if name not in have]
    if missing:
        raise BadInput(f"'{dataset.name}' has no state column '{missing[0]}'; has: {_listed(have)}")
    return dataset if not names or tuple(names) == have else ChosenState(dataset, tuple(names))


def open_demonstrations(folder: Path, name: str) -> Demonstrations:
    """A LeRobot v3 dataset or one of our stores. Raises `BadInput` for anything else."""
    from vla.lerobot_demonstrations import LerobotDemonstrations, is_lerobot
    from vla.store_demonstrations import StoreDemonstrations, is_store

    if is_lerobot(folder):
        return LerobotDemonstrations.open(folder, name)
    if is_store(folder):
        return StoreDemonstrations.open(folder, name)
    what = "neither a LeRobot dataset nor an episode store" if folder.is_dir() else "no folder"
    raise BadInput(f"{folder} is {what}", "give a folder that `tandem` recorded, or a LeRobot v3 dataset")


def cameras_of(mixture: Sequence[Demonstrations], chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """The chosen cameras, or all of the first dataset. Raises `BadInput` when a dataset lacks one."""
    cameras = tuple(chosen) or mixture[0].layout.cameras
    for dataset in mixture:
        missing = [camera for camera in cameras if camera not in dataset.layout.cameras]
        if missing:
            raise BadInput(
                f"'{dataset.name}' has no camera {_listed(missing)}; have: {_listed(dataset.layout.cameras)}",
                "choose cameras that all datasets have: --cameras",
            )
    if len(cameras) > MOST_CAMERAS:
        raise BadInput(f"{len(cameras)} cameras, at most {MOST_CAMERAS}: {_listed(cameras)}", "choose: --cameras")
    return cameras


def require_alike(first: Demonstrations, other: Demonstrations) -> None:
    """The same rate and counts of columns. Other names of columns (another arm) are allowed and said."""
    one, two = first.layout, other.layout
    for what in ("state_names", "action_names"):
        mine, theirs = getattr(one, what), getattr(two, what)
        column = what.removesuffix("_names")
        if len(mine) != len(theirs):
            raise BadInput(
                f"the {column} has {len(mine)} dims in '{first.name}' and {len(theirs)} in '{other.name}'",
                "one policy takes arms of the same number of joints",
            )
        if set(mine) == set(theirs) and mine != theirs:
            raise BadInput(
                f"the {column} columns of '{other.name}' are in another order: {_listed(theirs)}, not {_listed(mine)}"
            )
        if mine != theirs:
            log.warning("%s columns: %s in '%s' go with %s", column, _listed(theirs), other.name, _listed(mine))
    if one.rate_hz != two.rate_hz:
        raise BadInput(f"'{first.name}' runs at {one.rate_hz} Hz, '{other.name}' at {two.rate_hz} Hz")


def require_usable(dataset: Demonstrations, horizon_steps: int, language: bool) -> None:
    """Raises `BadInput` that names the dataset, the episode and the column."""
    if len(dataset) == 0:
        raise BadInput(f"'{dataset.name}' has no episodes")
    lengths = []
    for number in range(len(dataset)):
        episode, where = dataset[number], f"'{dataset.name}' episode {number}"
        lengths.append(len(episode))
        if len(episode) == 0:
            raise BadInput(f"{where} is empty", "remove it")
        if language and not episode.instruction.strip():
            raise BadInput(f"{where} has no instruction", "add one to the dataset, or train with --no-language")
        _require_finite(episode.actions, dataset.layout.action_names, f"the action of {where}")
        _require_finite(episode.state, dataset.layout.state_names, f"the state of {where}")
    if max(lengths) < horizon_steps:
        raise BadInput(
            f"a chunk of {horizon_steps} steps is longer than any episode of '{dataset.name}' ({max(lengths)} at most)",
            f"take --horizon-steps {max(1, max(lengths) // 2)}",
        )
    shorter = sum(length < horizon_steps for length in lengths)
    if shorter:
        log.warning("%d of %d episodes of '%s' are shorter than a chunk", shorter, len(lengths), dataset.name)


def _require_finite(values: Float[ndarray, "T D"], names: Sequence[str], what: str) -> None:
    if values.shape[1:] != (len(names),):
        raise BadInput(f"{what} has {values.shape[1:]} columns, the dataset says {len(names)}")
    if not np.isfinite(values).all():
        step, column = np.argwhere(~np.isfinite(values))[0]
        raise BadInput(
            f"{what} is {values[step, column]} at step {step} in '{names[column]}'", "remove that episode"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
