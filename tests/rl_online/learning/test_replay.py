"""The replay keeps what it acknowledged through any kill, once each, and mixes half and half."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr

from hardware.errors import BadInput
from rl_online.learning.replay import CHUNK_ROWS, Mixture, Replay, episodes_of, joined, new_ids, read_all
from tests.rl_online.transitions import SHAPE, some

SCRIPT = Path(__file__).parent / "append_until_killed.py"


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path: Path):
    rows = some(5)
    replay = Replay(tmp_path / "r", SHAPE)
    assert replay.add(rows) == 5
    replay.close()
    again = Replay(tmp_path / "r", SHAPE)
    back = again.rows(np.arange(5))
    for name, values in rows.columns().items():
        assert np.array_equal(getattr(back, name), values), name
    again.close()


def test_a_transition_offered_twice_is_stored_once_also_after_a_restart(tmp_path: Path):
    rows = some(4)
    replay = Replay(tmp_path / "r", SHAPE)
    assert replay.add(joined([rows, rows.take(np.array([0, 1]))])) == 4
    replay.close()
    again = Replay(tmp_path / "r", SHAPE)
    assert again.add(rows) == 0
    assert len(again) == 4
    again.close()


def test_rows_go_on_over_the_end_of_a_file_and_are_plain_zarr(tmp_path: Path):
    replay = Replay(tmp_path / "r", SHAPE)
    parts = [some(CHUNK_ROWS - 1, 1), some(3, 2)]
    for part in parts:
        replay.add(part)
    replay.close()
    expected = joined(parts)
    group = zarr.open_group(tmp_path / "r", mode="r")
    stored = np.asarray(group["segments/000000/actions"])[: len(expected)]
    assert np.array_equal(stored, expected.actions)
    again = Replay(tmp_path / "r", SHAPE)
    assert np.array_equal(again.column("id"), expected.id)
    again.close()


def test_a_torn_tail_is_not_read_and_the_next_writer_leaves_it_alone(tmp_path: Path):
    replay = Replay(tmp_path / "r", SHAPE)
    replay.add(some(2, 1))
    replay._writers["id"].append(new_ids(1))  # as if killed before the commit
    replay.close()
    again = Replay(tmp_path / "r", SHAPE)
    assert len(again) == 2
    again.add(some(3, 2))
    again.close()
    last = Replay(tmp_path / "r", SHAPE)
    assert len(last) == 5
    last.close()


def test_two_processes_do_not_write_the_same_replay(tmp_path: Path):
    first = Replay(tmp_path / "r", SHAPE)
    with pytest.raises(BadInput, match="another process writes"):
        Replay(tmp_path / "r", SHAPE)
    first.close()


def test_chunks_of_another_policy_are_refused(tmp_path: Path):
    Replay(tmp_path / "r", SHAPE).close()
    with pytest.raises(BadInput, match="another policy"):
        Replay(tmp_path / "r", SHAPE.but(embedding="other"))


def test_a_number_that_is_not_finite_is_refused_and_nothing_of_it_is_stored(tmp_path: Path):
    replay, rows = Replay(tmp_path / "r", SHAPE), some(2)
    rows.rewards[1, 0] = np.nan
    with pytest.raises(BadInput, match="'rewards'"):
        replay.add(rows)
    assert len(replay) == 0
    replay.close()


@pytest.fixture
def mixture(tmp_path: Path):
    made = Mixture(Replay(tmp_path / "demos", SHAPE), Replay(tmp_path / "online", SHAPE))
    yield made
    made.close()


def test_a_batch_is_half_demonstrations_and_half_tried(mixture: Mixture):
    demos, tried = some(3, 1, "twin"), some(50, 2)
    mixture.demos.add(demos)
    mixture.online.add(tried)
    batch = mixture.sample(65, np.random.default_rng(0))
    assert np.isin(batch.id, demos.id).sum() == 33
    assert np.isin(batch.id, tried.id).sum() == 32


def test_seeds_belong_to_the_half_that_was_tried(tmp_path: Path):
    parts = [Replay(tmp_path / name, SHAPE) for name in ("demos", "online", "seeds")]
    demos, online, seeds = [some(count, count, "policy") for count in (3, 30, 10)]
    for replay, rows in zip(parts, (demos, online, seeds), strict=True):
        replay.add(rows)
    seeded = Mixture(*parts)
    batch = seeded.sample(801, np.random.default_rng(0))
    assert np.isin(batch.id, demos.id).sum() == 401
    assert 60 < np.isin(batch.id, seeds.id).sum() < 140  # 400 · 10 / 40 = 100 ± 4.6 deviations
    assert set(batch.id) <= {*demos.id, *online.id, *seeds.id}
    seeded.close()


def test_the_newest_whole_episodes_of_a_kind_are_taken(tmp_path: Path):
    rows = some(9)
    rows.episode[:] = [0, 0, 1, 2, 2, 2, 3, 3, 4]
    rows.success[:] = [1, 1, 0, 1, 1, 1, 0, 0, 1]
    replay = Replay(tmp_path / "r", SHAPE)
    replay.add(rows)
    stored = read_all(tmp_path / "r")  # while the other writes
    assert episodes_of(stored, True, 2).id.tolist() == rows.id[[3, 4, 5, 8]].tolist()
    assert episodes_of(stored, False, 5).id.tolist() == rows.id[[2, 6, 7]].tolist()
    assert len(episodes_of(stored, True, 0)) == 0
    replay.close()


def test_before_anything_was_tried_the_batch_is_all_demonstrations(mixture: Mixture):
    mixture.demos.add(some(3, 1, "twin"))
    assert len(mixture.sample(8, np.random.default_rng(0))) == 8


def test_interventions_enter_both_and_the_policys_own_only_the_online_one(mixture: Mixture):
    mixture.add(joined([some(4, 1, "human"), some(6, 2, "policy")]))
    assert (len(mixture.demos), len(mixture.online)) == (4, 10)


def test_an_intervention_that_reached_one_replay_before_a_kill_ends_in_each_once(mixture: Mixture):
    rows = some(4, 1, "human")
    mixture.demos.add(rows)  # killed here; the actor offers them again
    assert mixture.add(rows) == 4
    assert (len(mixture.demos), len(mixture.online)) == (4, 4)


def test_acknowledged_transitions_survive_kill_9(tmp_path: Path):
    acknowledged: list[tuple[int, int]] = []
    for round_number in range(3):
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, str(SCRIPT), str(tmp_path), str(1000 * round_number)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        for _ in range(20 + 7 * round_number):
            one, human = process.stdout.readline().split()
            acknowledged.append((int(one), int(human)))
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                acknowledged.append((int(line.split()[0]), int(line.split()[1])))
        process.stdout.close()
        process.wait(10)
    online, demos = Replay(tmp_path / "online", SHAPE), Replay(tmp_path / "demos", SHAPE)
    ids, corrections = online.column("id").tolist(), demos.column("id").tolist()
    assert {one for one, _ in acknowledged} <= set(ids)
    assert {one for one, human in acknowledged if human} <= set(corrections)
    assert len(ids) == len(set(ids))
    assert len(corrections) == len(set(corrections))
    online.close()
    demos.close()


def test_a_replay_of_an_earlier_version_is_refused_by_name(tmp_path: Path):
    with closing(Replay(tmp_path / "r", SHAPE)) as made:
        made.add(some(3))
    [column] = (tmp_path / "r").rglob("imitate")
    shutil.rmtree(column)
    with pytest.raises(BadInput, match="no column 'imitate'"):
        Replay(tmp_path / "r", SHAPE)
    file = tmp_path / "r" / "zarr.json"
    file.write_text(re.sub(r'"format":\s*2', '"format": 1', file.read_text()))
    with pytest.raises(BadInput, match=r"no replay of this version.*format: Input should be 2"):
        Replay(tmp_path / "r", SHAPE)
