"""Demonstrations from our store and from LeRobot come out as they went in, and what cannot be learned from is said."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import dot_task
import numpy as np
import pytest

from hardware.dataset.frame_grid import Alignment
from hardware.dataset.manifest import write_episode
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from vla import demonstrations
from vla.demonstrations import ArrayDemonstrations, Layout, open_demonstrations

FPS, T, PX = 10, 12, 64
START_NS = 5_000_000_000


def shade(step: int) -> np.ndarray:
    return np.full((PX, PX, 3), 40 + 10 * step, np.uint8)


def record(store: Path, success: bool | None, first: float = 0.0) -> None:
    config = RecordingConfig(alignment=Alignment(rate_hz=FPS))
    recording = Recording(store, "pick the cube", ["front"], ["a", "gripper"], ["a", "gripper"], config=config)
    for step in range(T + 1):
        stamp_ns = START_NS + step * 1_000_000_000 // FPS
        recording.image("front", stamp_ns, shade(step))
        recording.joint(stamp_ns, np.array([first + step, 0.5]))
        recording.sent(stamp_ns + 10_000_000, np.array([first + step + 0.25, 1.0]), "human")
    recording.finish(success)


def test_a_store_gives_its_finished_episodes_that_did_not_fail(tmp_path) -> None:
    for success, first in ((True, 0.0), (False, 100.0), (None, 200.0)):
        record(tmp_path / "store", success, first)
    found = open_demonstrations(tmp_path / "store", "mine")
    assert len(found) == 2
    assert found.layout == Layout(
        cameras=("front",), state_names=("a", "gripper"), action_names=("a", "gripper"), rate_hz=FPS
    )
    episode = found[1]
    assert episode.instruction == "pick the cube"
    np.testing.assert_allclose(episode.actions[:, 0] - episode.state[:, 0], 0.25, atol=1e-5)
    assert episode.state[0, 0] >= 200
    pictures = episode.pictures("front")
    assert pictures.shape == (len(episode), PX, PX, 3)
    expected = 40 + 10 * (episode.state[:, 0] - 200)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - expected).max() < 3
    with pytest.raises(BadInput, match="no camera 'wrist'"):
        episode.pictures("wrist")


def test_an_episode_that_a_kill_cut_off_shows_nothing(tmp_path) -> None:
    for first in (0.0, 100.0):
        record(tmp_path / "store", None, first)
    cut = EpisodeStore.open(tmp_path / "store").finished()[1]
    write_episode(cut.folder, cut.manifest.but(interrupted=True))
    found = open_demonstrations(tmp_path / "store", "mine")
    assert [float(found[number].state[0, 0]) < 50 for number in range(len(found))] == [True]


def write_lerobot(root: Path, kind: str) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a.pos", "gripper.pos"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["a.pos", "gripper.pos"]},
        "observation.images.front": {"dtype": kind, "shape": (PX, PX, 3), "names": ["height", "width", "channels"]},
    }
    dataset = LeRobotDataset.create("local/made", FPS, features, root=root, use_videos=kind == "video")
    for number in range(2):
        for step in range(T):
            frame = {
                "observation.state": np.array([100 * number + step, 0.5], np.float32),
                "action": np.array([100 * number + step + 0.25, 1.0], np.float32),
                "observation.images.front": shade(step),
                "task": ("pick the cube", "drop the cube")[number],
            }
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_lerobot_dataset_comes_out_as_it_went_in(tmp_path, kind: str) -> None:
    write_lerobot(tmp_path / "set", kind)
    found = open_demonstrations(tmp_path / "set", "theirs")
    assert len(found) == 2
    assert found.layout == Layout(
        cameras=("front",), state_names=("a", "gripper"), action_names=("a", "gripper"), rate_hz=FPS
    )
    second = found[1]
    assert second.instruction == "drop the cube"
    np.testing.assert_allclose(second.state[:, 0], 100 + np.arange(T))
    np.testing.assert_allclose(second.actions[:, 0], 100.25 + np.arange(T))
    shades = second.pictures("front").mean(axis=(1, 2, 3))
    assert np.abs(shades - (40 + 10 * np.arange(T))).max() < 4


def info(**changes: object) -> dict[str, object]:
    features = {
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "observation.state": {"dtype": "float32", "shape": [2], "names": {"motors": ["a", "b"]}},
    }
    return {"codebase_version": "v3.0", "fps": 10, "features": features} | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codebase_version": "v2.1"}, "v3 is needed"),
        ({"features": {"observation.state": {"shape": [2]}}}, "no 'action'"),
        ({"features": {"action": {"shape": [2]}}}, "neither 'observation.state'"),
        ({"fps": "fast"}, "no LeRobot description"),
    ],
)
def test_a_lerobot_dataset_without_the_needed_keys_is_refused(tmp_path, changes: dict, said: str) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info(**changes)))
    with pytest.raises(BadInput, match=said):
        open_demonstrations(tmp_path, "x")


def test_columns_without_names_are_numbered(tmp_path) -> None:
    from vla.lerobot_demonstrations import layout_of

    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info()))
    layout = layout_of(tmp_path)
    assert layout.action_names == ("action_0", "action_1")
    assert layout.state_names == ("a", "b")


def test_a_folder_of_neither_kind_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="neither a LeRobot dataset"):
        open_demonstrations(tmp_path, "x")
    with pytest.raises(BadInput, match="no folder"):
        open_demonstrations(tmp_path / "gone", "x")


def changed(**changes: object) -> ArrayDemonstrations:
    dataset = dot_task.demonstrations(3)
    return replace(dataset, episodes=[dataset[0], replace(dataset[1], **changes), dataset[2]])


def test_what_cannot_be_learned_from_is_named() -> None:
    nan = np.zeros((dot_task.T, 2), np.float32)
    nan[3, 1] = np.nan
    with pytest.raises(BadInput, match=r"action of 'dots' episode 1 is nan at step 3 in 'y'"):
        demonstrations.require_usable(changed(actions=nan), 4, True)
    with pytest.raises(BadInput, match=r"state of 'dots' episode 1 is nan at step 3 in 'b'"):
        demonstrations.require_usable(changed(state=nan), 4, True)
    with pytest.raises(BadInput, match="episode 1 has no instruction"):
        demonstrations.require_usable(changed(instruction=""), 4, True)
    demonstrations.require_usable(changed(instruction=""), 4, False)
    with pytest.raises(BadInput, match="has no episodes"):
        demonstrations.require_usable(dot_task.demonstrations(0), 4, True)
    with pytest.raises(BadInput, match="a chunk of 9 steps is longer than any episode of 'dots'"):
        demonstrations.require_usable(dot_task.demonstrations(2), 9, True)
    with pytest.raises(BadInput, match=r"has \(3,\) columns, the dataset says 2"):
        demonstrations.require_usable(changed(actions=np.zeros((8, 3), np.float32)), 4, True)


def with_layout(**changes: object) -> ArrayDemonstrations:
    return ArrayDemonstrations("other", dot_task.LAYOUT.but(**changes), dot_task.demonstrations(1).episodes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action_names": ("x", "y", "z")}, "the action has 2 dims in 'dots' and 3 in 'other'"),
        ({"state_names": ("a",)}, "the state has 2 dims in 'dots' and 1 in 'other'"),
        ({"action_names": ("y", "x")}, "in another order: y, x, not x, y"),
        ({"rate_hz": 20.0}, "'dots' runs at 10.0 Hz, 'other' at 20.0 Hz"),
    ],
)
def test_datasets_that_do_not_fit_together_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        demonstrations.require_alike(dot_task.demonstrations(1), with_layout(**changes))


def test_another_arm_of_as_many_joints_is_taken_and_said(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        demonstrations.require_alike(dot_task.demonstrations(1), with_layout(action_names=("u", "v")))
    assert "u, v in 'other' go with x, y" in caplog.text


def test_cameras_are_chosen_by_name() -> None:
    both = [dot_task.demonstrations(1), with_layout(cameras=("front", "wrist"))]
    assert demonstrations.cameras_of(both) == ("front",)
    with pytest.raises(BadInput, match="'dots' has no camera wrist; have: front"):
        demonstrations.cameras_of(both, ["wrist"])
    with pytest.raises(BadInput, match="4 cameras, at most 3"):
        demonstrations.cameras_of([with_layout(cameras=("a", "b", "c", "d"))])


def test_a_policy_may_read_some_of_the_recorded_columns() -> None:
    layout = Layout(cameras=(), state_names=("a", "b", "block.x_m"), action_names=("a",), rate_hz=10.0)
    state = np.arange(6, dtype=np.float32).reshape(2, 3)
    none = np.zeros((2, 8, 8, 3), np.uint8)
    episode = demonstrations.Demonstration("do", state, np.zeros((2, 1), np.float32), lambda camera: none)
    whole = demonstrations.ArrayDemonstrations("d", layout, [episode])
    chosen = demonstrations.with_state(whole, ("b", "a"))
    assert chosen.layout.state_names == ("b", "a")
    assert chosen[0].state.tolist() == [[1.0, 0.0], [4.0, 3.0]]
    assert demonstrations.with_state(whole, ()) is whole
    with pytest.raises(BadInput, match=r"no state column 'c'; has: a, b, block\.x_m"):
        demonstrations.with_state(whole, ("c",))
