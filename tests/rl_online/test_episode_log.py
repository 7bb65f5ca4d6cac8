"""Episodes of an environment as a store keeps them."""

from pathlib import Path

import numpy as np

from rl_online.episode_log import EpisodeLog, store_episode
from vla.demonstrations import open_demonstrations


def test_a_step_without_its_own_picture_is_shown_the_one_before(tmp_path: Path) -> None:
    steps, stride = 9, 2
    episode = EpisodeLog(("joint",), ("joint",), 20.0, picture_stride=stride)
    for number in range(steps):
        episode.states.append(np.array([number / steps]))
        episode.actions.append(np.array([number / steps]))
        if number % stride == 0:
            episode.pictures.append({"cam": np.full((32, 32, 3), 20 * number, np.uint8)})
    stored = store_episode(episode, tmp_path / "store", "hold still", "scripted", True, ("cam",), "none")
    assert stored.manifest.gaps == ()
    shown = open_demonstrations(tmp_path / "store", "store")[0]
    brightness = shown.pictures("cam").mean(axis=(1, 2, 3))
    own = 20 * stride * (np.arange(len(brightness)) // stride)
    assert len(brightness) >= steps - 1
    np.testing.assert_allclose(brightness, own, atol=2)
