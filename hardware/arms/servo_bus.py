"""The Feetech servos of an SO-101 on LeRobot's bus: goals in, one block of measurements per cycle out.

LeRobot reads one register at a time and drops the servos' error byte; here one sync read brings position, velocity,
temperature and status of all servos from one moment, and whatever is wrong comes out as a `DeviceLost` in words.
One thread uses it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scservo_sdk as scs
from lerobot.motors import MotorCalibration
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

from hardware.cell_devices import So101Arm
from hardware.errors import BadInput
from hardware.ports import DeviceLost

GRIPPER = "gripper"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
SERVOS = (*JOINTS, GRIPPER)

ATTEMPTS = 3
"""A packet is corrupted now and then when several servos move; three in a row are a fault."""

REPLY_TIMEOUT_S = 0.025
"""All six answer within 2 ms on the wire; a USB serial adapter may hold them back for 16 ms."""

SETUP_TIMEOUT_S = 0.1
"""Of each question while the arm is opened, where nothing is in a hurry."""

BLOCK, BLOCK_BYTES = 56, 10
"""Registers 56 … 65: position, velocity, load (two bytes each), voltage, temperature, one unused, status."""

OVERLOAD = 32
FAULTS = {
    1: "its supply voltage is out of range",
    2: "its position sensor is broken",
    4: "it is too hot",
    8: "its current is too high",
    OVERLOAD: "it is overloaded",
}
"""Bits of the status byte, as in Feetech's protocol handbook and scservo_sdk."""

SETTINGS = {
    "Operating_Mode": 0,
    "P_Coefficient": 16,
    "I_Coefficient": 0,
    "D_Coefficient": 32,
    "Return_Delay_Time": 0,
    "Maximum_Acceleration": 254,
    "Acceleration": 254,
}
"""As LeRobot's SO follower sets them: position control, gains that do not shake, answers without delay."""

GRIPPER_SETTINGS = {"Protection_Current": 250, "Overload_Torque": 25}
"""As LeRobot's: a jaw that holds something falls back to a quarter of its torque and does not burn."""

CALIBRATED = {
    "homing_offset": "Homing_Offset",
    "range_min": "Min_Position_Limit",
    "range_max": "Max_Position_Limit",
}
"""Field of LeRobot's calibration file → the register that holds the same."""

ANGLE_FEEDBACK_BIT = 0x10
"""Of 'Phase' (STS3215): when set, positions may leave 0 … 4095, which nothing here expects."""


@dataclass(frozen=True)
class ServoState:
    """One servo at one moment, in its own units."""

    ticks: int
    """4096 to a turn."""
    ticks_per_s: int
    load_permille: int
    volts: float
    celsius: int
    status: int
    """Zero, or the bits of `FAULTS`."""


