"""Scripted demonstrations of the task, and of the way back."""

from pathlib import Path

import numpy as np
import pytest

from hardware.bench.arm_models import SO101
from hardware.bench.tasks.catalogue import open_task
from hardware.bench.tasks.start import TaskStart
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from rl_online.demos import RecordDemos, record
from rl_online.episode_log import EpisodeLog
from rl_online.worlds.open_world import WorldChoice
from rl_online.worlds.world import pose_of

RATE_HZ = WorldChoice().rate_hz


def test_a_backward_demonstration_begins_at_the_goal_and_ends_as_a_task_begins(tmp_path: Path) -> None:
    assert record(RecordDemos(output=tmp_path / "back", count=2, part="ood", backward=True, cameras=False)) == 0
    layout = open_task("pick_place", "so101").layout
    for episode in EpisodeStore.open(tmp_path / "back").finished():
        assert episode.manifest.task == "take the block out of the blue tray and put it on the table"
        assert [span.source for span in episode.manifest.spans] == ["scripted"]
        rows = [dict(zip(episode.manifest.joint_names, row.tolist(), strict=True)) for row in episode.q_rad]
        began, ended = (pose_of(row, "block").translation_m for row in (rows[0], rows[-1]))
        assert np.hypot(began[0] - layout.goal.x_m, began[1] - layout.goal.y_m) < 0.04
        reached = TaskStart(x_m=float(ended[0]), y_m=float(ended[1]), yaw_rad=0.0)
        assert any(region.contains(reached) for region in wider(layout.starts["ood"]))
        assert np.abs(episode.q_rad[-1][: len(SO101.joints)] - SO101.home_rad).max() < 0.1
        assert rows[-1]["gripper"] > 0.9


def wider(regions: tuple) -> list:
    """By what a script may put it off."""
    return [
        region.but(
            lower_m=tuple(low - 0.008 for low in region.lower_m), upper_m=tuple(up + 0.008 for up in region.upper_m)
        )
        for region in regions
    ]


def test_what_cannot_be_undone_has_no_backward_demonstrations(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no way back"):
        record(RecordDemos(output=tmp_path / "back", count=1, backward=True, world=WorldChoice(task="wiping")))


@pytest.mark.parametrize("task", ["pick_place", "peg_insertion"])
def test_a_failure_ends_with_the_object_beside_its_goal(tmp_path: Path, task: str) -> None:
    world = WorldChoice(task=task)
    failures = RecordDemos(output=tmp_path / "misses", count=3, failures=True, cameras=False, world=world)
    assert record(failures) == 0
    goal, name = open_task(task, "so101").layout.goal, open_task(task, "so101").object_name
    for episode in EpisodeStore.open(tmp_path / "misses").finished():
        assert episode.manifest.success is False
        rows = [dict(zip(episode.manifest.joint_names, row.tolist(), strict=True)) for row in episode.q_rad]
        began, ended = (pose_of(row, name).translation_m for row in (rows[0], rows[-1]))
        assert np.hypot(*(ended - began)[:2]) > 0.03, "it was moved"
        assert 0.03 < np.hypot(ended[0] - goal.x_m, ended[1] - goal.y_m) < 0.15


def test_stopped_and_gone_on_with_the_same_episodes_come_and_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the tries are not as wanted, which once shifted what came after a stop."""

    def show(world: object, start: TaskStart, config: RecordDemos, rng: np.random.Generator):
        episode, drawn = EpisodeLog(("x",), ("x",), RATE_HZ), rng.random(2)
        for _ in range(8):
            episode.states.append(drawn[:1])
            episode.actions.append(drawn[:1])
        return episode, drawn[1] > 0.5

    def recorded(folder: Path, *counts: int) -> list[bytes]:
        for count in counts:
            record(RecordDemos(output=folder, count=count, cameras=False))
        return [episode.sent[0].tobytes() for episode in EpisodeStore.open(folder).finished()]

    monkeypatch.setattr("rl_online.demos.demonstrate", show)
    at_once = recorded(tmp_path / "once", 6)
    assert recorded(tmp_path / "twice", 1, 3, 6) == at_once
    assert len(set(at_once)) == 6


def test_a_demonstration_goes_on_after_its_success(tmp_path: Path) -> None:
    """The object lies at its goal and nothing moves it any more, while the arm draws back."""
    assert record(RecordDemos(output=tmp_path / "demos", count=1, cameras=False, aim_error=0.0)) == 0
    episode = EpisodeStore.open(tmp_path / "demos").finished()[0]
    rows = [dict(zip(episode.manifest.joint_names, row.tolist(), strict=True)) for row in episode.q_rad]
    lingering = rows[-round(0.7 * RATE_HZ) :]
    places = np.array([pose_of(row, "block").translation_m for row in lingering])
    assert np.ptp(places, axis=0).max() < 1e-3
    joints = np.array([[row[name] for name in SO101.joints] for row in lingering])
    assert np.ptp(joints, axis=0).max() > 0.1
