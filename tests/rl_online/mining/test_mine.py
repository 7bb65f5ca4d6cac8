"""Mining finds where a policy fails, spends its rollouts where they tell most, and goes on after a stop."""

from pathlib import Path

import numpy as np
import pytest

from hardware.errors import BadInput
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.lines import read_models
from rl_online.mining.failure_map import draw
from rl_online.mining.mine import ROLLOUTS, MinePolicy, RolloutLine, _begin, here, regions, summary, survey
from rl_online.starts.regions import Fineness, Polygon, grid
from tests.rl_online.slider import SHEET, SliderWorld, interface
from vla.policy import ObservationBatch

FINENESS = Fineness(cell_m=0.1)


class NearPusher:
    """Succeeds from near starts only: from far ones it stays at home. Sees the block's x."""

    calls = 0

    def act(self, observations: ObservationBatch, seed: int = 0) -> np.ndarray:
        self.calls += 1
        near = observations.state[:, 2] + 0 < 0.25 + 10 * (observations.state[:, 0] > 0)
        target = np.where(near, 0.5, 0.0)
        return np.stack([np.stack([[x, 1.0]] * 4) for x in target]).astype(np.float32)


def config(tmp_path: Path, **changes: object) -> MinePolicy:
    settings = {"policy": tmp_path, "output": tmp_path / "run", "rollouts": 4, "seed": 3, "grid": FINENESS}
    return MinePolicy.model_validate(settings | changes)


def mined(configured: MinePolicy, n_envs: int = 2):
    _begin(configured)
    env, chooser = ChunkEnv(SliderWorld(n_envs), interface(), Rewards(), 0.98), NearPusher()
    cells = grid(SHEET.parts, configured.grid)
    return survey(here(env, chooser, configured.seed), cells, configured), chooser


def test_the_target_is_the_part_where_the_policy_fails(tmp_path: Path):
    plan, _ = mined(config(tmp_path))
    assert [score.cell.part for score in plan.scores] == ["id", "id", "ood", "ood"]
    assert plan.target.tolist() == [False, False, True, True]
    assert plan.probabilities[2] > plan.probabilities[0]


def test_rollouts_do_not_depend_on_the_number_of_environments(tmp_path: Path):
    one, _ = mined(config(tmp_path / "a"), 1)
    three, _ = mined(config(tmp_path / "b"), 3)
    assert one == three
    rows = [
        sorted((line.number, line.steps) for line in read_models(tmp_path / x / "run" / ROLLOUTS, RolloutLine))
        for x in "ab"
    ]
    assert rows[0] == rows[1]


def test_a_stopped_run_goes_on_and_a_cut_line_is_run_again(tmp_path: Path):
    whole, _ = mined(config(tmp_path / "a"))
    configured = config(tmp_path / "b")
    mined(configured)
    file = configured.output / ROLLOUTS
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:9]) + lines[9][:12])
    again, chooser = mined(configured)
    assert again == whole
    assert len(read_models(file, RolloutLine)) == 16
    nothing_left, idle = mined(configured)
    assert nothing_left == whole
    assert chooser.calls > idle.calls == 0


def test_extra_rollouts_are_added_to_those_that_were_run(tmp_path: Path):
    plan, _ = mined(config(tmp_path, extra=6))
    assert sum(score.rollouts for score in plan.scores) == 4 * 4 + 6
    assert min(score.rollouts for score in plan.scores) >= 4


def test_another_number_of_extra_rollouts_credits_each_to_the_cell_it_was_run_in(tmp_path: Path):
    mined(config(tmp_path, extra=4))
    plan, _ = mined(config(tmp_path, extra=9))
    whole, _ = mined(config(tmp_path / "at_once", extra=9))
    assert plan == whole


def test_rollouts_of_other_settings_are_not_mixed(tmp_path: Path):
    mined(config(tmp_path))
    with pytest.raises(BadInput, match="other settings"):
        _begin(config(tmp_path, seed=4))


def test_the_figures_count_every_rollout_and_the_map_is_a_picture(tmp_path: Path):
    configured = config(tmp_path)
    plan, _ = mined(configured)
    figures = summary(plan, configured, "slider")
    assert (figures.parts["id"].successes, figures.parts["ood"].successes) == (8, 0)
    assert figures.parts["id"].interval[0] == pytest.approx(8 / (8 + 3.8415), abs=1e-3)
    draw(tmp_path / "map.png", plan, SHEET.goal, "slider")
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_a_drawn_polygon_takes_the_place_of_the_tasks_regions(tmp_path: Path):
    [(part, region)] = regions(config(tmp_path, polygon=((0.1, 0.0), (0.2, 0.0), (0.1, 0.1))), SHEET.parts)
    assert part == "ood"
    assert isinstance(region, Polygon)
    with pytest.raises(BadInput, match="2 corners"):
        regions(config(tmp_path, polygon=((0.1, 0.0), (0.2, 0.0))), SHEET.parts)
