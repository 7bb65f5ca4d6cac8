"""A camera that must be waited for → a `Camera` that never waits: a thread grabs, the newest picture is handed out."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol, runtime_checkable

from hardware.camera_model import CameraModel
from hardware.errors import TandemError
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, DeviceLost

LOST_S = 1.0
"""Without a picture for this long (or ten periods of a slow camera) it is lost; a driver may itself wait longer."""


@runtime_checkable
class PictureSource(Protocol):
    """A device or file; one thread uses it."""

    def grab(self) -> CameraImage:
        """Waits for the next picture. Raises `DeviceLost`."""
        ...

    def release(self) -> None: ...


class GrabbedCamera:
    """A `Camera`. The source is released by its own thread, which may outlive `close` while a driver hangs."""

    def __init__(self, name: str, rate_hz: float, source: PictureSource, model: CameraModel | None = None) -> None:
        self._name, self._rate_hz = name, rate_hz
        self.model = model
        """None: not known without a calibration."""
        self._source = source
        self._lock = threading.Lock()
        self._newest: CameraImage | None = None
        self._fault: DeviceLost | None = None
        self._closing = threading.Event()
        self._seen_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._name

    @property
    def rate_hz(self) -> float:
        return self._rate_hz

    def read(self) -> CameraImage | None:
        with self._lock:
            image, self._newest = self._newest, None
            fault, seen_ns = self._fault, self._seen_ns
        if image is not None:
            return image
        if fault is not None:
            raise DeviceLost(fault.problem, fault.fix)
        silent_s = (time.monotonic_ns() - seen_ns) / NANOSECONDS_PER_SECOND
        if silent_s > max(LOST_S, 10 / self._rate_hz):
            raise DeviceLost(
                f"no picture from '{self._name}' for {silent_s:.1f} s", "unplug it and plug it in again"
            )
        return None

    def close(self) -> None:
        self._closing.set()
        self._thread.join(LOST_S)
        with self._lock:
            self._newest, self._fault = None, DeviceLost(f"camera '{self._name}' is closed")

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                image = self._source.grab()
                with self._lock:
                    self._newest, self._seen_ns = image, time.monotonic_ns()
        except TandemError as error:
            self._fail(DeviceLost(error.problem, error.fix))
        except Exception as error:  # the node must hear of it, whatever it is
            self._fail(DeviceLost(f"camera '{self._name}' failed: {error!r}"))
        finally:
            with contextlib.suppress(Exception):
                self._source.release()

    def _fail(self, lost: DeviceLost) -> None:
        with self._lock:
            self._fault = lost
