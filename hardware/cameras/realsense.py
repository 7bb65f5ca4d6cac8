"""The colour camera of a RealSense, through `pyrealsense2` (the extra `realsense`). Not run on a device here."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from hardware.camera_model import CameraModel
from hardware.cameras.grabbing import GrabbedCamera
from hardware.cell import CellConfig
from hardware.cell_devices import RealsenseCamera
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, DeviceLost

WAIT_MS = 1000
"""For one picture, before the camera counts as lost."""


class RealsenseSource:
    """Stamps are librealsense's, which knows the sensor's clock against the system's (`global_time`)."""

    def __init__(self, config: RealsenseCamera, sdk: Any) -> None:
        self._config, self._sdk = config, sdk
        self._last_ns = 0
        self._pipeline = sdk.pipeline()
        wanted = sdk.config()
        wanted.enable_device(config.serial)
        wanted.enable_stream(
            sdk.stream.color, config.width_px, config.height_px, sdk.format.rgb8, round(config.rate_hz)
        )
        try:
            self._profile = self._pipeline.start(wanted)
        except RuntimeError as error:
            found = [device.get_info(sdk.camera_info.serial_number) for device in sdk.context().query_devices()]
            raise DeviceLost(
                f"RealSense {config.serial} does not start at {config.width_px}×{config.height_px}, "
                f"{config.rate_hz:.0f} Hz: {error}",
                f"plugged in: {', '.join(found) or 'none'}; rs-enumerate-devices shows their formats",
            ) from error

    def grab(self) -> CameraImage:
        try:
            colour = self._pipeline.wait_for_frames(WAIT_MS).get_color_frame()
        except RuntimeError as error:
            raise DeviceLost(f"RealSense {self._config.serial} gives no more pictures: {error}") from error
        self._last_ns = max(self._stamp(colour), self._last_ns + 1)
        return CameraImage(self._last_ns, np.array(colour.get_data(), dtype=np.uint8))

    def release(self) -> None:
        self._pipeline.stop()

    def model(self) -> CameraModel | None:
        """The device's own intrinsics; None when its distortion is not of OpenCV's kind: calibrate it then.

        librealsense counts pixels from the first one's centre, as OpenCV does.
        """
        stream = self._profile.get_stream(self._sdk.stream.color).as_video_stream_profile()
        own = stream.get_intrinsics()
        k1, k2, p1, p2, k3 = own.coeffs
        if any(own.coeffs) and own.model != self._sdk.distortion.brown_conrady:
            return None
        return CameraModel(
            width_px=own.width,
            height_px=own.height,
            fx_px=own.fx,
            fy_px=own.fy,
            cx_px=own.ppx + 0.5,
            cy_px=own.ppy + 0.5,
            k1=k1,
            k2=k2,
            p1=p1,
            p2=p2,
            k3=k3,
        )

    def _stamp(self, colour: Any) -> int:
        """Its system time as this machine's monotonic time; its arrival where the device's clock is not known."""
        now_ns = time.monotonic_ns()
        if colour.get_frame_timestamp_domain() == self._sdk.timestamp_domain.hardware_clock:
            return now_ns
        age_ns = time.time_ns() - round(colour.get_timestamp() * 1e6)
        return now_ns - age_ns if 0 <= age_ns < NANOSECONDS_PER_SECOND else now_ns


def connect(cell: CellConfig, name: str) -> GrabbedCamera:
    """Raises `DeviceLost` when the device does not start, and `BadInput` without `pyrealsense2`."""
    config = cell.cameras[name]
    if not isinstance(config, RealsenseCamera):
        raise BadInput(f"camera '{name}' of cell '{cell.name}' is of kind '{config.kind}', not 'realsense'")
    try:
        import pyrealsense2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInput("a RealSense needs pyrealsense2", "make setup EXTRAS=realsense") from error
    source = RealsenseSource(config, pyrealsense2)
    return GrabbedCamera(name, config.rate_hz, source, config.intrinsics or source.model())
