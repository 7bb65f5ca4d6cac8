"""Six Feetech STS3215 servos behind a pseudo-terminal: the protocol byte by byte, with faults that can be put in.

Instructions: ping, read, write, sync read, sync write; each answer with error byte and checksum. A servo moves towards
its goal at a fixed speed while its torque is on.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, field

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83
BROADCAST = 0xFE
INSTRUCTIONS = {PING, READ, WRITE, SYNC_READ, SYNC_WRITE}

MODEL, ID = 3, 5
LOW, HIGH = 9, 11
PHASE, OFFSET = 18, 31
TORQUE, GOAL = 40, 42
LOCK = 55
POSITION, VELOCITY, VOLTS, CELSIUS, STATUS = 56, 58, 62, 63, 65


@dataclass(eq=False)
class FakeServo:
    """One servo: its register table, and what is wrong with it."""

    number: int
    ticks: float = 2048.0
    ticks_per_s: float = 3000.0
    model: int = 777
    mute: bool = False
    """Hears, and does not answer."""
    dead: bool = False
    error: int = 0
    """Bits in every answer's error byte."""
    memory: bytearray = field(default_factory=lambda: bytearray(128))
    torque_jumps: list[int] = field(default_factory=list)
    """|goal − position| whenever torque came on: how far the servo would have snapped."""
    torque_off: int = 0
    """How often torque was taken away."""

    def __post_init__(self) -> None:
        self.set(MODEL, self.model, 2)
        self.set(ID, self.number, 1)
        self.set(LOW, 1024, 2)
        self.set(HIGH, 3072, 2)
        self.set(GOAL, 100, 2)  # a goal of some earlier day
        self.set(VOLTS, 121, 1)
        self.set(CELSIUS, 35, 1)
        self._last_s = time.monotonic()

    def get(self, address: int, length: int) -> int:
        return int.from_bytes(self.memory[address : address + length], "little")

    def set(self, address: int, value: int, length: int) -> None:
        self.memory[address : address + length] = value.to_bytes(length, "little")

    def advance(self) -> None:
        now_s = time.monotonic()
        dt_s, self._last_s = now_s - self._last_s, now_s
        moved = 0.0
        if self.get(TORQUE, 1):
            goal = min(max(self.get(GOAL, 2), self.get(LOW, 2)), self.get(HIGH, 2))
            moved = min(max(goal - self.ticks, -self.ticks_per_s * dt_s), self.ticks_per_s * dt_s)
        self.ticks += moved
        speed = round(abs(moved) / dt_s) if dt_s > 0 else 0
        self.set(POSITION, round(self.ticks), 2)
        self.set(VELOCITY, min(speed, 0x7FFF) | (0x8000 if moved < 0 else 0), 2)

    def write(self, address: int, data: bytes) -> None:
        self.advance()
        had_torque = self.get(TORQUE, 1)
        self.memory[address : address + len(data)] = data
        if self.get(TORQUE, 1) and not had_torque:
            self.torque_jumps.append(abs(self.get(GOAL, 2) - round(self.ticks)))
        if had_torque and not self.get(TORQUE, 1):
            self.torque_off += 1


class FakeFeetechBus:
    """A context manager; `port` is what a driver opens. `spoil` may change each answer's bytes on their way."""

    def __init__(self) -> None:
        self.servos = {number: FakeServo(number) for number in range(1, 7)}
        self.spoil: Callable[[bytes], bytes] = lambda packet: packet
        self.goals: list[tuple[float, dict[int, int]]] = []
        """(monotonic s, id → ticks) of each sync write of goals."""
        self.sync_reads = 0
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._wake, self._stop = os.pipe()
        self._plugged = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> FakeFeetechBus:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop, b"x")
        self._thread.join(5)
        self.unplug()
        os.close(self._wake)
        os.close(self._stop)

    def unplug(self) -> None:
        """The adapter vanishes: reads and writes of an opened port fail."""
        with self._lock:
            if self._plugged:
                self._plugged = False
                os.close(self._master)
                os.close(self._slave)

    def _run(self) -> None:
        waiting = b""
        while self._plugged:
            with contextlib.suppress(OSError, ValueError):
                ready, _, _ = select.select([self._master, self._wake], [], [], 0.5)
                if self._wake in ready:
                    return
                if not ready:
                    continue
                with self._lock:
                    if not self._plugged:
                        return
                    waiting += os.read(self._master, 4096)
                    waiting = self._work_through(waiting)

    def _work_through(self, waiting: bytes) -> bytes:
        """Answers every whole instruction; gives back the bytes of one that is not there yet."""
        while True:
            start = waiting.find(b"\xff\xff")
            if start < 0:
                return waiting[-1:]
            waiting = waiting[start:]
            if len(waiting) < 4 or len(waiting) < waiting[3] + 4:
                return waiting
            packet, waiting = waiting[: waiting[3] + 4], waiting[waiting[3] + 4 :]
            if packet[-1] == checksum(packet[2:-1]) and packet[4] in INSTRUCTIONS:
                self._answer(packet[2], packet[4], packet[5:-1])

    def _answer(self, number: int, instruction: int, data: bytes) -> None:
        if instruction == SYNC_READ:
            self.sync_reads += 1
            for each in data[2:]:
                self._status(each, data[0], data[1])
        elif instruction == SYNC_WRITE:
            self._sync_write(data[0], data[1], data[2:])
        elif number == BROADCAST:
            for each in list(self.servos):  # only a ping is answered
                self._status(each, 0, 0)
        elif number in self.servos and not self.servos[number].dead:
            if instruction == WRITE:
                self.servos[number].write(data[0], data[1:])
            address, length = (data[0], data[1]) if instruction == READ else (0, 0)
            self._status(number, address, length)

    def _sync_write(self, address: int, length: int, data: bytes) -> None:
        step = length + 1
        for at in range(0, len(data), step):
            servo = self.servos.get(data[at])
            if servo is not None and not servo.dead:
                servo.write(address, data[at + 1 : at + step])
        if address == GOAL:
            goals = {data[at]: data[at + 1] | data[at + 2] << 8 for at in range(0, len(data), step)}
            self.goals.append((time.monotonic(), goals))

    def _status(self, number: int, address: int, length: int) -> None:
        servo = self.servos.get(number)
        if servo is None or servo.mute or servo.dead:
            return
        servo.advance()
        body = bytes([servo.get(ID, 1), length + 2, servo.error]) + servo.memory[address : address + length]
        os.write(self._master, self.spoil(b"\xff\xff" + body + bytes([checksum(body)])))


def checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF
