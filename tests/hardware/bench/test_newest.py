"""Shared memory: a reader never sees half a payload, whatever the writer does meanwhile."""

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hardware.bench.newest import NewestBlock


@pytest.fixture
def block() -> Iterator[NewestBlock]:
    made = NewestBlock.create("test", 4096)
    yield made
    made.close()


def payload(value: int) -> np.ndarray:
    return np.full(4096, value % 251, np.uint8)


def test_before_the_first_there_is_nothing(block: NewestBlock) -> None:
    assert block.read() is None
    assert block.number == 0


def test_the_newest_is_read_with_its_stamp_and_number(block: NewestBlock) -> None:
    for value in range(1, 6):
        block.write(1000 + value, payload(value))
    found = block.read()
    assert found is not None
    assert found[:2] == (5, 1005)
    np.testing.assert_array_equal(found[2], payload(5))


def test_another_process_view_of_the_memory_sees_the_same(block: NewestBlock) -> None:
    other = NewestBlock(os.dup(block.descriptor), 4096)
    block.write(7, payload(7))
    found = other.read()
    other.close()
    assert found is not None
    np.testing.assert_array_equal(found[2], payload(7))


def test_no_read_mixes_two_payloads_while_a_writer_runs(block: NewestBlock) -> None:
    stop = threading.Event()

    def write() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            block.write(value, payload(value))

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    try:
        while len(seen) < 2000:
            found = block.read()
            if found is not None:
                number, stamp_ns, values = found
                assert stamp_ns == number
                assert (values == number % 251).all()
                seen.append(number)
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)


def test_a_slot_that_a_writer_died_in_is_not_read_and_is_used_again(block: NewestBlock) -> None:
    for value in (1, 2, 3):
        block.write(value, payload(value))
    block._heads[4 % 3][0] += 1  # the fourth write began and never ended
    block._slots[4 % 3][:100] = 9
    found = block.read()
    assert found is not None
    assert found[0] == 3
    block.write(4, payload(4))
    found = block.read()
    assert found is not None
    assert found[0] == 4
    np.testing.assert_array_equal(found[2], payload(4))
