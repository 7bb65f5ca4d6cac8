"""The plant's messages: whole again whatever pieces they arrive in, and bounded."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.bench import wire
from hardware.errors import BadInput

messages = st.lists(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=20)),
    ),
    min_size=1,
    max_size=5,
)


@given(messages, st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_messages_arrive_whole_from_any_pieces(sent: list[dict[str, object]], sizes: list[int]) -> None:
    data = b"".join(wire.pack(message) for message in sent)
    inbox, got, at, turn = wire.Inbox(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        got += inbox.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert got == sent


def test_a_message_that_is_announced_too_long_is_refused_before_it_arrives() -> None:
    with pytest.raises(wire.BadMessage, match="announced"):
        wire.Inbox().feed(struct.pack("!I", wire.MOST_BYTES + 1))


def test_a_message_that_would_be_too_long_is_not_sent() -> None:
    with pytest.raises(wire.BadMessage, match="more than"):
        wire.pack({"x": "y" * wire.MOST_BYTES})


@pytest.mark.parametrize("body", [b"\xc1", b"\x93\x01", b"\x01", b""])
def test_what_is_no_map_is_refused(body: bytes) -> None:
    with pytest.raises(wire.BadMessage):
        wire.Inbox().feed(struct.pack("!I", len(body)) + body)


def test_a_plain_name_lies_in_this_users_folder_and_a_path_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert str(wire.address_of("bench")) == "/run/user/7/tandem/bench.plant"
    assert str(wire.address_of("/tmp/x.sock")) == "/tmp/x.sock"
    with pytest.raises(BadInput, match="longer than"):
        wire.address_of("/tmp/" + "x" * 120)
