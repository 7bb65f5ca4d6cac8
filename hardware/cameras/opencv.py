"""A V4L2 camera, or a video file that stands in for one, through OpenCV.

A device's pictures are stamped with the kernel's time of their arrival from the sensor, or with their delivery less
the measured `latency_s` where that is given. A file's pictures come at the camera's rate, whatever the file's own.
The V4L2 half was not run on a device here; the file's half is what the tests run.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware.cameras.grabbing import GrabbedCamera
from hardware.cell import CellConfig
from hardware.cell_devices import OpenCvCamera
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, DeviceLost

MANUAL_EXPOSURE = 1
"""V4L2's `auto_exposure`: 1 manual, 3 aperture priority."""

OLDEST_STAMP_NS = NANOSECONDS_PER_SECOND
"""A kernel stamp that is older on arrival is not of the monotonic clock."""


class V4l2Source:
    """Waits for each picture; the driver's own queue is kept empty by the thread that grabs."""

    def __init__(self, config: OpenCvCamera, device: int | str) -> None:
        self._config = config
        self._last_ns = 0
        self._what = f"/dev/video{device}" if isinstance(device, int) else device
        self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise DeviceLost(
                f"no camera opens at {self._what}",
                "v4l2-ctl --list-devices shows them; reading one needs the group 'video'",
            )
        try:
            self._configure()
        except BaseException:
            self._capture.release()
            raise

    def grab(self) -> CameraImage:
        seen, bgr = self._capture.read()
        now_ns = time.monotonic_ns()
        if not seen or bgr is None:
            raise DeviceLost(f"the camera at {self._what} gives no more pictures", "is its cable loose?")
        self._last_ns = max(self._stamp(now_ns), self._last_ns + 1)
        return CameraImage(self._last_ns, _rgb(bgr, self._config, self._what))

    def release(self) -> None:
        self._capture.release()

    def _stamp(self, now_ns: int) -> int:
        if self._config.latency_s > 0:
            return now_ns - round(self._config.latency_s * NANOSECONDS_PER_SECOND)
        kernel_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return kernel_ns if 0 <= now_ns - kernel_ns < OLDEST_STAMP_NS else now_ns

    def _configure(self) -> None:
        config, capture = self._config, self._capture
        if config.fourcc is not None:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height_px)
        capture.set(cv2.CAP_PROP_FPS, config.rate_hz)
        if config.exposure_100us is not None:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE)
            capture.set(cv2.CAP_PROP_EXPOSURE, config.exposure_100us)
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        if (width, height) != (config.width_px, config.height_px) or abs(rate_hz - config.rate_hz) > 1:
            raise BadInput(
                f"the camera at {self._what} gives {width:.0f}×{height:.0f} at {rate_hz:.0f} Hz, not "
                f"{config.width_px}×{config.height_px} at {config.rate_hz:.0f} Hz",
                f"v4l2-ctl -d {self._what} --list-formats-ext shows what it can",
            )


class FileSource:
    """Gives each picture when it is due; one that would come late is not skipped, the clock waits for it."""

    def __init__(self, config: OpenCvCamera, file: Path) -> None:
        self._config, self._file = config, file
        self._period_ns = round(NANOSECONDS_PER_SECOND / config.rate_hz)
        self._capture = self._open()
        self._first = self._decoded()
        if self._first is None:
            self._capture.release()
            raise BadInput(f"{file} has no picture")
        self._due_ns = time.monotonic_ns()

    def grab(self) -> CameraImage:
        rgb, self._first = self._first, None
        if rgb is None:
            rgb = self._next()
        time.sleep(max(self._due_ns - time.monotonic_ns(), 0) / NANOSECONDS_PER_SECOND)
        stamp_ns = max(self._due_ns, time.monotonic_ns() - self._period_ns)
        self._due_ns = stamp_ns + self._period_ns
        return CameraImage(stamp_ns, rgb)

    def release(self) -> None:
        self._capture.release()

    def _next(self) -> UInt8[ndarray, "H W 3"]:
        rgb = self._decoded()
        if rgb is None and self._config.loop:
            self._capture.release()
            self._capture = self._open()
            rgb = self._decoded()
        if rgb is None:
            raise DeviceLost(f"the video {self._file} has ended", "loop: true plays it again and again")
        return rgb

    def _decoded(self) -> UInt8[ndarray, "H W 3"] | None:
        seen, bgr = self._capture.read()
        return _rgb(bgr, self._config, str(self._file)) if seen and bgr is not None else None

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._file))
        if not capture.isOpened():
            raise BadInput(f"{self._file} is not a video that OpenCV reads", "ffmpeg -i FILE video.mp4")
        return capture


def connect(cell: CellConfig, name: str) -> GrabbedCamera:
    """Raises `DeviceLost` when nothing opens, and `BadInput` when it gives other pictures than the cell file says."""
    config = cell.cameras[name]
    if not isinstance(config, OpenCvCamera):
        raise BadInput(f"camera '{name}' of cell '{cell.name}' is of kind '{config.kind}', not 'opencv'")
    source = config.source
    if isinstance(source, str) and source.isdigit():
        source = int(source)
    if isinstance(source, int) or source.startswith("/dev/"):
        return GrabbedCamera(name, config.rate_hz, V4l2Source(config, source), config.intrinsics)
    if not Path(source).is_file():
        raise BadInput(f"no video {source}", "a camera is a number or a path under /dev")
    return GrabbedCamera(name, config.rate_hz, FileSource(config, Path(source)), config.intrinsics)


def _rgb(bgr: ndarray, config: OpenCvCamera, what: str) -> UInt8[ndarray, "H W 3"]:
    """Raises `BadInput` on a size that the cell file does not name: its intrinsics would not hold."""
    if bgr.shape != (config.height_px, config.width_px, 3):
        height, width = bgr.shape[:2]
        raise BadInput(
            f"{what} gives pictures of {width}×{height}, not {config.width_px}×{config.height_px}",
            "put width_px and height_px in the cell file as the camera gives them",
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
