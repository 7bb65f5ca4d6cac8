"""Pay for progress: the same Φ for demonstrations as the plant has, potential-based, and in learner and actor alike."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from rl_online.learning.learner import LearnOnline, _begin
from rl_online.learning.link import FOR_ACTORS, RunSettings
from rl_online.learning.presets import PRESETS, preset
from rl_online.learning.process_reward import ProcessReward, ProgressJudge, of_success
from rl_online.learning.run_folder import SETTINGS
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config
from rl_online.worlds.world import pose_columns, pose_values


def test_progress_of_a_demonstrations_row_is_the_plants_own():
    world, judge = BenchWorld(plant_config(WorldChoice())), ProgressJudge(ProcessReward())
    places = [TaskStart(x_m=x, y_m=y, yaw_rad=0.3) for x, y in ((0.2, -0.1), (0.14, -0.15), (0.22, 0.03))]
    found = []
    for place in (*places, world.sheet.goal):
        world.reset([place], [0])
        now = world.moment()
        row = judge.progress(pose_columns(world.sheet.object_name), pose_values(now.Ts_base_object))
        np.testing.assert_allclose(row, now.progress, atol=1e-6)
        found.append(float(row[0]))
    assert found[-1] == 1.0  # it stands in the tray
    assert found[1] < found[0] < found[2] < 1.0  # the nearer to it the more
    world.close()


def test_a_store_without_poses_and_a_task_that_poses_do_not_show_are_refused():
    with pytest.raises(BadInput, match="block"):
        ProgressJudge(ProcessReward()).progress(("gripper",), np.zeros((1, 1)))
    with pytest.raises(BadInput, match="wiping"):
        ProgressJudge(ProcessReward(weight=1.0, task="wiping"))


def test_what_is_paid_by_hand():
    """w = 2, γ = ½: 2(½·0.5 − 0.2) = 0.1, 2(½·0.9 − 0.5) = −0.1, and at the end 2(0 − 0.9) = −1.8."""
    np.testing.assert_allclose(of_success(np.array([0.2, 0.5, 0.9]), 2.0, 0.5), [0.1, -0.1, -1.8])


def test_all_that_is_paid_depends_on_the_start_alone():
    """Σ γ^t (γΦ_{t+1} − Φ_t) = −Φ_0: no way to the goal is preferred, so the best policy stays the best."""
    rng, gamma = np.random.default_rng(0), 0.98
    for length in (1, 7, 40):
        progress = np.append(0.3, rng.uniform(size=length - 1))
        paid = of_success(progress, 5.0, gamma) @ gamma ** np.arange(length)
        assert paid == pytest.approx(-5.0 * 0.3)


def test_the_flag_reaches_the_learner_and_through_the_run_its_actors(tmp_path: Path):
    config = LearnOnline(
        policy=tmp_path, output=tmp_path / "run", demos=(tmp_path,), process=ProcessReward(weight=3.0)
    )
    assert config.algorithm.rewards == PRESETS["twinrl"].rewards.but(progress=3.0)
    _begin(config)
    settings = configs.read(RunSettings, config.output / FOR_ACTORS)
    assert settings.process.laid_on(preset(settings.preset)).rewards.progress == 3.0
    with pytest.raises(BadInput, match="other settings"):
        _begin(config.but(process=ProcessReward(weight=2.0)))


def test_a_run_from_before_there_were_process_rewards_goes_on(tmp_path: Path):
    config = LearnOnline(policy=tmp_path, output=tmp_path, demos=(tmp_path,))
    _begin(config)
    assert "process" not in json.loads((tmp_path / SETTINGS).read_text())
    (tmp_path / FOR_ACTORS).write_text(json.dumps({"policy": str(tmp_path), "preset": "conrft"}))
    settings = configs.read(RunSettings, tmp_path / FOR_ACTORS)
    assert settings.process.laid_on(preset(settings.preset)) == PRESETS["conrft"]
