"""Windows over episodes: what follows an observation, padding, and draws that only the step decides."""

import dataclasses

import dot_task
import numpy as np
import pytest
import small_policy

from hardware.errors import BadInput
from vla.augmentation import Augmentation, augmented
from vla.keyframes import misses
from vla.policy import Interface
from vla.prepared import PreparedEpisode
from vla.windows import Draws, Windows

H = 4


def episode(length: int, dataset: str = "a", number: int = 0, dims: int = 2) -> PreparedEpisode:
    steps = np.arange(length, dtype=np.float32)[:, None]
    return PreparedEpisode(dataset, number, "go", None, np.tile(steps, (1, 2)), np.tile(steps + 0.5, (1, dims)))


def interface(**changes: object) -> Interface:
    return small_policy.interface((), horizon_steps=H, language=False).but(**changes)


def test_a_window_is_the_chunk_that_followed() -> None:
    windows = Windows([episode(10)], interface())
    chunk, padded = windows.following(0, 3)
    np.testing.assert_array_equal(chunk[:, 0], [3.5, 4.5, 5.5, 6.5])
    assert not padded.any()


def test_past_the_end_a_position_is_held() -> None:
    chunk, padded = Windows([episode(10)], interface()).following(0, 8)
    np.testing.assert_array_equal(chunk[:, 0], [8.5, 9.5, 9.5, 9.5])
    assert padded.tolist() == [False, False, True, True]


def test_past_the_end_a_velocity_is_zero_but_a_gripper_stays() -> None:
    face = interface(space="joint_vel_rad_s", action_names=("x", "gripper"))
    chunk, _ = Windows([episode(10)], face).following(0, 9)
    np.testing.assert_array_equal(chunk, [[9.5, 9.5], [0, 9.5], [0, 9.5], [0, 9.5]])


def test_a_batch_pairs_each_state_with_its_own_chunk() -> None:
    windows = Windows([episode(10), episode(7, "b", 1)], interface())
    draws = Draws(windows, {"a": 1.0, "b": 1.0}, Augmentation(), seed=0)
    batch = draws.draw(step=0, size=64)
    np.testing.assert_array_equal(batch.actions[:, 0], batch.observations.state + 0.5)
    assert set(batch.observations.datasets) == {"a", "b"}


