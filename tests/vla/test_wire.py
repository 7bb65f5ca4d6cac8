"""Encode then decode is the identity; whatever bytes arrive, they are a message or a `WireError`, and cost little."""

import contextlib
import functools
import pickle
import re
import tracemalloc

import hypothesis.extra.numpy as arrays
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla import wire


def without_address(value: object) -> str:
    """A test's name: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


DTYPES = st.sampled_from(["?", "u1", "i2", "<i8", ">i4", "f2", "f4", "f8", ">f8", "U5", "S3"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def openpi_packb(message: object) -> bytes:
    """Another implementation of the same format, without any check: what an openpi client does."""

    def plain(value):
        if isinstance(value, np.ndarray):
            shape = value.shape
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": shape}
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}

    return msgpack.packb(message, default=plain)


def openpi_unpackb(data: bytes) -> object:
    def array(entry):
        if b"__ndarray__" in entry:
            return np.ndarray(buffer=entry[b"data"], dtype=np.dtype(entry[b"dtype"]), shape=entry[b"shape"])
        if b"__npgeneric__" in entry:
            return np.dtype(entry[b"dtype"]).type(entry[b"data"])
        return entry

    return functools.partial(msgpack.unpackb, object_hook=array)(data)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_message_comes_back_as_it_went_in(message):
    assert same(message, wire.unpack(wire.pack(message)))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_the_bytes_are_those_of_openpi_and_each_side_reads_the_other(message):
    assert wire.pack(message) == openpi_packb(message)
    assert same(message, wire.unpack(openpi_packb(message)))


def test_openpis_reader_takes_our_numpy_scalars_and_images():
    message = {
        "n": np.float32(0.1),
        "flag": np.bool_(True),
        "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    }
    theirs = openpi_unpackb(wire.pack(message))
    ours = wire.unpack(wire.pack(message))
    for read in (theirs, ours):
        assert read["n"] == np.float32(0.1)
        assert type(read["n"]) is np.float32
        assert read["flag"]
        np.testing.assert_array_equal(read["image"], message["image"])


def test_an_array_that_was_read_can_be_written_to():
    array = wire.unpack(wire.pack({"a": np.zeros(3)}))["a"]
    array[0] = 1.0
    assert array[0] == 1.0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(data):
    with contextlib.suppress(wire.WireError):
        assert isinstance(wire.unpack(data), dict)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_a_message_with_a_broken_byte_or_a_cut_end_is_a_message_or_a_wire_error(at, byte, length):
    good = wire.pack({"observation/state": np.arange(7.0), "prompt": "pick", "deep": {"n": [1, np.int16(3)]}})
    bad = bytearray(good)
    bad[at % len(bad)] = byte
    for data in (bytes(bad), good[: length % len(good)]):
        with contextlib.suppress(wire.WireError):
            assert isinstance(wire.unpack(data), dict)


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()], dtype=object),
        np.zeros(2, dtype="c16"),
        np.zeros(2, dtype="f4,i2"),
        np.datetime64("2026-01-01"),
        object(),
        {1, 2},
        1 << 70,
        1j,
    ],
    ids=without_address,
)
def test_what_has_no_place_in_a_message_is_not_sent(value):
    with pytest.raises(wire.WireError):
        wire.pack({"x": value})


def entry(dtype: object = "<f8", data: object = bytes(16), shape: object = (2,)) -> dict[bytes, object]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@pytest.mark.parametrize(
    "bad",
    [
        entry(dtype="|O", data=pickle.dumps([1, 2])),
        entry(dtype="O8"),
        entry(dtype="c16", shape=(1,)),
        entry(dtype="f4,f4", shape=(2,)),
        entry(dtype="V8"),
        entry(dtype="M8[s]"),
        entry(dtype="U500000000", shape=(0,), data=b""),
        entry(dtype="(2,)f4", shape=(2,)),
        entry(dtype="nonsense"),
        entry(dtype=7),
        entry(shape=(3,)),
        entry(shape=(-1, -2)),
        entry(shape=(1 << 40, 0), data=b"x"),
        entry(shape=(True, 2)),
        entry(shape=[1] * 40 + [2]),
        entry(shape="2"),
        entry(data="text"),
        entry(data=None),
        {b"__npgeneric__": True, b"data": [1, 2], b"dtype": "<f8"},
        {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"},
        {b"__npgeneric__": True, b"data": "x", b"dtype": "|O"},
        {b"bytes key": 1},
        {1: 2},
        {"ext": msgpack.ExtType(5, b"hi")},
        {"time": msgpack.Timestamp(1)},
    ],
    ids=without_address,
)
def test_an_array_that_is_not_what_it_says_is_refused(bad):
    with pytest.raises(wire.WireError):
        wire.unpack(msgpack.packb({"x": bad}))


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x80", msgpack.packb([1]), msgpack.packb("x"), b"\xc1", b"\xdf\xff\xff"]
)
def test_what_is_not_one_map_is_refused(data):
    with pytest.raises(wire.WireError):
        wire.unpack(data)


def test_a_key_that_repeats_is_refused():
    with pytest.raises(wire.WireError, match="twice"):
        wire.unpack(b"\x82\xa1a\x01\xa1a\x02")


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\xa1x" + b"\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20),
        b"\x81\xa1x" + b"\xdc\x40\x00" * 3 + b"\xdd\xff\xff\xff\xff" + b"\x90" * (1 << 20),
        b"\x81\xa1x" + b"\x91" * (1 << 20),
        b"\x81\xa1x" * (1 << 18),
        b"\x81\xa1x\xc6\xff\xff\xff\xff",
        b"\x81\xa1x" + b"\xdc\x3f\xff" + (b"\x80" * 0x3FFF) * 60,
    ],
    ids=["wide", "claimed wide", "deep lists", "deep maps", "claimed bytes", "trailing"],
)
def test_a_megabyte_of_brackets_costs_no_more_than_a_few(data):
    tracemalloc.start()
    try:
        with pytest.raises(wire.WireError):
            wire.unpack(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * wire.MEBIBYTE
