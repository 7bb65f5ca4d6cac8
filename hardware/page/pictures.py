"""The cameras' newest pictures → JPEG for whoever watches; the newest alone counts, a slow link gets smaller ones."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

import cv2
import numpy as np

from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage

TIERS = ((80, 1.0), (60, 1.0), (55, 0.5), (50, 0.25))
"""JPEG quality and size, best first."""
HEADER = struct.Struct("<BBHId")
"""Camera's place in the cell, tier, nothing, picture's number, start of its exposure in ms since 1970."""
SLOW_S, QUICK_S = 0.15, 0.06
QUICK_IN_A_ROW = 20
MOST_IN_FLIGHT = 2
SMALLEST_PX = 320
"""A person cannot work from pictures that are less wide."""


class Pictures:
    """Any thread puts in; `changed` is called then. Encodes a picture once per tier, and only when somebody asks."""

    def __init__(self, cameras: tuple[str, ...], unix_offset_ns: int, changed: Callable[[], None]) -> None:
        self.cameras = cameras
        self._offset_ns, self._changed = unix_offset_ns, changed
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[int, CameraImage]] = {}
        self._encoded: dict[tuple[str, int], tuple[int, bytes]] = {}

    def put(self, camera: str, image: CameraImage) -> None:
        with self._lock:
            number = self._newest[camera][0] + 1 if camera in self._newest else 1
            self._newest[camera] = number, image
        self._changed()

    def number(self, camera: str) -> int:
        """Of the newest picture; 0 before the first."""
        newest = self._newest.get(camera)
        return 0 if newest is None else newest[0]

    def image(self, camera: str) -> CameraImage | None:
        newest = self._newest.get(camera)
        return None if newest is None else newest[1]

    def message(self, camera: str, tier: int) -> tuple[int, bytes] | None:
        """(number, header and JPEG) of the newest picture."""
        with self._lock:
            newest = self._newest.get(camera)
            if newest is None:
                return None
            number, image = newest
            encoded = self._encoded.get((camera, tier))
            if encoded is None or encoded[0] != number:
                encoded = number, self._encode(camera, tier, number, image)
                self._encoded[camera, tier] = encoded
            return encoded

    def _encode(self, camera: str, tier: int, number: int, image: CameraImage) -> bytes:
        quality, scale = TIERS[tier]
        bgr = np.ascontiguousarray(image.rgb[..., ::-1])
        scale = min(1.0, max(scale, SMALLEST_PX / bgr.shape[1]))
        if scale != 1.0:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        unix_ms = (image.stamp_ns + self._offset_ns) / 1e6
        place = self.cameras.index(camera)
        return HEADER.pack(place, tier, 0, number & 0xFFFFFFFF, unix_ms) + jpeg.tobytes()


class Flow:
    """One camera's pictures to one page: no more than two on their way; the page says which have come."""

    def __init__(self) -> None:
        self.tier = 0
        self.sent = 0
        """Number of the newest picture sent."""
        self._on_the_way: dict[int, int] = {}
        self._quick = 0

    def may_send(self, newest: int) -> bool:
        return newest > self.sent and len(self._on_the_way) < MOST_IN_FLIGHT

    def left(self, number: int, now_ns: int) -> None:
        self.sent = number
        self._on_the_way[number] = now_ns

    def came(self, number: int, now_ns: int) -> None:
        """Adapts: slow pictures become smaller, and larger again after twenty quick ones."""
        left_ns = self._on_the_way.pop(number, None)
        if left_ns is None:
            return
        took_s = (now_ns - left_ns) / NANOSECONDS_PER_SECOND
        if took_s > SLOW_S:
            self.tier, self._quick = min(self.tier + 1, len(TIERS) - 1), 0
        elif took_s < QUICK_S:
            self._quick += 1
            if self._quick >= QUICK_IN_A_ROW:
                self.tier, self._quick = max(self.tier - 1, 0), 0