def test_with_a_stride_each_chunk_begins_at_a_picture_or_a_late_step_after_it() -> None:
    """Features hold the step that they are of."""
    of = np.arange(0, 11, 3, dtype=np.float16)[:, None]
    one = dataclasses.replace(episode(11), features=((of,),), stride=3)
    windows = Windows([one], interface(cameras=("front",)))
    assert [step for _, step in windows.windows] == [0, 3, 6, 9]
    plain = windows.batch(windows.windows, [0] * 4)
    assert plain.observations.features is not None
    np.testing.assert_array_equal(plain.observations.features[:, 0, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(plain.observations.state[:, 0], [0, 3, 6, 9])
    late = windows.batch(windows.windows, [0] * 4, late=[1, 0, 2, 2])
    assert late.observations.features is not None
    np.testing.assert_array_equal(late.observations.features[:, 0, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(late.observations.state[:, 0], [1, 3, 8, 10])  # 11 would be past the end
    np.testing.assert_array_equal(late.actions[:, 0, 0], [1.5, 3.5, 8.5, 10.5])


def test_a_draw_depends_on_step_seed_and_process_only() -> None:
    windows = Windows([episode(50)], interface())
    draws, again = (Draws(windows, {"a": 1.0}, Augmentation(), seed=3) for _ in range(2))
    draws.draw(0, 8)
    np.testing.assert_array_equal(draws.draw(5, 8).actions, again.draw(5, 8).actions)
    for other in (
        again.draw(6, 8),
        again.draw(5, 8, process=1),
        Draws(windows, {"a": 1.0}, Augmentation(), 4).draw(5, 8),
    ):
        assert (other.actions != draws.draw(5, 8).actions).any()


def test_weights_are_shares_whatever_the_sizes() -> None:
    """10 frames with weight 3 beside 1000 with weight 1: three in four draws, within 5 standard errors."""
    windows = Windows([episode(10), episode(1000, "b", 1)], interface())
    batch = Draws(windows, {"a": 3.0, "b": 1.0}, Augmentation(), seed=0).draw(0, 4000)
    share = np.mean([name == "a" for name in batch.observations.datasets])
    assert share == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)


def test_weights_that_draw_nothing_are_refused() -> None:
    windows = Windows([episode(10)], interface())
    with pytest.raises(BadInput, match="no training window in 'b'"):
        Draws(windows, {"a": 1.0, "b": 1.0}, Augmentation(), 0)
    with pytest.raises(BadInput, match="weight 0"):
        Draws(windows, {"a": 0.0}, Augmentation(), 0)


def test_all_windows_in_order_cover_every_step_once() -> None:
    windows = Windows([episode(10), episode(7, "b", 1)], interface())
    batches = list(windows.in_order(size=5, most=1000))
    assert sum(map(len, batches)) == len(windows) == 17
    firsts = np.concatenate([batch.actions[:, 0, 0] for batch in batches])
    np.testing.assert_array_equal(firsts, [*(np.arange(10) + 0.5), *(np.arange(7) + 0.5)])
    assert sum(len(batch) for batch in windows.in_order(size=5, most=6)) == 6


def test_augmentation_moves_and_tints_but_keeps_the_picture() -> None:
    rng = np.random.default_rng(0)
    rgb = np.stack([dot_task.picture(0.2, -0.3, np.zeros((64, 64, 3)))] * 50)
    seen = augmented(rgb, Augmentation(shift_px=4), rng)
    assert seen.shape == rgb.shape
    assert (seen != rgb).any(axis=(1, 2, 3)).all()
    redness = seen[..., 0].astype(int) - seen[..., 1]
    found = np.array([np.argwhere(red > 90).mean(axis=0) for red in redness])
    true = np.argwhere(rgb[0, ..., 0].astype(int) - rgb[0, ..., 1] > 90).mean(axis=0)
    assert np.abs(found - true).max() <= 4.01
    assert np.abs(found - true).max() > 2


def test_no_augmentation_changes_nothing() -> None:
    none = Augmentation(shift_px=0, brightness=0, contrast=0, tint=0)
    rgb = np.random.default_rng(1).integers(0, 255, (3, 32, 32, 3), np.uint8)
    assert np.abs(augmented(rgb, none, np.random.default_rng(0)).astype(int) - rgb).max() <= 1


def tried_again(opening: list[float], commanded: list[float]) -> list[bool]:
    return misses(np.array(opening), np.array(commanded)).tolist()


def test_a_try_that_closed_on_nothing_is_marked_until_the_jaws_are_shut():
    # Open, shut on nothing (measured 0), open again, shut on a thing that keeps the jaws apart (measured 0.2).
    opening = [0.4, 0.4, 0.2, 0.0, 0.0, 0.3, 0.4, 0.2, 0.2]
    commanded = [0.4, 0.0, 0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.0]
    assert tried_again(opening, commanded) == [True] * 3 + [False] * 6


def test_the_second_miss_is_marked_from_where_the_jaws_opened():
    opening = [0.4, 0.0, 0.4, 0.0, 0.4, 0.2]
    commanded = [0.0, 0.4, 0.0, 0.4, 0.0, 0.0]
    assert tried_again(opening, commanded) == [True, False, True, False, False, False]


def test_jaws_that_shut_for_good_or_hold_something_are_no_miss():
    assert not any(tried_again([0.4, 0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4, 0.4]))  # let go, and no other try
    assert not any(tried_again([0.4, 0.2, 0.4, 0.2], [0.0, 0.4, 0.0, 0.0]))


def test_windows_leave_misses_out_unless_they_are_asked_for():
    one = episode(9)
    face = interface(state_names=("x", "gripper"), action_names=("x", "gripper"))
    column, commanded = face.state_names.index("gripper"), face.action_names.index("gripper")
    one.state[:, column] = [0.4, 0.4, 0.2, 0.0, 0.0, 0.3, 0.4, 0.2, 0.2]
    one.actions[:, commanded] = [0.4, 0.0, 0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.0]
    assert Windows([one], face).windows == [(0, step) for step in range(3, 9)]
    assert len(Windows([one], face, with_misses=True)) == 9
