"""A 3Dconnexion SpaceMouse's HID reports → deflections of the tool's axes and buttons.

Report 1 carries the translation, report 2 the rotation (int16 each, ±350 at full deflection), report 3 the buttons;
newer devices send all six in report 1. Signs as in pyspacemouse's table of devices; not tried on a device here.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from hardware.errors import BadInput
from hardware.ports import DeviceLost
from hardware.teleop_config import SpaceMouseConfig

VENDORS = {0x256F, 0x046D}
MULTI_AXIS = (1, 8)
"""HID usage page and usage: generic desktop, multi-axis controller."""
FULL = 350.0
REPORT_BYTES, TIMEOUT_MS = 16, 100
TRANSLATION, ROTATION, BUTTONS = 1, 2, 3
LEFT, RIGHT = 1, 2


@dataclass(frozen=True)
class Deflected:
    """−1 … 1 each, along and about the axes of the arm's base for a person who stands behind the arm."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    buttons: int = 0


@runtime_checkable
class HidDevice(Protocol):
    """What `hid.device` is used for."""

    def read(self, size: int, timeout_ms: int = 0) -> list[int]: ...

    def close(self) -> None: ...


def decoded(before: Deflected, report: bytes) -> Deflected:
    """What is held after a report; one of another kind, or too short, changes nothing."""
    if not report:
        return before
    kind, body = report[0], report[1:]
    moved = before.__dict__.copy()
    if kind == TRANSLATION and len(body) >= 6:
        moved |= _translation(body)
        if len(body) >= 12:
            moved |= _rotation(body[6:])
    elif kind == ROTATION and len(body) >= 6:
        moved |= _rotation(body)
    elif kind == BUTTONS and body:
        moved["buttons"] = body[0]
    return Deflected(**moved)


def _translation(body: bytes) -> dict[str, float]:
    """The device's x is to the right, y towards the person, z down."""
    right, back, down = struct.unpack_from("<3h", body)
    return {"x": _share(-back), "y": _share(-right), "z": _share(-down)}


def _rotation(body: bytes) -> dict[str, float]:
    about_right, about_back, about_down = struct.unpack_from("<3h", body)
    return {"roll": _share(-about_back), "pitch": _share(-about_right), "yaw": _share(-about_down)}


def _share(count: int) -> float:
    return min(max(count / FULL, -1.0), 1.0)


class SpaceMouse:
    """Reads in a thread of its own."""

    def __init__(self, device: HidDevice) -> None:
        self._device = device
        self._newest = Deflected()
        self._fault: DeviceLost | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spacemouse", daemon=True)
        self._thread.start()

    def newest(self) -> Deflected:
        """Raises `DeviceLost`."""
        if self._fault is not None:
            raise self._fault
        return self._newest

    def close(self) -> None:
        self._closing.set()
        self._thread.join(1.0)
        self._device.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                report = self._device.read(REPORT_BYTES, TIMEOUT_MS)
                if report:
                    self._newest = decoded(self._newest, bytes(report))
        except (OSError, ValueError) as error:
            self._fault = DeviceLost(f"the SpaceMouse is gone: {error}", "plug it in")


def find(config: SpaceMouseConfig) -> SpaceMouse:
    """Raises `BadInput` where there is none, or hidapi is missing, or it may not be opened."""
    try:
        import hid
    except ImportError as error:
        raise BadInput(
            "a SpaceMouse is read through hidapi, which is not installed", "pip install hidapi"
        ) from error
    found = [
        one["path"]
        for one in hid.enumerate()
        if one["vendor_id"] in VENDORS and (one["usage_page"], one["usage"]) == MULTI_AXIS
    ]
    path = config.path.encode() if config.path is not None else next(iter(found), None)
    if path is None:
        raise BadInput("no SpaceMouse is plugged in", "lsusb shows it as 3Dconnexion")
    device = hid.device()
    try:
        device.open_path(path)
    except OSError as error:
        raise BadInput(
            f"the SpaceMouse at {path.decode()} cannot be opened: {error}",
            'a udev rule: KERNEL=="hidraw*", ATTRS{idVendor}=="256f", MODE="0660", TAG+="uaccess"',
        ) from error
    return SpaceMouse(device)
