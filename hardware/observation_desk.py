"""The newest joint reading and picture of each camera in; one observation out, or none while anything is stale."""

from __future__ import annotations

import threading

from hardware.cell import CellConfig
from hardware.messages import NANOSECONDS_PER_SECOND, Observation
from hardware.ports import CameraImage, JointReading

STALE_JOINTS_S = 0.1
JOINTS = "joints"


class ObservationDesk:
    """Any thread may hand in, any may take out."""

    def __init__(self, cell: CellConfig) -> None:
        self._names = cell.limits.names
        self._stale_image_s = cell.limits.stale_image_s
        self._lock = threading.Lock()
        self._reading: JointReading | None = None
        self._gripper_open: float | None = None
        self._images: dict[str, CameraImage | None] = dict.fromkeys(cell.cameras)

    def joints(self, reading: JointReading, gripper_open: float | None) -> None:
        with self._lock:
            self._reading, self._gripper_open = reading, gripper_open

    def image(self, camera: str, image: CameraImage) -> None:
        with self._lock:
            self._images[camera] = image

    def stale(self, now_ns: int) -> tuple[str, ...]:
        """The inputs that are too old, or never came."""
        with self._lock:
            ages = {JOINTS: (self._reading, STALE_JOINTS_S)}
            ages |= {camera: (image, self._stale_image_s) for camera, image in self._images.items()}
            return tuple(
                name
                for name, (newest, limit_s) in ages.items()
                if newest is None or now_ns - newest.stamp_ns > limit_s * NANOSECONDS_PER_SECOND
            )

    def observation(self, now_ns: int, since_ns: int, instruction: str) -> Observation | None:
        """Stamped as its joint reading; that and the pictures must have been made after `since_ns`."""
        if self.stale(now_ns):
            return None
        with self._lock:
            reading, images = self._reading, {name: one for name, one in self._images.items() if one is not None}
            if reading is None or reading.names != self._names:
                return None
            if min([reading.stamp_ns, *(image.stamp_ns for image in images.values())]) <= since_ns:
                return None
            return Observation(
                stamp_ns=reading.stamp_ns,
                joint_names=reading.names,
                q_rad=reading.q_rad,
                images={name: image.rgb for name, image in images.items()},
                image_stamps_ns={name: image.stamp_ns for name, image in images.items()},
                dq_rad_s=reading.dq_rad_s,
                gripper_open=self._gripper_open,
                instruction=instruction,
            )
