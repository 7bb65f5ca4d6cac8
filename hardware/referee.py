"""Who prepares an episode and who says whether it succeeded: the bench's truth, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig


@runtime_checkable
class Referee(Protocol):
    """One thread."""

    def reset(self, seed: int) -> None:
        """Puts the objects where the episode begins. The arm must be idle."""
        ...

    def has_succeeded(self) -> bool | None:
        """None: cannot tell."""
        ...

    def close(self) -> None: ...


class PlantReferee:
    """Resets and judges by the simulated plant's truth."""

    def __init__(self, cell: CellConfig, starts: Sequence[TaskStart], first_seed: int) -> None:
        from hardware.bench.link import PlantLink

        self._link = PlantLink(cell.plant_name)
        self._starts, self._first_seed = starts, first_seed

    def reset(self, seed: int) -> None:
        number = seed - self._first_seed
        self._link.reset(self._starts[number] if number < len(self._starts) else None, seed)

    def has_succeeded(self) -> bool | None:
        return self._link.success()

    def close(self) -> None:
        self._link.close()


class NoReferee:
    """A real cell without anyone who judges: episodes end by time and are kept without a label."""

    def reset(self, seed: int) -> None:
        """A person has put the objects in place."""

    def has_succeeded(self) -> bool | None:
        return None

    def close(self) -> None: ...


def choose(cell: CellConfig, starts: Sequence[TaskStart] = (), first_seed: int = 0) -> Referee:
    """`starts`: a plan's, which the bench resets to from the first seed on; it draws those beyond by their seeds."""
    return NoReferee() if cell.bench is None else PlantReferee(cell, starts, first_seed)
