"""Who prepares an episode and who says whether it succeeded: the bench's truth, or nobody."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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

    def __init__(self, cell: CellConfig) -> None:
        from hardware.bench.link import PlantLink

        self._link = PlantLink(cell.plant_name)

    def reset(self, seed: int) -> None:
        self._link.reset(seed=seed)

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


def choose(cell: CellConfig) -> Referee:
    return NoReferee() if cell.bench is None else PlantReferee(cell)
