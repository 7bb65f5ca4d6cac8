"""The way back: where the arm was, in reverse, at the pace it came, and no further than it came without a leap."""

import numpy as np
import pytest

from hardware.page.trail import Trail

MS = 1_000_000
SPEED_RAD_S = 0.5


def travelled(seconds: float = 2.0) -> tuple[Trail, int]:
    """One joint at half a radian per second, commanded a hundred times a second."""
    trail, now_ns = Trail(), 0
    for step in range(round(100 * seconds) + 1):
        now_ns = step * 10 * MS
        trail.add(now_ns, np.array([SPEED_RAD_S * step / 100, 0.0]), 0.5)
    return trail, now_ns


def gone_back(trail: Trail, now_ns: int, seconds: float, speed: float = 1.0) -> list[np.ndarray]:
    wishes = [trail.back(now_ns + step * 20 * MS, speed) for step in range(1, round(50 * seconds) + 1)]
    return [wish.q_rad for wish in wishes if wish is not None]


def test_it_goes_back_the_way_it_came_at_its_pace() -> None:
    trail, now_ns = travelled()
    way = np.array(gone_back(trail, now_ns, 1.5))[:, 0]
    speeds = -np.diff(way) / 0.02
    assert (speeds >= -1e-9).all()
    assert speeds.max() == pytest.approx(SPEED_RAD_S, rel=1e-6)
    assert speeds[0] < 0.2 * SPEED_RAD_S  # eased in, without a jump
    assert way[0] == pytest.approx(1.0, abs=0.01)
    # 1.5 s, of which the easing (0.25 s) cost half of itself
    assert way[-1] == pytest.approx(1.0 - SPEED_RAD_S * (1.5 - 0.125), abs=0.02)
    assert trail.seconds == pytest.approx(2.0 - (1.5 - 0.125), abs=0.03)


def test_it_ends_where_the_way_began() -> None:
    trail, now_ns = travelled(0.5)
    way = gone_back(trail, now_ns, 3.0)
    assert 20 < len(way) < 60
    assert way[-1][0] < 0.01
    assert trail.seconds == pytest.approx(0.0, abs=1e-6)


def test_letting_go_and_holding_again_goes_on_from_there() -> None:
    trail, now_ns = travelled()
    first = gone_back(trail, now_ns, 0.6)[-1]
    trail.rest()
    trail.add(now_ns + 700 * MS, first, 0.5)
    second = gone_back(trail, now_ns + 800 * MS, 0.6)
    assert second[0][0] == pytest.approx(first[0], abs=0.02)
    assert second[-1][0] < first[0] - 0.1


def test_the_arm_that_rolls_out_after_letting_go_does_not_end_the_way() -> None:
    """It was going back for seconds, so what the way ends with was sent long ago; and it rests only after a while."""
    trail, now_ns = travelled(4.0)
    first = gone_back(trail, now_ns, 2.0)[-1]
    trail.rest()
    let_go_ns, before_s = now_ns + 2000 * MS, trail.seconds
    trail.add(let_go_ns - 10 * MS, np.add(first, [0.005, 0.0]), 0.5)  # on its way to us when the person let go
    for step in range(1, 9):
        trail.add(let_go_ns + step * 10 * MS, first - [0.002 * min(step, 4), 0.0], 0.5)
    assert before_s < trail.seconds < before_s + 0.1
    second = gone_back(trail, let_go_ns + 500 * MS, 1.0)
    assert second[-1][0] < first[0] - 0.3


def test_what_is_sent_while_going_back_is_no_new_way() -> None:
    trail, now_ns = travelled()
    trail.back(now_ns + 20 * MS, 1.0)
    before = trail.seconds
    for step in range(20):
        trail.add(now_ns + (30 + 10 * step) * MS, np.array([1.0 - 0.01 * step, 0.0]), 0.5)
    assert trail.seconds == before


@pytest.mark.parametrize(("leap_rad", "pause_ms"), [(0.5, 10), (0.01, 2000)])
def test_a_leap_or_a_gap_ends_it(leap_rad: float, pause_ms: int) -> None:
    """A gap in which the arm stood still is none: see the next test."""
    trail, now_ns = travelled()
    trail.add(now_ns + pause_ms * MS, np.array([1.0 + leap_rad, 0.0]), 0.5)
    assert trail.seconds == 0
    assert trail.back(now_ns + (pause_ms + 20) * MS, 1.0) is None


def test_rest_takes_no_time() -> None:
    trail, now_ns = travelled()
    for step in range(1, 500):
        trail.add(now_ns + step * 10 * MS, np.array([1.0, 0.0]), 0.5)
    assert trail.seconds == pytest.approx(2.0)
