"""Chosen episodes of several datasets as one dataset, so that one policy reads them all by the same ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hardware.errors import BadInput
from vla.demonstrations import Demonstration, Demonstrations, Layout, require_alike


@dataclass(frozen=True, eq=False)
class Part:
    dataset: Demonstrations
    first: int
    count: int

    def __post_init__(self) -> None:
        if self.first + self.count > len(self.dataset):
            raise BadInput(
                f"'{self.dataset.name}' has {len(self.dataset)} episodes, {self.first + self.count} are needed",
                "record more, or ask for fewer",
            )


class Joined:
    """A `Demonstrations`."""

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        """All parts must be alike: cameras, rate, counts of columns."""
        first = parts[0].dataset
        for part in parts[1:]:
            require_alike(first, part.dataset)
        self.name = name
        cameras = [
            camera
            for camera in first.layout.cameras
            if all(camera in part.dataset.layout.cameras for part in parts)
        ]
        self.layout: Layout = first.layout.but(cameras=tuple(cameras))
        self._places = [(part.dataset, part.first + number) for part in parts for number in range(part.count)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, episode: int, /) -> Demonstration:
        dataset, number = self._places[episode]
        return dataset[number]
