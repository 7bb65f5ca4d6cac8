"""Where `tandem rl expand` lets its demonstrations begin."""

from pathlib import Path

import numpy as np
import pytest

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.expansion.expand import ExpandDemos, forget_unnoted, starts_of
from rl_online.expansion.tries import Try
from rl_online.starts.regions import Box, Fineness, PartName, Region, cell_of, grid
from rl_online.starts.resets import CellScore, ResetPlan

PARTS: list[tuple[PartName, Region]] = [
    ("id", Box(name="right", lower_m=(0.1, -0.1), upper_m=(0.2, 0.0), yaw_rad=(-0.5, 0.5))),
    ("ood", Box(name="left", lower_m=(0.1, 0.0), upper_m=(0.2, 0.1), yaw_rad=(-0.5, 0.5))),
]
CELLS = grid(PARTS, Fineness(cell_m=0.1))


def plan_at(folder: Path) -> Path:
    """A policy that never fails in ID and always does in OOD."""
    scores = [CellScore(cell=cell, rollouts=100, successes=100 * (cell.part == "id")) for cell in CELLS]
    artefact.write_model(folder / "resets.json", ResetPlan(scores=tuple(scores)))
    return folder / "resets.json"


def test_starts_of_a_plan_lie_where_the_policy_fails(tmp_path: Path):
    starts = starts_of(ExpandDemos(output=tmp_path, resets=plan_at(tmp_path)), PARTS)
    rng = np.random.default_rng(0)
    drawn = [CELLS[cell_of(starts.draw(rng), CELLS) or 0].part for _ in range(300)]
    # Wilson's lower bound of 100 of 100 is 0.963: (1.05 − 0.963) / (1.05 + 1.05 − 0.963) = 7.7 % of them in ID
    assert 0.03 < drawn.count("id") / 300 < 0.14
    assert starts.regions == PARTS


def test_without_a_plan_starts_are_of_the_part_alone(tmp_path: Path):
    starts = starts_of(ExpandDemos(output=tmp_path, part="id"), PARTS)
    rng = np.random.default_rng(0)
    assert all(PARTS[0][1].contains(starts.draw(rng)) for _ in range(20))


def test_a_plan_and_a_drawn_region_exclude_each_other(tmp_path: Path):
    corners = ((0.1, 0.0), (0.2, 0.0), (0.2, 0.1))
    config = ExpandDemos(output=tmp_path, resets=plan_at(tmp_path), polygon=corners)
    with pytest.raises(BadInput, match="leave out --polygon or --resets"):
        starts_of(config, PARTS)


def store_of(folder: Path, episodes: int) -> EpisodeStore:
    for _ in range(episodes):
        row = [np.zeros(1)] * 3
        store_episode(EpisodeLog(("x",), ("x",), 20.0, row, row), folder, "push", "scripted", True, (), "bench")
    return EpisodeStore.open(folder)


def tries(*results: str) -> list[Try]:
    start = TaskStart(x_m=0.1, y_m=0.0, yaw_rad=0.0)
    return [Try(number=n, demo=0, start=start, result=result) for n, result in enumerate(results)]


def test_an_episode_that_was_stored_but_not_noted_is_made_again_and_not_twice(tmp_path: Path):
    """A kill between the two writes: the try comes next again, with its number's seed."""
    store = store_of(tmp_path / "store", 3)
    forget_unnoted(store, tries("success", "failure", "success"))
    assert [episode.number for episode in store.finished()] == [0, 1]
    forget_unnoted(store, tries("success", "failure", "success"))
    assert len(store.finished()) == 2


def test_episodes_that_no_try_tells_of_are_not_thrown_away(tmp_path: Path):
    store = store_of(tmp_path / "store", 2)
    with pytest.raises(BadInput, match="2 episodes that"):
        forget_unnoted(store, [])
    assert len(store.finished()) == 2
