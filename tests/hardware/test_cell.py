"""A cell file is refused before anything moves, with words that say what to write instead."""

from pathlib import Path

import pytest

from hardware import cell, devices
from hardware.cell import CellConfig
from hardware.errors import BadInput


@pytest.mark.parametrize("name", cell.shipped())
def test_every_cell_that_ships_is_valid_and_named_as_its_file(name: str) -> None:
    assert cell.load(name).name == name


def test_an_unknown_cell_lists_the_choices() -> None:
    with pytest.raises(BadInput, match="no cell 'bnech'; have: bench, bench_panda"):
        cell.load("bnech")


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((cell.CELLS / "so101.yaml").read_text().replace("name: so101", "name: mine"))
    assert cell.load(file).name == "mine"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bench": None}, "'bench' is there exactly when"),
        ({"cameras": {"cam": {"kind": "opencv"}}}, "cannot share a cell"),
        ({"home_rad": (0.0, 1.0)}, "home_rad has 2 numbers for 5 joints"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        cell.load("bench").but(**change)


def test_a_real_cell_cannot_be_driven_by_the_truth() -> None:
    with pytest.raises(ValueError, match="reads the truth"):
        cell.load("so101").but(policy={"kind": "scripted"})


def test_a_faster_clock_scales_every_derivative_of_the_limits_and_the_rates() -> None:
    slow = cell.load("bench")
    fast = slow.sped_up(2.0)
    # q(2t): each derivative gains a factor of two
    a, b = slow.limits.joints[0], fast.limits.joints[0]
    assert (b.velocity_rad_s, b.acceleration_rad_s2, b.jerk_rad_s3) == (
        2 * a.velocity_rad_s,
        4 * a.acceleration_rad_s2,
        8 * a.jerk_rad_s3,
    )
    assert fast.policy.rate_hz == 2 * slow.policy.rate_hz
    assert fast.rate_hz == slow.rate_hz
    assert fast.episode_s == slow.episode_s / 2
    assert CellConfig.model_validate_json(fast.model_dump_json()) == fast


def test_only_the_bench_has_a_clock_to_speed_up() -> None:
    with pytest.raises(BadInput, match="only the bench"):
        cell.load("so101").sped_up(2.0)


def test_an_unknown_camera_lists_the_choices() -> None:
    with pytest.raises(BadInput, match="no camera 'cam1' in cell 'bench'; have: cam_front, cam_wrist"):
        devices.open_camera(cell.load("bench"), "cam1")
