"""The bench's arm and gripper: drivers for the simulated cell, as any other arm's."""

from __future__ import annotations

import contextlib

from jaxtyping import Float
from numpy import ndarray

from hardware.bench.link import PlantLink
from hardware.cell import CellConfig
from hardware.ports import DeviceLost, JointReading


class PlantArm:
    """An `Arm` over a plant's link. Several devices may share one link; closing one leaves the link open."""

    def __init__(self, link: PlantLink) -> None:
        self._link = link
        self.names: tuple[str, ...] = link.info.names

    def read(self) -> JointReading:
        reading, _ = self._link.reading()
        return reading

    def send(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        """The servos' rounding and ranges applied. Raises `DeviceLost`, `ValueError`."""
        return self._link.command(q_rad)

    def stop(self) -> None:
        with contextlib.suppress(DeviceLost, ValueError):
            self._link.hold()

    def close(self) -> None:
        self.stop()


class PlantGripper:
    """A `Gripper` over a plant's link."""

    def __init__(self, link: PlantLink) -> None:
        self._link = link

    def read(self) -> tuple[int, float]:
        reading, opening = self._link.reading()
        return reading.stamp_ns, opening

    def send(self, opening: float) -> float:
        return self._link.command_gripper(opening)

    def stop(self) -> None:
        """A servo keeps its last goal, and so its grip; there is nothing to send."""

    def close(self) -> None:
        """Nothing to free: the link belongs to whoever opened it."""


def connect(cell: CellConfig) -> tuple[PlantArm, PlantGripper]:
    """Both over one link to the cell's plant, which lives as long as they do. Raises `DeviceLost`."""
    link = PlantLink(cell.plant_name)
    return PlantArm(link), PlantGripper(link)
