"""What a crust of Gaussians is the outline of: strays of a splat decide nothing."""

import numpy as np
import pytest

from hardware.errors import BadInput
from twin import outline


def crust(outer: np.ndarray, height_m: float = 0.014) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussians 1 mm thick under an outline's points, up to a height."""
    points = np.concatenate([np.column_stack([outer, np.full(len(outer), z)]) for z in np.linspace(0, height_m, 4)])
    covariances = np.tile(np.eye(3) * 1e-8, (len(points), 1, 1))
    return points, np.full(len(points), 0.7), covariances


def square(half_m: float) -> np.ndarray:
    along = np.linspace(-half_m, half_m, 30)
    sides = [np.column_stack([along, np.full(30, side)]) for side in (-half_m, half_m)]
    return np.concatenate([*sides, *(each[:, ::-1] for each in sides)])


def circle(radius_m: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return radius_m * np.column_stack([np.cos(angle), np.sin(angle)])


def with_strays(points: np.ndarray, weights: np.ndarray, covariances: np.ndarray, count: int, away_m: float):
    """`count` lone Gaussians beside it, as a splat of few photos has them."""
    angle = np.linspace(0.3, 2 * np.pi, count, endpoint=False)
    lone = np.column_stack([away_m * np.cos(angle), away_m * np.sin(angle), np.full(count, 0.01)])
    return (
        np.concatenate([points, lone]),
        np.concatenate([weights, np.full(count, 1.0)]),
        np.concatenate([covariances, covariances[:count]]),
    )


@pytest.mark.parametrize("strays", [0, 12])
def test_a_tray_is_a_box_whatever_lone_gaussians_lie_round_it(strays: int):
    """The circle through a square's corners holds the strays, too, and explains nothing of its sides."""
    given = crust(square(0.049))
    found = outline.read(*with_strays(*given, strays, 0.066) if strays else given)
    assert found.kind == "box"
    assert found.half_m == pytest.approx((0.049, 0.049), abs=5e-4)


def test_a_round_thing_is_a_cylinder():
    found = outline.read(*with_strays(*crust(circle(0.04)), 5, 0.055))
    assert found.kind == "cylinder"
    assert found.half_m[0] == pytest.approx(0.04, abs=5e-4)


def test_too_few_are_refused():
    points, weights, covariances = crust(square(0.03))
    with pytest.raises(BadInput, match="too few for an outline"):
        outline.read(points[:5], weights[:5], covariances[:5])
