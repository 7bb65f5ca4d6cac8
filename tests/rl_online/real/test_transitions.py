"""A recorded episode as rows for the replay: cut where somebody takes over, the same rows whenever it is asked."""

from pathlib import Path

import numpy as np
import pytest

from hardware.dataset.frame_grid import SOURCES, Alignment
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from rl_online.learning.presets import preset
from rl_online.real.transitions import columns, of_episode, until_change
from tests.vla import small_policy

ALGORITHM = preset("twinrl")
POLICY, SCRIPTED = SOURCES.index("policy"), SOURCES.index("scripted")


def recorded(store: Path, who: str, success: bool | None) -> StoredEpisode:
    """At 10 Hz, a letter of `who` for each step: p(olicy) or s(cripted); columns in another order than the policy's."""
    EpisodeStore.create(store)
    period_s = 0.1
    alignment = Alignment(
        rate_hz=10.0, joint_tolerance_s=period_s, sent_tolerance_s=0.2, picture_tolerance_s=period_s
    )
    recording = Recording(
        store,
        "push the dot",
        ("front",),
        ("y", "x"),
        ("y", "x"),
        "test",
        config=RecordingConfig(alignment=alignment),
    )
    for step, letter in enumerate(who):
        stamp_ns = (step + 1) * 100_000_000
        recording.joint(stamp_ns, np.array([0.5, 0.01 * step]))
        recording.sent(stamp_ns, np.array([-0.5, 0.02 * step]), "scripted" if letter == "s" else "policy")
        recording.image("front", stamp_ns, np.full((48, 64, 3), step * 9, np.uint8))
    return recording.finish(success)


def test_how_long_the_same_one_acts() -> None:
    assert until_change(np.array([0, 0, 0, 2, 2, 0])).tolist() == [3, 2, 1, 2, 1, 1]


def test_a_chunk_ends_where_somebody_takes_over(tmp_path: Path) -> None:
    """H is 6. Of pppppppp ssss pppp (one frame is lost at the end: its command's answer was never seen)."""
    stored = recorded(tmp_path, "ppppppppsssspppp", True)
    rows = of_episode(stored, small_policy.policy(), ALGORITHM, "robot", stride=4)
    assert rows is not None
    total = len(stored)
    who = stored.index.source
    assert rows.source.tolist() == [int(who[begin]) for begin in range(0, total - 1, 4)]
    for row, begin in enumerate(range(0, total - 1, 4)):
        executed = int(rows.executed[row])
        assert executed == min(6, until_change(who)[begin])
        assert len(set(who[begin : begin + executed].tolist())) == 1
    assert rows.is_correction.any()
    assert rows.terminated.sum() == rows.terminated[-1].sum() == 1
    last = int(rows.executed[-1]) - 1
    assert rows.rewards[-1, last] == ALGORITHM.rewards.success
    assert not rows.rewards[-1, last + 1 :].any()


@pytest.mark.parametrize(("success", "ends_alone"), [(True, True), (False, False), (None, False)])
def test_what_led_to_a_takeover_is_not_imitated(tmp_path: Path, success: bool | None, ends_alone: bool) -> None:
    """Corrections always are; what the policy did after the last of them where it ended well."""
    stored = recorded(tmp_path, "ppppppppsssspppp", success)
    rows = of_episode(stored, small_policy.policy(), ALGORITHM, "robot", stride=2)
    assert rows is not None
    begins = np.arange(0, len(stored) - 1, 2)
    first, last = (int(np.flatnonzero(rows.is_correction)[place]) for place in (0, -1))
    assert not rows.imitate[:first].any()
    assert rows.imitate[first : last + 1].all()
    assert begins[last] < len(stored) - 3
    assert rows.imitate[last + 1 :].tolist() == [ends_alone] * (len(rows) - last - 1)


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    stored = recorded(tmp_path, "p" * 12, False)
    rows = of_episode(stored, small_policy.policy(), ALGORITHM, "robot", stride=3)
    assert rows is not None
    assert np.allclose(rows.known[:, 3], 0.5, atol=1e-6)  # x, y of the policy behind its position; ranges are ±1
    assert np.allclose(rows.actions[:, :, 1], -0.5, atol=1e-6)
    with pytest.raises(BadInput, match="the policy has 'z'"):
        columns(np.zeros((2, 2)), ("x", "y"), ("x", "z"))


def test_a_time_out_bootstraps_and_an_episode_without_a_verdict_promises_nothing(tmp_path: Path) -> None:
    failed = of_episode(recorded(tmp_path / "a", "p" * 12, False), small_policy.policy(), ALGORITHM, "robot", 3)
    cut_off = of_episode(recorded(tmp_path / "b", "p" * 12, None), small_policy.policy(), ALGORITHM, "robot", 3)
    assert failed is not None
    assert cut_off is not None
    assert not failed.terminated.any()
    assert failed.success.tolist() == [0] * len(failed)
    assert failed.floor[-1] == pytest.approx(ALGORITHM.rewards.step / (1 - ALGORITHM.gamma), rel=1e-5)
    assert np.isneginf(cut_off.floor).all()
    assert cut_off.success.tolist() == [-1] * len(cut_off)


def test_the_same_episode_gives_the_same_ids_and_the_twins_are_its_own(tmp_path: Path) -> None:
    stored = recorded(tmp_path, "p" * 12, True)
    policy = small_policy.policy()
    once, again = (of_episode(stored, policy, ALGORITHM, "robot", 3) for _ in range(2))
    twin = of_episode(stored, policy, ALGORITHM, "twin", 3, source="twin")
    assert once is not None
    assert again is not None
    assert twin is not None
    assert once.id.tolist() == again.id.tolist()
    assert not set(once.id.tolist()) & set(twin.id.tolist())
    assert set(twin.source.tolist()) == {SOURCES.index("twin")}
