"""A servo's ticks ↔ angles and openings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.arms import so101
from hardware.arms.servo_bus import _signed
from hardware.arms.so101 import Scale

SCALES = st.builds(
    lambda low, width, sign: Scale(low, low + width, sign),
    st.integers(0, 3000),
    st.integers(1, 1095),
    st.sampled_from([1, -1]),
)


@given(SCALES, st.floats(0, 1))
def test_ticks_to_angle_and_back_is_the_identity(scale, share):
    ticks = round(scale.low + share * (scale.high - scale.low))
    assert scale.ticks_at(scale.angle_rad(ticks)) == ticks
    assert scale.ticks_open(scale.opening(ticks)) == ticks
    assert 0 <= scale.opening(ticks) <= 1


@given(SCALES, st.floats(-1e6, 1e6))
def test_no_angle_leaves_the_calibrated_range(scale, angle_rad):
    assert scale.low <= scale.ticks_at(angle_rad) <= scale.high
    assert scale.low <= scale.ticks_open(angle_rad) <= scale.high


def test_feetechs_signed_words():
    # Sign and magnitude: bit 15 of a position, bit 10 of a load.
    assert [_signed(word, 15) for word in (0, 5, 0x8005, 0x7FFF)] == [0, 5, -5, 32767]
    assert [_signed(word, 10) for word in (0x0064, 0x0464)] == [100, -100]
    assert pytest.approx(2 * math.pi) == so101.RAD_PER_TICK * 4096
