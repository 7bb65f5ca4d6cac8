"""What a driver must offer: `Arm`, `Gripper` and `Camera`, and the readings that come out of them.

Threads: `read`, `send` and `close` of one device are called from one thread at a time; `stop` may come from any
thread at any moment, also while `send` runs. `read` and `send` never wait for longer than `TIMEOUT_S`: a driver that
has to wait for its hardware does so in its own thread, and hands out the newest that it has.

Errors: `DeviceLost` when the device does not answer or reports a fault that needs a person; everything that a driver
cannot explain to a person is an ordinary exception. A driver that has raised `DeviceLost` has already stopped its
device as well as it could; it may be closed and opened again.

Stamps are `time.monotonic_ns()` of this machine at the moment of measurement (exposure start for a camera), not of
delivery. A device with its own clock converts before it hands out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.errors import TandemError

TIMEOUT_S = 0.02
"""Two periods of a 100 Hz loop: the longest that `read` and `send` may take."""


class DeviceLost(TandemError):
    """A device that was there does not answer any more, or has switched itself off."""

    exit_code = 4


@dataclass(frozen=True, eq=False)
class JointReading:
    """Joint angles at one moment, in the order of `names`; zero and sign as in the arm's model (URDF or MJCF)."""

    stamp_ns: int
    names: tuple[str, ...]
    q_rad: Float[ndarray, " J"]
    dq_rad_s: Float[ndarray, " J"] | None = None
    """None: the device does not measure velocity."""
    effort_nm: Float[ndarray, " J"] | None = None
    """None: the device does not measure torque."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"joint names repeat: {self.names}")
        for field in ("q_rad", "dq_rad_s", "effort_nm"):
            values = getattr(self, field)
            if values is None:
                continue
            if values.shape != (len(self.names),):
                raise ValueError(f"{field} has shape {values.shape}, but there are {len(self.names)} joint names")
            if not np.isfinite(values).all():
                raise ValueError(f"{field} has a value that is not finite: {values.tolist()}")


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One picture; `stamp_ns` is when its exposure began."""

    stamp_ns: int
    rgb: UInt8[ndarray, "H W 3"]


@runtime_checkable
class Arm(Protocol):
    """A position-controlled arm. Its base frame is the model's `base`, z up."""

    @property
    def names(self) -> tuple[str, ...]:
        """The joints, in the order of every array below; the gripper is not one of them."""
        ...

    def read(self) -> JointReading:
        """The newest reading, which may be the same as last time. Raises `DeviceLost`."""
        ...

    def send(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, " J"]:
        """Asks for these angles now and returns what was *really* sent, after the driver's own rounding and limits.

        Returns without waiting for the motion. Raises `DeviceLost`; `ValueError` on a wrong shape or a NaN, with
        nothing sent. The caller has passed the command through `hardware.limits` before.
        """
        ...

    def stop(self) -> None:
        """Holds the arm where it is, powered, as fast as the hardware can; safe to call twice. Does not raise."""
        ...

    def close(self) -> None:
        """Leaves the arm in a safe hold and frees the device. Safe to call twice."""
        ...


@runtime_checkable
class Gripper(Protocol):
    """One opening, 0 closed … 1 open, whatever the mechanism."""

    def read(self) -> tuple[int, float]:
        """(stamp_ns, opening). Raises `DeviceLost`."""
        ...

    def send(self, opening: float) -> float:
        """Asks for an opening and returns what was really sent (clipped to 0 … 1). Raises `DeviceLost`."""
        ...

    def stop(self) -> None:
        """Holds the opening and the grip force that it has. Does not raise."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Camera(Protocol):
    """A colour camera, optical frame (z forward, x right, y down)."""

    @property
    def name(self) -> str: ...

    @property
    def rate_hz(self) -> float:
        """The nominal frame rate."""
        ...

    def read(self) -> CameraImage | None:
        """The newest picture not yet read, or None. Never waits for one. Raises `DeviceLost`."""
        ...

    def close(self) -> None: ...