class ServoBus:
    """Six servos that answer, are calibrated, and hold their pose with torque on."""

    def __init__(self, config: So101Arm) -> None:
        """Raises `DeviceLost` when a servo does not answer and `BadInput` when the calibration does not fit."""
        self._port_name = config.port
        self._follower = SO101Follower(
            SO101FollowerConfig(
                port=config.port,
                id=config.id,
                calibration_dir=config.calibration_folder,
                disable_torque_on_disconnect=False,
            )
        )
        self._bus = self._follower.bus
        self._ids = {name: motor.id for name, motor in self._bus.motors.items()}
        self._open_port()
        try:
            self._find_servos()
            self.calibration = self._checked_calibration(self._follower.calibration_fpath)
            self._configure(config)
        except (OSError, RuntimeError) as error:  # LeRobot's ConnectionError and its error bytes
            self.close()
            raise DeviceLost(f"the servos on {config.port} cannot be set up: {error}") from error
        except BaseException:
            self.close()
            raise

    def read(self) -> dict[str, ServoState]:
        """All servos' states. Raises `DeviceLost` that says which servos failed, and how."""
        packets: dict[int, list[int]] = {}
        corrupt = 0
        try:
            for _ in range(ATTEMPTS):
                packets, broken = self._sync_read()
                corrupt += broken
                if packets.keys() >= set(self._ids.values()):
                    return {name: _state(packets[number]) for name, number in self._ids.items()}
        except OSError as error:
            raise DeviceLost(f"the USB adapter at {self._port_name} is gone: {error}") from error
        raise DeviceLost(*self._diagnosis(packets, corrupt))

    def write_goals(self, ticks: Mapping[str, int]) -> None:
        """One packet to all servos named; there is no answer to it. Raises `DeviceLost`."""
        try:
            self._bus.sync_write("Goal_Position", dict(ticks), normalize=False)
        except OSError as error:
            raise DeviceLost(f"the USB adapter at {self._port_name} is gone: {error}") from error

    def close(self) -> None:
        """Frees the port; torque stays as it is."""
        with contextlib.suppress(Exception):
            self._bus.port_handler.closePort()

    def _open_port(self) -> None:
        try:
            self._bus.connect(handshake=False)
        except OSError as error:
            cause = error.__cause__ or error
            raise DeviceLost(
                f"cannot open {self._port_name}: {cause}",
                "ls /dev/serial/by-id shows the adapters; reading one needs the group 'dialout'",
            ) from error
        port: Any = self._bus.port_handler
        port.ser.timeout = 0.001  # without it scservo_sdk waits for bytes by spinning
        port.setPacketTimeout = lambda length: port.setPacketTimeoutMillis(SETUP_TIMEOUT_S * 1e3)

    def _find_servos(self) -> None:
        """Every servo answers under its own id and is of the right model."""
        models = {name: self._model(name) for name in SERVOS}
        missing = [name for name, model in models.items() if model is None]
        if len(missing) == len(SERVOS):
            raise DeviceLost(f"no servo answers on {self._port_name}", "check the arm's power and the servo cable")
        if missing:
            found = self._bus.broadcast_ping() or {}
            strangers = sorted(set(found) - set(self._ids.values()))
            hint = f"id {', '.join(map(str, strangers))} answers and belongs to no joint; " if strangers else ""
            raise DeviceLost(
                f"no servo answers as {self._named(missing)}", f"{hint}lerobot-setup-motors gives each servo its id"
            )
        wanted = self._bus.model_number_table["sts3215"]
        wrong = [name for name, model in models.items() if model != wanted]
        if wrong:
            raise DeviceLost(f"{self._named(wrong)}: not an STS3215 (model {models[wrong[0]]}, not {wanted})")

    def _checked_calibration(self, file: Path) -> dict[str, MotorCalibration]:
        command = (
            f"lerobot-calibrate --robot.type=so101_follower --robot.port={self._port_name} --robot.id={file.stem}"
        )
        stored = self._follower.calibration
        if set(stored) != set(SERVOS):
            raise BadInput(f"no calibration of this arm at {file}", command)
        for name in SERVOS:
            for field, register in CALIBRATED.items():
                has, says = self._register(register, name), getattr(stored[name], field)
                if has != says:
                    raise BadInput(
                        f"servo '{name}' has {field} {has}; {file} says {says}",
                        f"another arm's file, or a changed servo: {command}",
                    )
            if stored[name].range_min >= stored[name].range_max:
                raise BadInput(f"the range of '{name}' in {file} is empty", command)
        return dict(stored)

    def _configure(self, config: So101Arm) -> None:
        """Settings, then torque on where each servo is. An arm that has them already is never without torque."""
        for name in SERVOS:
            wanted = dict(SETTINGS)
            if name == GRIPPER:
                wanted |= GRIPPER_SETTINGS | {"Max_Torque_Limit": round(1000 * config.gripper_torque_limit)}
            wanted["Phase"] = self._register("Phase", name) & ~ANGLE_FEEDBACK_BIT
            if any(self._register(key, name) != value for key, value in wanted.items()):
                self._forget_late_answers()
                self._bus.disable_torque(name, num_retry=ATTEMPTS)
                for key, value in wanted.items():
                    self._bus.write(key, name, value, normalize=False, num_retry=ATTEMPTS)
        self.write_goals({name: state.ticks for name, state in self.read().items()})
        self._bus.enable_torque(num_retry=ATTEMPTS)

    def _model(self, name: str) -> int | None:
        """None: no servo answers under this one's id."""
        with contextlib.suppress(ConnectionError):
            return self._register("Model_Number", name)
        return None

    def _register(self, register: str, name: str) -> int:
        """Raises `ConnectionError` when there is no answer."""
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(ConnectionError, IndexError):  # scservo_sdk indexes into short answers
                self._forget_late_answers()
                return int(self._bus.read(register, name, normalize=False))
        self._forget_late_answers()
        return int(self._bus.read(register, name, normalize=False))

    def _forget_late_answers(self) -> None:
        """scservo_sdk never does, and would take an answer that comes after its timeout for the next question's."""
        self._bus.port_handler.ser.reset_input_buffer()

    def _sync_read(self) -> tuple[dict[int, list[int]], int]:
        """Status packets by id, and how many were corrupt. Waits for the last servo or `REPLY_TIMEOUT_S`."""
        port = self._bus.port_handler
        handler: Any = self._bus.packet_handler  # LeRobot's protocol for it does not say what it returns
        ids = list(self._ids.values())
        packets: dict[int, list[int]] = {}
        corrupt = 0
        port.is_using = False
        self._forget_late_answers()
        if handler.syncReadTx(port, BLOCK, BLOCK_BYTES, ids, len(ids)) != scs.COMM_SUCCESS:
            return packets, corrupt
        port.setPacketTimeoutMillis(REPLY_TIMEOUT_S * 1e3)
        for _ in range(4 * len(ids)):  # also where noise never ends
            if len(packets) == len(ids):
                break
            packet, result = handler.rxPacket(port)  # [0xFF, 0xFF, id, length, error, data …, checksum]
            if result == scs.COMM_RX_TIMEOUT:
                break
            if result == scs.COMM_SUCCESS and packet is not None and len(packet) == BLOCK_BYTES + 6:
                packets[packet[scs.PKT_ID]] = packet
            else:
                corrupt += 1
        return packets, corrupt

    def _diagnosis(self, packets: Mapping[int, object], corrupt: int) -> tuple[str, str]:
        """Problem and fix of the last attempt."""
        missing = [name for name, number in self._ids.items() if number not in packets]
        strangers = sorted(set(packets) - set(self._ids.values()))
        if strangers:
            return (
                f"an answer came from id {strangers[0]}, which is no joint of this arm, and none from "
                f"{self._named(missing)}",
                "another device is on the bus, or a servo has changed its id: lerobot-setup-motors",
            )
        if corrupt:
            return (
                f"{corrupt} packets with a wrong checksum or length; last missing: {self._named(missing)}",
                "a loose plug, two servos with one id, or a motor cable beside the servo cable",
            )
        if len(missing) == len(SERVOS):
            return f"no servo answers on {self._port_name} any more", "check the arm's power and the servo cable"
        return f"no answer from {self._named(missing)}; the others answer", "check the plugs on both sides of it"

    def _named(self, names: Iterable[str]) -> str:
        return ", ".join(f"'{name}' (id {self._ids[name]})" for name in names)


def _state(packet: list[int]) -> ServoState:
    block = packet[scs.PKT_PARAMETER0 :]
    return ServoState(
        ticks=_signed(block[0] | block[1] << 8, 15),
        ticks_per_s=_signed(block[2] | block[3] << 8, 15),
        load_permille=_signed(block[4] | block[5] << 8, 10),
        volts=block[6] / 10,
        celsius=block[7],
        status=block[9] | packet[scs.PKT_ERROR],
    )


def _signed(word: int, sign_bit: int) -> int:
    """Feetech writes magnitude and sign."""
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word >> sign_bit & 1 else magnitude
