"""Who puts the object at its start in a guided run: a person, or on the bench a scripted stand-in for one."""

from __future__ import annotations

import math
import time
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig

PERSON_S = 1.0
"""Between two looks at what a person does."""


@runtime_checkable
class Places(Protocol):
    """Whoever puts the object at its start, and knows or does not know the truth."""

    who: Literal["scripted", "human"]
    patient: bool
    """True: looks are repeated until it is right; False: after some looks another start is drawn."""

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        """A new episode: the arm goes home, the object to its start."""
        ...

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None: ...

    def truth(self) -> bool | None:
        """Whether the task is done now; None: nobody knows. For the audit alone."""
        ...

    def close(self) -> None: ...


class StandIn:
    """The bench's: it places with an error and, told where the object was seen, moves it by the difference."""

    who: Literal["scripted", "human"] = "scripted"
    patient = False

    def __init__(self, cell: CellConfig, error_mm: float, error_deg: float) -> None:
        from hardware.bench.link import PlantLink

        self._link = PlantLink(cell.plant_name)
        self._error = error_mm * 1e-3, math.radians(error_deg)
        self._at: TaskStart | None = None

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        self._at = self._link.reset(_shifted(wanted, rng.normal(size=3), *self._error))

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None:
        """A fifth of its first error remains in each move. What nobody sees is put anew."""
        if self._at is None or seen is None:
            self.put(wanted, rng)
            return
        moved = TaskStart(
            x_m=self._at.x_m + wanted.x_m - seen.x_m,
            y_m=self._at.y_m + wanted.y_m - seen.y_m,
            yaw_rad=self._at.yaw_rad + wanted.yaw_rad - seen.yaw_rad,
        )
        self._at = self._link.place(_shifted(moved, 0.2 * rng.normal(size=3), *self._error))

    def truth(self) -> bool | None:
        return self._link.success()

    def close(self) -> None:
        self._link.close()


class Person:
    """A real cell's: told by the log and the page where the object belongs, and trusted by nobody but the camera."""

    who: Literal["scripted", "human"] = "human"
    patient = True

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        """The words of `GuidedReferee.reset` are for them."""

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None:
        time.sleep(PERSON_S)

    def truth(self) -> bool | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def _shifted(start: TaskStart, unit: np.ndarray, error_m: float, error_rad: float) -> TaskStart:
    dx, dy, turn = unit.tolist()
    return TaskStart(
        x_m=start.x_m + dx * error_m, y_m=start.y_m + dy * error_m, yaw_rad=start.yaw_rad + turn * error_rad
    )
