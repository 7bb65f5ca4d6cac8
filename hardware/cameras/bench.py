"""A camera of the bench: a driver for a picture stream of the simulated cell, as any other camera's."""

from __future__ import annotations

from hardware.bench.link import PlantLink
from hardware.camera_model import CameraModel
from hardware.cell import CellConfig
from hardware.errors import BadInput
from hardware.ports import CameraImage


class PlantCamera:
    """A `Camera` over a plant's link, which may be shared; closing the camera leaves the link open."""

    def __init__(self, link: PlantLink, name: str) -> None:
        if name not in link.info.cameras:
            raise BadInput(f"the plant has no camera '{name}'; have: {', '.join(link.info.cameras)}")
        self._link = link
        self.name = name
        self._last = 0
        self._is_closed = False

    @property
    def rate_hz(self) -> float:
        return self._link.info.cameras[self.name][1]

    @property
    def model(self) -> CameraModel:
        """The ideal pinhole that it is."""
        return self._link.info.cameras[self.name][0]

    def read(self) -> CameraImage | None:
        if self._is_closed:
            return None
        found = self._link.image(self.name, after=self._last)
        if found is None:
            return None
        self._last, image = found
        return image

    def close(self) -> None:
        self._is_closed = True


def connect(cell: CellConfig, name: str) -> PlantCamera:
    """Over a link of its own to the cell's plant. Raises `DeviceLost`."""
    return PlantCamera(PlantLink(cell.plant_name), name)
