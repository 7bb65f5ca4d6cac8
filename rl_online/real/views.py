"""The cell's newest pictures and posture for whoever conducts a guided run, and the word that it is over.

Light to import.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from hardware.cell import CellConfig
from hardware.errors import TandemError
from hardware.ports import CameraImage
from hardware.referee import Referee
from rl_online.real.backward import RunBackward


class Over(TandemError):
    """The budget is spent: no further episode."""

    exit_code = 0


class Views:
    """The newest picture of each camera and the arm's posture. Any thread may put, any may take."""

    def __init__(self) -> None:
        self.posture: Float[ndarray, " D"] | None = None
        """Joint angles (rad), then the gripper's opening where there is one; None before the first reading."""
        self._changed = threading.Condition()
        self._newest: dict[str, CameraImage] = {}

    def put(self, camera: str, image: CameraImage) -> None:
        with self._changed:
            self._newest[camera] = image
            self._changed.notify_all()

    def newer(self, cameras: tuple[str, ...], after_ns: int, timeout_s: float) -> Mapping[str, CameraImage] | None:
        """One picture of each camera, all made after that moment; None when they do not come in time."""

        def there() -> bool:
            return all(camera in self._newest and self._newest[camera].stamp_ns > after_ns for camera in cameras)

        with self._changed:
            return (
                {name: self._newest[name] for name in cameras} if self._changed.wait_for(there, timeout_s) else None
            )


class LazyReferee:
    """A `GuidedReferee` that is made when the first episode is prepared."""

    def __init__(
        self, cell: CellConfig, run: Path, views: Views, is_closing: Callable[[], bool], back: RunBackward
    ) -> None:
        self._cell, self._run, self._views, self._is_closing, self._back = cell, run, views, is_closing, back
        self._referee: Referee | None = None

    def reset(self, seed: int) -> None:
        if self._referee is None:
            from rl_online.real.referee import referee  # brings torch

            self._referee = referee(self._cell, self._run, self._views, self._is_closing, self._back)
        self._referee.reset(seed)

    def has_succeeded(self) -> bool | None:
        return None if self._referee is None else self._referee.has_succeeded()

    def close(self) -> None:
        if self._referee is not None:
            self._referee.close()
