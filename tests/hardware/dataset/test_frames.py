from pathlib import Path

import numpy as np
import pytest

from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.frames import Frames
from hardware.dataset.recording import Recording
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput


def test_a_batch_equals_the_frames_one_by_one(store: Path) -> None:
    frames = Frames(store)
    episodes = EpisodeStore.open(store).episodes()
    assert len(frames) == sum(map(len, episodes))
    order = np.random.default_rng(0).permutation(len(frames))
    batch = frames.batch(order)
    flat = [(episode, number) for episode in episodes for number in range(len(episode))]
    for place, at in enumerate(order):
        episode, number = flat[at]
        frame = episode.frame(number)
        assert (batch.episode[place], batch.frame[place]) == (episode.number, number)
        assert batch.stamp_ns[place] == frame.observation.stamp_ns
        assert np.array_equal(batch.q_rad[place], frame.observation.q_rad)
        assert np.array_equal(batch.actions[place, 0], frame.action)
        assert SOURCES[batch.source[place]] == frame.source
        for name, rgb in frame.observation.images.items():
            assert np.array_equal(batch.images[name][place], rgb)


def test_a_horizon_stops_at_the_end_of_its_episode(store: Path) -> None:
    frames = Frames(store)
    end = len(EpisodeStore.open(store).episode(0))
    batch = frames.batch([end - 2], cameras=[], horizon=4)
    assert batch.is_pad.tolist() == [[False, False, True, True]]
    assert np.array_equal(batch.actions[0, 2], batch.actions[0, 1])
    assert np.array_equal(batch.actions[0, 1], frames.batch([end - 1], cameras=[]).actions[0, 0])
    assert batch.images == {}


def test_an_index_outside_is_refused(store: Path) -> None:
    frames = Frames(store)
    with pytest.raises(IndexError, match=f"frames are 0 … {len(frames) - 1}"):
        frames.batch([len(frames)])


def test_episodes_of_other_robots_are_refused_by_name(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    for names in (["a"], ["a", "b"]):
        recording = Recording(folder, "t", [], names)
        for number in range(30):
            recording.joint(number * 10_000_000 + 1, np.zeros(len(names)))
            recording.sent(number * 10_000_000 + 1, np.zeros(len(names)), "twin")
        recording.finish()
    with pytest.raises(BadInput, match="joint_names: a and a, b"):
        Frames(folder)
