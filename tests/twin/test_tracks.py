import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.spatial import Pose
from twin import tracks

TIMES = np.array([0.0, 0.1, 0.2, 0.3])


def posed(turn_deg: float, at_m: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    return Pose.exp("a", "b", np.array([*at_m, 0.0, np.radians(turn_deg), 0.0])).matrix[None]


@given(st.floats(0.0, 180.0))
def test_the_angle_between_poses_is_the_turn(turn_deg: float) -> None:
    assert tracks.apart_deg(posed(10.0), posed(10.0 + turn_deg))[0] == pytest.approx(turn_deg, abs=1e-5)


def test_a_distance_is_in_millimetres() -> None:
    a, b = np.eye(4)[None], np.eye(4)[None].copy()
    b[0, :3, 3] = (0.003, 0.0, 0.004)
    assert tracks.apart_mm(a, b)[0] == pytest.approx(5.0)


def test_a_level_is_passed_between_samples() -> None:
    """From 1 at 0.1 s to 3 at 0.2 s: 2.5 is three quarters of the way."""
    values = np.array([0.0, 1.0, 3.0, 0.0])
    assert tracks.when_s(TIMES, values, 2.5) == pytest.approx(0.175)
    assert tracks.last_s(TIMES, values, 1.5) == pytest.approx(0.25)


def test_a_level_never_reached_has_no_time() -> None:
    assert tracks.when_s(TIMES, np.zeros(4), 1.0) is None
    assert tracks.last_s(TIMES, np.zeros(4), 1.0) is None


def test_a_level_passed_from_the_start_and_to_the_end() -> None:
    assert tracks.when_s(TIMES, np.full(4, 2.0), 1.0) == 0.0
    assert tracks.last_s(TIMES, np.full(4, 2.0), 1.0) == pytest.approx(0.3)
