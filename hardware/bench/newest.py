"""The newest of something in shared memory: one process writes, any number read, nobody waits for anybody.

A block has three slots, each with a sequence number that is odd while the slot is written (a seqlock). A reader copies
the newest slot and looks whether its number stayed the same; a writer that dies in the middle spoils one slot only.
"""

from __future__ import annotations

import mmap
import os

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

SLOTS = 3
_HEAD = 3  # int64 per slot: sequence, stamp_ns, number; before them one int64: the newest number
_BODY_AT = 128  # bytes
_TRIES = 4


class NewestBlock:
    """Shared memory for payloads of one size. `create` in the writer, `open` with the writer's descriptor elsewhere."""

    def __init__(self, descriptor: int, payload_bytes: int) -> None:
        self.descriptor = descriptor
        self.payload_bytes = payload_bytes
        self._memory = mmap.mmap(descriptor, size_bytes(payload_bytes))
        table = np.frombuffer(self._memory, np.int64, 1 + SLOTS * _HEAD)
        self._newest, self._heads = table[:1], table[1:].reshape(SLOTS, _HEAD)
        body = np.frombuffer(self._memory, np.uint8, SLOTS * payload_bytes, offset=_BODY_AT)
        self._slots = body.reshape(SLOTS, payload_bytes)

    @classmethod
    def create(cls, name: str, payload_bytes: int) -> NewestBlock:
        """Memory without a file name: it goes when the last process that holds it ends."""
        descriptor = os.memfd_create(name)
        os.ftruncate(descriptor, size_bytes(payload_bytes))
        return cls(descriptor, payload_bytes)

    def write(self, stamp_ns: int, payload: UInt8[ndarray, " P"]) -> None:
        number = int(self._newest[0]) + 1
        slot = number % SLOTS
        head = self._heads[slot]
        head[0] += 1 + head[0] % 2  # odd, also after a writer that died while it wrote
        head[1], head[2] = stamp_ns, number
        self._slots[slot] = payload
        head[0] += 1
        self._newest[0] = number

    @property
    def number(self) -> int:
        """How many payloads were written so far."""
        return int(self._newest[0])

    def read(self) -> tuple[int, int, UInt8[ndarray, " P"]] | None:
        """(number, stamp_ns, payload) of the newest, as a copy; None before the first."""
        for _ in range(_TRIES):
            number = int(self._newest[0])
            if number == 0:
                return None
            slot = number % SLOTS
            before = self._heads[slot].copy()
            payload = self._slots[slot].copy()
            after = self._heads[slot]
            if before[0] % 2 == 0 and before[0] == after[0] and before[2] == after[2]:
                return int(before[2]), int(before[1]), payload
        return None

    def close(self) -> None:
        """Frees this process's descriptor and view."""
        os.close(self.descriptor)
        del self._newest, self._heads, self._slots
        self._memory.close()


def size_bytes(payload_bytes: int) -> int:
    return _BODY_AT + SLOTS * payload_bytes
