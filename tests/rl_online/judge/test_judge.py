"""The learned judge of success: labels, threshold, hard negatives, and the same verdict live as from a store."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hardware import config as configs
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.judge.check import CheckFigures, CheckReward, check
from rl_online.judge.collect import CollectReward, collect
from rl_online.judge.frames import LabelledEpisode, Labelling, Moments, Scored, label, open_all
from rl_online.judge.model import Judge, RewardModel, first_judged, load_reward
from rl_online.judge.train import TrainReward, fit, pick, scores, split, train

torch.set_num_threads(1)
PX = 32


def moments_of(rows: np.ndarray, labels: list[int], success: bool, number: int = 0) -> Moments:
    said = LabelledEpisode(file=f"{number}", store="s", number=number, success=success, rate_hz=10.0)
    return Moments(said, rows.astype(np.float16), np.array(labels))


def test_the_end_of_a_success_is_positive_and_what_comes_before_it_is_left_out() -> None:
    # at 10 Hz: 0.2 s positive are the last 3 moments (0.0, 0.1, 0.2 s before the end), 0.2 s unsure the 2 before
    rule = Labelling(positive_s=0.2, unsure_s=0.2)
    assert label(8, True, 10.0, rule).tolist() == [0, 0, 0, -1, -1, 1, 1, 1]
    assert label(4, False, 10.0, rule).tolist() == [0, 0, 0, 0]


def test_only_moments_in_a_row_count() -> None:
    p = np.array([0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9])
    assert first_judged(p, 0.5, 3) == 5
    assert first_judged(p, 0.5, 1) == 0
    assert first_judged(p, 0.95, 1) is None


def test_an_episode_counts_as_it_would_be_ended() -> None:
    early = Scored(moments_of(np.zeros((4, 1)), [0, 0, -1, 1], True), np.array([0.9, 0.9, 0.1, 0.9]))
    right = Scored(moments_of(np.zeros((4, 1)), [0, -1, 1, 1], True), np.array([0.1, 0.9, 0.9, 0.9]))
    missed = Scored(moments_of(np.zeros((2, 1)), [0, 1], True), np.array([0.1, 0.9]))
    fooled = Scored(moments_of(np.zeros((3, 1)), [0, 0, 0], False), np.array([0.1, 0.9, 0.9]))
    found = scores([early, right, missed, fooled], 0.5, 2)
    assert (found.true_successes, found.false_successes, found.missed) == (1, 2, 1)
    assert found.false_share == pytest.approx(2 / 3)
    # two in a row: positives 0 of 1, 2 of 2 (the second after an unsure one) and 0 of 1; negatives 1 and 1
    assert (found.frame_precision, found.frame_recall) == (0.5, 0.5)


def test_the_threshold_gives_the_wanted_precision_and_room_on_both_sides() -> None:
    good = [Scored(moments_of(np.zeros((3, 1)), [0, 1, 1], True), np.array([0.1, 0.97, 0.97])) for _ in range(4)]
    bad = [Scored(moments_of(np.zeros((3, 1)), [0, 0, 0], False), np.array([0.6, 0.7, 0.7])) for _ in range(4)]
    threshold = pick([*good, *bad], 0.98, 2)
    assert 0.75 < threshold < 0.96
    assert scores([*good, *bad], threshold, 2).false_successes == 0


def test_what_the_first_fit_mistakes_is_mined_and_unlearned() -> None:
    """Feature 0 says done; feature 1 tells the rare look-alikes apart, which the first fit has not seen."""
    rng = np.random.default_rng(0)
    episodes = []
    for number in range(6):
        positive = np.array([1.0, 0.0, 0.0]) + 0.05 * rng.normal(size=(10, 3))
        negative = 0.05 * rng.normal(size=(190, 3))
        negative[1::37] += [1.0, 1.0, 0.0]
        rows = np.concatenate([negative, positive])
        episodes.append(moments_of(rows, [0] * 190 + [1] * 10, True, number))
    config = TrainReward(data=(Path("x"),), output=Path("y"), decay=1e-5)
    mistaken = []
    for rounds in (0, 2):
        weight, bias, mined = fit(episodes, config.but(rounds=rounds))
        alike = np.concatenate([one.rows[1:190:37] for one in episodes]).astype(np.float32)
        mistaken.append(float((alike @ weight + bias > 0).mean()))
        assert (mined > 0) == (rounds > 0)
    assert mistaken[1] <= mistaken[0]
    assert mistaken[1] < 0.1


def test_whole_episodes_are_held_out_of_both_kinds() -> None:
    episodes = [moments_of(np.zeros((1, 1)), [0], number < 6, number) for number in range(10)]
    learned, held_out = split(episodes, 0.3, 0)
    assert {one.episode.number for one in learned}.isdisjoint(one.episode.number for one in held_out)
    assert sum(one.episode.success for one in held_out) == 2
    assert len(held_out) == 3
    with pytest.raises(BadInput, match="too few"):
        split(episodes[5:], 0.3, 0)


def stored(store: Path, episodes: int, seed: int) -> None:
    """A square that comes into the picture at the end of successes, and stays away in failures."""
    rng = np.random.default_rng(seed)
    EpisodeStore.create(store)
    for number in range(episodes):
        success = number % 2 == 0
        episode = EpisodeLog(("j",), ("j",), 10.0)
        for step in range(24):
            picture = rng.integers(60, 90, (PX, PX, 3)).astype(np.uint8)
            if success and step > 17:
                picture[8:24, 8:24] = [230, 40, 40]
            episode.states.append(np.zeros(1))
            episode.actions.append(np.zeros(1))
            episode.pictures.append({"cam": picture})
        store_episode(episode, store, "show the square", "policy", success, ("cam",), "test")


def test_a_judge_is_collected_trained_and_checked_and_says_the_same_live(tmp_path: Path) -> None:
    rule = Labelling(positive_s=0.2, unsure_s=0.4, every=1)
    for name, seed in (("a", 0), ("b", 1)):
        stored(tmp_path / f"store_{name}", 8, seed)
        asked = CollectReward(
            stores=(tmp_path / f"store_{name}",), output=tmp_path / name, image_px=PX, labelling=rule
        )
        assert collect(asked) == 0
    training = TrainReward(data=(tmp_path / "a",), output=tmp_path / "judge", consecutive=2)
    assert train(training) == 0
    assert (tmp_path / "judge" / "reward.png").stat().st_size > 5000
    file = tmp_path / "check.json"
    assert check(CheckReward(reward=tmp_path / "judge", data=(tmp_path / "b",), json_file=file)) == 0
    found = configs.read(CheckFigures, file)
    assert (found.measured.true_successes, found.measured.false_successes) == (4, 0)

    model = load_reward(tmp_path / "judge")
    _, [first, *_] = open_all([tmp_path / "b"])
    judge, episode = Judge(model), EpisodeStore.open(tmp_path / "store_b").finished()[0]
    live = []
    for number in range(len(episode)):
        frame = episode.frame(number)
        judge.see(frame.observation.stamp_ns, frame.observation.images)
        live.append(judge.probability)
    assert np.allclose(live, model.probabilities(first.rows), atol=0.02)  # float16 on disk


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to collect from"):
        collect(CollectReward(output=tmp_path / "x"))
    with pytest.raises(BadInput, match="holds no labelled moments"):
        train(TrainReward(data=(tmp_path,), output=tmp_path / "judge"))
    with pytest.raises(BadInput, match=r"reward\.json"):
        load_reward(tmp_path)


def test_a_picture_of_no_camera_that_it_looks_through_is_refused() -> None:
    from rl_online.judge.model import RewardManifest, RewardView

    nothing = {"frames": 0, "frame_precision": 0, "frame_recall": 0, "episodes": 0, "true_successes": 0}
    nothing |= {"false_successes": 0, "missed": 0, "false_share": 0, "false_interval": (0, 1)}
    view = RewardView(cameras=("cam",), image_px=PX)
    manifest = RewardManifest.model_validate(
        {"task": "t", "view": view, "threshold": 0.5, "wanted_precision": 0.9, "held_out": nothing}
        | {"learned_episodes": 1, "mined_frames": 0, "data": "", "seed": 0}
    )
    judge = Judge(RewardModel(manifest, np.zeros(view.dims, np.float32), 0.0))
    with pytest.raises(BadInput, match="looks through 'cam'; there is: other"):
        judge.see(0, {"other": np.zeros((PX, PX, 3), np.uint8)})
