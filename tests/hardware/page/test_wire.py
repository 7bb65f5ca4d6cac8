"""What is not a known message, whole and in range, is refused with the reason."""

import pytest

from hardware.page import wire


def test_a_heartbeat_comes_through() -> None:
    beat = wire.read('{"do":"beat","seq":1,"time_ms":5.5,"echo":3,"since_ms":2,"mode":"tool","axes":{"x":1}}')
    assert isinstance(beat, wire.Beat)
    assert beat.is_held
    assert not wire.Beat(seq=1, time_ms=0, echo=1, since_ms=0, axes={"x": 0.0}).is_held


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"do":"fly"}',
        '{"do":"beat"}',
        '{"do":"take_over","now":true}',
        '{"do":"beat","seq":1,"time_ms":0,"echo":1,"since_ms":0,"axes":{"x":2}}',
        '{"do":"beat","seq":1,"time_ms":0,"echo":1,"since_ms":NaN}',
        '{"do":"beat","seq":-1,"time_ms":0,"echo":1,"since_ms":0}',
        '{"do":"emergency_stop"}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        wire.read(text)
