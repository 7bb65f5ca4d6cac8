"""The reset plan's arithmetic, by hand, and what it draws."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from hardware.bench.tasks.start import TaskStart
from rl_online.starts.regions import Box, Cell, Fineness, Polygon, cell_of, cells, grid, inside
from rl_online.starts.resets import CellScore, ResetPlan, allocate, reset_probabilities

SQUARE = Box(name="square", lower_m=(0.0, 0.0), upper_m=(0.1, 0.08), yaw_rad=(-0.5, 0.5))
TRIANGLE = Polygon(name="drawn", outline_m=((0.0, 0.0), (0.1, 0.0), (0.0, 0.1)), yaw_rad=(0.0, 0.0))


def plan(*counts: tuple[int, int], tau: float = 0.5) -> ResetPlan:
    made = cells("id", Box(name="row", lower_m=(0, 0), upper_m=(0.1 * len(counts), 0.1), yaw_rad=(0, 0)), TENTHS)
    scores = [CellScore(cell=cell, successes=won, rollouts=n) for cell, (won, n) in zip(made, counts, strict=True)]
    return ResetPlan(scores=tuple(scores), tau=tau)


TENTHS = Fineness(cell_m=0.1)


def test_a_cell_is_drawn_by_one_minus_its_lower_bound_plus_a_twentieth():
    # weights 1.05, 0.55, 0.05; sum 1.65
    assert reset_probabilities(np.array([0.0, 0.5, 1.0])) == pytest.approx([1.05 / 1.65, 0.55 / 1.65, 0.05 / 1.65])


def test_ten_of_ten_still_leave_a_lower_bound_of_0_722():
    # Wilson with z² = 3.8415: lower = n / (n + z²) = 10 / 13.8415 = 0.72246 for 10 of 10; 0 for 0 of 10.
    made = plan((10, 10), (0, 10))
    assert made.bounds[0] == pytest.approx([0.72246, 0.0], abs=1e-4)
    weights = np.array([1.05 - 0.72246, 1.05])
    assert made.probabilities == pytest.approx(weights / weights.sum(), abs=1e-4)


def test_the_target_is_what_lies_below_tau_and_what_was_never_tried():
    assert plan((4, 10), (5, 10), (10, 10), (0, 0)).target.tolist() == [True, False, False, True]


def test_unguided_resets_are_uniform():
    made = plan((0, 10), (10, 10)).but(guided=False)
    assert made.probabilities.tolist() == [0.5, 0.5]


def test_draws_follow_the_probabilities_and_lie_in_their_cell():
    made, rng = plan((0, 20), (20, 20)), np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(2000)]
    share = np.mean([number == 0 for number, _ in drawn])
    expected = made.probabilities[0]
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 2000))
    assert all(made.scores[number].cell.contains(start) for number, start in drawn)


def test_target_draws_avoid_what_is_mastered_until_all_is():
    rng = np.random.default_rng(1)
    assert {plan((0, 20), (20, 20)).draw_target(rng)[0] for _ in range(50)} == {0}
    assert {plan((20, 20), (20, 20)).draw_target(rng)[0] for _ in range(50)} == {0, 1}


def test_every_cell_gets_the_least_before_any_gets_more():
    given = allocate(np.array([0, 0, 0]), np.array([4, 0, 10]), budget=16, least=10)
    assert given.tolist() == [6, 10, 0]


def test_what_is_left_goes_to_cells_that_may_be_on_either_side_of_tau():
    # 10/10 and 0/10 are decided at τ = 0.5 (their intervals end at 0.72 and 0.28), 5/10 is not.
    given = allocate(np.array([10, 5, 0]), np.array([10, 10, 10]), budget=12, least=10)
    assert given.tolist() == [0, 12, 0]


def test_two_alike_undecided_cells_share_the_rollouts():
    given = allocate(np.array([5, 5]), np.array([10, 10]), budget=10, least=10)
    assert given.tolist() == [5, 5]


def test_more_successes_than_rollouts_are_refused():
    with pytest.raises(ValidationError, match="3 successes of 2"):
        CellScore(cell=cells("id", SQUARE, TENTHS)[0], successes=3, rollouts=2)


def test_a_box_is_cut_into_equal_cells_that_tile_it():
    made = cells("ood", SQUARE, Fineness(cell_m=0.04, yaw_cells=2))
    assert len(made) == 3 * 2 * 2  # 0.1 / 0.04 → 3, 0.08 / 0.04 → 2, two slices of yaw
    rng = np.random.default_rng(2)
    for start in (SQUARE.draw(rng) for _ in range(200)):
        assert sum(cell.contains(start) for cell in made) >= 1
        assert cell_of(start, made) is not None


def test_a_polygon_keeps_the_cells_that_touch_it_and_draws_inside_it():
    made = cells("ood", TRIANGLE, Fineness(cell_m=0.05))
    assert len(made) == 3  # of 2 × 2: the far corner is outside
    rng = np.random.default_rng(3)
    for cell in made:
        start = cell.draw(rng)
        assert TRIANGLE.contains(start)
        assert start.x_m + start.y_m <= 0.1 + 1e-12


def test_a_point_beside_a_concave_corner_is_outside():
    arrow = ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (1.0, 0.5), (0.0, 2.0))
    assert inside(np.array([[1.0, 0.4], [1.0, 0.6], [0.1, 0.1], [3.0, 1.0]]), arrow).tolist() == [
        True, False, True, False,
    ]  # fmt: skip


def test_the_area_of_a_triangle_is_half_its_square():
    assert TRIANGLE.area_m2 == pytest.approx(0.005)


def test_an_outline_without_an_inside_is_refused():
    with pytest.raises(ValidationError, match="encloses nothing"):
        Polygon(name="line", outline_m=((0, 0), (1, 1), (2, 2)), yaw_rad=(0, 0))


def test_a_start_outside_the_grid_is_in_no_cell():
    made = grid([("id", SQUARE)], TENTHS)
    assert cell_of(TaskStart(x_m=1.0, y_m=0.0, yaw_rad=0.0), made) is None


def test_a_plan_comes_back_from_json():
    made = plan((1, 3), (0, 0))
    assert ResetPlan.model_validate_json(made.model_dump_json()) == made
    assert isinstance(made.scores[0].cell, Cell)
