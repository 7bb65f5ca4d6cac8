"""An SO-101 leader on USB, through LeRobot's teleoperator: how a person bends it, as joint angles of the follower.

Angles and opening are scaled as the follower's are (`hardware.arms.so101`). Its servos' torque is off, so that it can
be bent. Tested against servos faked at the serial packet; not run on an arm here.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from lerobot.motors import MotorCalibration
from lerobot.teleoperators.so_leader import SO101Leader, SO101LeaderConfig
from numpy import ndarray

from hardware.arms import servo_bus
from hardware.arms.servo_bus import CALIBRATED, GRIPPER, JOINTS, SERVOS
from hardware.arms.so101 import Scale
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import DeviceLost
from hardware.teleop_config import LeaderConfig

RETRIES = 4
PERIOD_S = 0.01
STALE_S = 0.1


@dataclass(frozen=True, eq=False)
class Bent:
    """How the leader is held now."""

    stamp_ns: int
    q_rad: Float[ndarray, " J"]
    gripper_open: float


class So101Leader:
    """Reads in a thread of its own. Raises `DeviceLost` and `BadInput` when made."""

    names: tuple[str, ...] = JOINTS

    def __init__(self, config: LeaderConfig) -> None:
        self._port = config.port
        folder = config.calibration_folder
        self._leader = SO101Leader(SO101LeaderConfig(port=config.port, id=config.id, calibration_dir=folder))
        self._bus = self._leader.bus
        self._scales = {name: Scale.of(one) for name, one in self._opened(config).items()}
        self._fault: DeviceLost | None = None
        self._newest = self._read()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="so101 leader", daemon=True)
        self._thread.start()

    @property
    def is_well(self) -> bool:
        """False once the bus has failed."""
        return self._fault is None

    def newest(self) -> Bent:
        """Raises `DeviceLost`."""
        if self._fault is not None:
            raise self._fault
        newest = self._newest
        age_s = (time.monotonic_ns() - newest.stamp_ns) / NANOSECONDS_PER_SECOND
        if age_s > STALE_S:
            raise DeviceLost(f"the leader on {self._port} has said nothing for {age_s:.2f} s")
        return newest

    def close(self) -> None:
        self._closing.set()
        self._thread.join(1.0)
        self._free()

    def _opened(self, config: LeaderConfig) -> dict[str, MotorCalibration]:
        try:
            self._bus.connect(handshake=False)
            port: Any = self._bus.port_handler
            port.ser.timeout = 0.001  # without it scservo_sdk waits for bytes by spinning
            port.setPacketTimeout = lambda length: port.setPacketTimeoutMillis(servo_bus.SETUP_TIMEOUT_S * 1e3)
        except OSError as error:
            raise DeviceLost(
                f"cannot open {config.port}: {error.__cause__ or error}", "ls /dev/serial/by-id shows the adapters"
            ) from error
        try:
            calibration = self._checked_calibration()
            self._bus.disable_torque(num_retry=RETRIES)
            return calibration
        except (OSError, RuntimeError) as error:
            self._free()
            raise DeviceLost(f"the leader on {config.port} cannot be set up: {error}") from error
        except BaseException:
            self._free()
            raise

    def _checked_calibration(self) -> dict[str, MotorCalibration]:
        file = self._leader.calibration_fpath
        stored = self._leader.calibration
        command = f"lerobot-calibrate --teleop.type=so101_leader --teleop.port={self._port} --teleop.id={file.stem}"
        if set(stored) != set(SERVOS):
            raise BadInput(f"no calibration of this leader at {file}", command)
        for name in SERVOS:
            for field, register in CALIBRATED.items():
                has, says = self._register(register, name), getattr(stored[name], field)
                if has != says:
                    raise BadInput(f"servo '{name}' of the leader has {field} {has}; {file} says {says}", command)
        return dict(stored)

    def _register(self, register: str, name: str) -> int:
        return int(self._bus.read(register, name, normalize=False, num_retry=RETRIES))

    def _read(self) -> Bent:
        stamp_ns = time.monotonic_ns()
        ticks = self._bus.sync_read("Present_Position", normalize=False, num_retry=RETRIES)
        q_rad = np.array([self._scales[name].angle_rad(int(ticks[name])) for name in JOINTS])
        opening = min(max(self._scales[GRIPPER].opening(int(ticks[GRIPPER])), 0.0), 1.0)
        return Bent(stamp_ns, q_rad, opening)

    def _run(self) -> None:
        try:
            while not self._closing.wait(PERIOD_S):
                self._newest = self._read()
        except Exception as error:  # whoever follows must hear of it, whatever it is
            self._fault = DeviceLost(f"the leader on {self._port} does not answer: {error}", "check its plugs")

    def _free(self) -> None:
        with contextlib.suppress(Exception):
            self._bus.port_handler.closePort()
