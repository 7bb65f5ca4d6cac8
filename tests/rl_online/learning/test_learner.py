"""Learner and actor in processes of their own: kills lose nothing that was acknowledged, and nobody waits for ever."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hardware import artefact
from hardware.errors import BadInput
from rl_online.actor import ActOnline, Actor
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.learning.agent import Agent, Stage
from rl_online.learning.env import ChunkEnv
from rl_online.learning.learner import Learner, LearnOnline, opened, require_inheritable
from rl_online.learning.link import (
    ADDRESS,
    FIRST_PAUSE_S,
    FOR_ACTORS,
    Address,
    LearnerLink,
    LearnerLost,
    LearnerServer,
    RunSettings,
    begin_anew,
    patiently,
)
from rl_online.learning.presets import PRESETS, Rewards
from rl_online.learning.replay import Mixture, Replay, Transitions
from rl_online.learning.run_folder import CHECKPOINT, DEMOS, ONLINE
from tests.rl_online.slider import SliderWorld, interface
from tests.rl_online.transitions import SHAPE, some
from tests.vla import small_policy
from vla.policy_file import load_policy, save_policy
from vla.tandem_vla import TandemVLA

SCRIPT = Path(__file__).parent / "learner_process.py"


class SmallDesk:
    """A replay without a learner behind it."""

    version = 3
    finished = False
    behind = 0

    def __init__(self, folder: Path) -> None:
        self.mixture = Mixture(Replay(folder / "demos", SHAPE), Replay(folder / "online", SHAPE))

    def add(self, rows: Transitions) -> int:
        return self.mixture.add(rows)

    def newest(self) -> tuple[int, bytes]:
        return 3, b"weights"


def test_what_is_added_is_acknowledged_once_it_is_stored(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    server = LearnerServer(desk, tmp_path)
    link = LearnerLink(tmp_path, timeout_s=5.0)
    rows = some(4, 1, "human")
    link.add(rows)
    link.add(rows)
    assert (len(desk.mixture.online), len(desk.mixture.demos), link.version) == (4, 4, 3)
    assert link.weights(have=2) == (3, b"weights")
    assert link.weights(have=3) is None
    link.close()
    server.close()
    desk.mixture.close()


def test_rows_of_another_shape_are_refused_in_words(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    server, link = LearnerServer(desk, tmp_path), LearnerLink(tmp_path, timeout_s=5.0)
    with pytest.raises(BadInput, match="'known' has rows of"):
        link.add(some(1, shape=SHAPE.but(known=5)))
    link.add(some(1))
    link.close()
    server.close()
    desk.mixture.close()


def test_an_actor_finds_a_learner_that_came_back_on_another_port(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    first = LearnerServer(desk, tmp_path)
    link = LearnerLink(tmp_path, timeout_s=5.0)
    link.add(some(1, 1))
    first.close()
    with pytest.raises(LearnerLost):
        link.add(some(1, 2))
    second = LearnerServer(desk, tmp_path)
    assert patiently(lambda: link.add(some(1, 3)), time.monotonic() + 20.0, lambda: False)
    assert len(desk.mixture.online) == 2
    link.close()
    second.close()
    desk.mixture.close()


def test_an_actor_waits_for_a_learner_that_is_behind_but_not_for_one_that_is_away(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    server = LearnerServer(desk, tmp_path)
    env = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98)
    actor = Actor(ActOnline(run=tmp_path, most_behind=5), small_policy.policy(), env, "policy")
    actor.have = 3  # the newest

    def waited(seconds: float) -> bool:
        """Whether it still does after so long."""
        thread = threading.Thread(target=actor.await_learning, daemon=True)
        actor.link.behind = desk.behind
        thread.start()
        thread.join(seconds)
        waits = thread.is_alive()
        desk.behind = 5
        thread.join(10)
        assert not thread.is_alive()
        return waits

    assert not waited(5.0)
    desk.behind = 6
    assert waited(0.5)
    desk.behind, desk.finished = 6, True
    assert not waited(5.0)
    desk.behind, desk.finished = 6, False
    actor.config = actor.config.but(patience_s=0.2)
    assert not waited(5.0)
    desk.behind = 6
    actor.config = actor.config.but(patience_s=60.0)
    server.close()
    assert not waited(10.0)
    actor.link.close()
    desk.mixture.close()


def test_who_was_busy_while_the_learner_finished_hears_of_it_later(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    server, link = LearnerServer(desk, tmp_path), LearnerLink(tmp_path, timeout_s=5.0)
    link.add(some(1))
    desk.finished = True
    server.close()
    for _ in range(2):  # the connection is closed; then the address is read again
        with pytest.raises(LearnerLost):
            link.add(some(1))
        time.sleep(0.3)
    assert link.finished
    desk.mixture.close()


def test_word_that_a_learner_has_finished_holds_until_the_next_one_comes(tmp_path: Path):
    link, asked = LearnerLink(tmp_path, timeout_s=0.5), [3, 2, 1]

    def ask() -> bool:
        """After the pause that it makes between attempts."""
        time.sleep(2 * FIRST_PAUSE_S * 2 ** asked.pop())
        with pytest.raises(LearnerLost):
            link.add(some(1))
        return link.finished

    artefact.write_model(tmp_path / ADDRESS, Address(port=1, process=1, finished=True))
    assert ask()
    begin_anew(tmp_path)
    assert not ask()
    artefact.write_model(tmp_path / ADDRESS, Address(port=1, process=1))
    begin_anew(tmp_path)
    assert (tmp_path / ADDRESS).is_file()
    assert not ask()


def test_an_actor_of_a_run_that_has_finished_says_so_and_acts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("rl_online.actor.NEXT_ROUND_S", 0.5)
    artefact.write_model(tmp_path / ADDRESS, Address(port=1, process=1, finished=True))
    env = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98)
    actor = Actor(ActOnline(run=tmp_path), small_policy.policy(), env, "policy")
    thread = threading.Thread(target=actor.act, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert actor.episodes == 0
    assert "more --transitions" in caplog.text


def test_an_actor_that_is_told_to_stop_while_it_waits_acts_no_more(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    desk.behind = 100
    server = LearnerServer(desk, tmp_path)
    env = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98)
    actor = Actor(ActOnline(run=tmp_path), small_policy.policy(), env, "policy")
    actor.have = 3
    thread = threading.Thread(target=actor.act, daemon=True)
    thread.start()
    time.sleep(0.5)
    actor.stopped = True
    thread.join(20)
    assert not thread.is_alive()
    assert actor.episodes == 0
    server.close()
    desk.mixture.close()


def test_an_answer_that_does_not_say_how_far_behind_it_is_is_no_answer(tmp_path: Path):
    desk = SmallDesk(tmp_path)
    server, link = LearnerServer(desk, tmp_path), LearnerLink(tmp_path, timeout_s=5.0)
    link.behind, desk.behind = 7, None  # type: ignore[assignment]
    with pytest.raises(LearnerLost, match="another version"):
        link.add(some(1))
    assert link.behind == 0
    server.close()
    desk.mixture.close()


def test_a_learner_that_never_answers_is_given_up_by_the_deadline(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        artefact.write_model(tmp_path / ADDRESS, Address(port=silent.getsockname()[1], process=1))
        began = time.monotonic()
        with pytest.raises(LearnerLost):
            LearnerLink(tmp_path, timeout_s=0.5).add(some(1))
        assert time.monotonic() - began < 5


def test_without_a_learner_asking_ends_when_told_to(tmp_path: Path):
    link = LearnerLink(tmp_path, timeout_s=0.5)
    assert not patiently(lambda: link.add(some(1)), time.monotonic() + 0.3, lambda: False)
    assert not patiently(lambda: link.add(some(1)), time.monotonic() + 60.0, lambda: True)


def prepared(folder: Path) -> TandemVLA:
    made = small_policy.policy()
    policy = TandemVLA(made.config.but(interface=small_policy.interface((), language=False)), made.fast, 0).eval()
    save_policy(policy, folder / "policy")
    log = EpisodeLog(("x", "y"), ("x", "y"), 10.0)
    for step in range(12):
        log.states.append(np.array([0.1 * step, 0.0]))
        log.actions.append(np.array([0.1 * step, 0.5]))
    store_episode(log, folder / "demos", "push", "scripted", True, (), "test")
    return policy


def start(folder: Path, transitions: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(transitions)], env=environment)


def test_a_run_goes_on_with_what_another_learned_and_tried(tmp_path: Path):
    policy, twin = prepared(tmp_path), tmp_path / "twin"
    agent = Agent(policy, PRESETS["twinrl"], seed=5)
    agent.save(twin / CHECKPOINT)
    artefact.write_model(twin / FOR_ACTORS, RunSettings(policy=tmp_path / "policy", preset="twinrl"))
    tried = some(6, shape=agent.shape)
    tried.episode[:], tried.success[:] = [0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 1, 1]
    shown = some(3, 7, "human", agent.shape)
    for name, rows in ((ONLINE, tried), (DEMOS, shown)):
        with contextlib.closing(Replay(twin / name, agent.shape)) as replay:
            replay.add(rows)
    config = LearnOnline(
        policy=tmp_path / "policy", output=tmp_path / "run", demos=(tmp_path / "demos",), inherit=twin,
        inherit_successes=1, inherit_failures=1,
    )  # fmt: skip
    for _ in range(2):  # the second time from the disk
        learner = Learner(config, load_policy(tmp_path / "policy"))
        assert learner.mixture.seeds is not None
        assert sorted(learner.mixture.seeds.column("id")) == sorted(tried.id[2:])
        assert sorted(learner.mixture.demos.column("id")) == sorted(shown.id)
        assert len(learner.mixture.online) == 0
        for mine, theirs in zip(learner.agent.critic.parameters(), agent.critic.parameters(), strict=True):
            assert torch.equal(mine, theirs)
        learner.keep()
        learner.close()
    with pytest.raises(BadInput, match="tried 2 successes; 3 are to be inherited"):
        require_inheritable(config.but(output=tmp_path / "other", inherit_successes=3))
    for changes in ({"preset": "hil_serl"}, {"process": {"weight": 5.0}}):
        paid = LearnOnline.model_validate(config.model_dump() | changes | {"output": tmp_path / "other"})
        with pytest.raises(BadInput, match="worth something else"):
            require_inheritable(paid)
    require_inheritable(config.but(inherit=tmp_path / "gone"))  # what it takes lies in this run already
    alone = config.but(output=tmp_path / "alone", inherit_shown=False)
    with contextlib.closing(Learner(alone, load_policy(tmp_path / "policy"))) as learner:
        assert len(learner.mixture.demos) == 0


def test_a_finer_stride_adds_what_an_inherited_one_left_out(tmp_path: Path):
    prepared(tmp_path)
    for stride, chunks in ((6, 2), (3, 4), (3, 4)):
        config = LearnOnline(
            policy=tmp_path / "policy", output=tmp_path / "run", demos=(tmp_path / "demos",), demo_stride=stride
        )
        with contextlib.closing(Learner(config, load_policy(tmp_path / "policy"))) as learner:
            learner.fill_demos(opened(config, learner.agent.reference))
            assert len(learner.mixture.demos) == chunks


def test_a_stop_while_offline_loses_no_more_than_the_time_between_two_checkpoints(tmp_path: Path):
    prepared(tmp_path)
    config = LearnOnline(
        policy=tmp_path / "policy", output=tmp_path / "run", demos=(tmp_path / "demos",), offline_steps=6,
        checkpoint_every_s=1e-6,
    )  # fmt: skip

    class Stopped(Exception):
        pass

    class Killed(Learner):
        def update(self, stage: Stage) -> None:
            if self.agent.progress.offline_updates == 4:
                raise Stopped
            super().update(stage)

    for kind, raises in ((Killed, pytest.raises(Stopped)), (Learner, contextlib.nullcontext())):
        with contextlib.closing(kind(config, load_policy(tmp_path / "policy"))) as learner:
            assert learner.agent.progress.offline_updates == (0 if kind is Killed else 4)
            learner.fill_demos(opened(config, learner.agent.reference))
            with raises:
                learner.go_offline()
    assert learner.agent.progress.offline_updates == 6


@pytest.mark.parametrize("tried", [4, 3])
def test_a_learner_that_has_all_it_waits_for_catches_up_though_nobody_is_left(tmp_path: Path, tried: int):
    prepared(tmp_path)
    config = LearnOnline(
        policy=tmp_path / "policy", output=tmp_path / "run", demos=(tmp_path / "demos",), transitions=4,
        idle_timeout_s=1e-6,
    )  # fmt: skip
    with contextlib.closing(Learner(config, load_policy(tmp_path / "policy"))) as learner:
        learner.add(some(tried, shape=learner.agent.shape))
        assert learner.go_online() == (tried == 4)
        if tried == 4:
            assert learner.agent.progress.critic_updates == 8


@pytest.mark.slow
def test_kill_9_of_the_learner_loses_nothing_that_was_acknowledged(tmp_path: Path):
    shape = Agent(prepared(tmp_path), PRESETS["twinrl"]).shape
    link = LearnerLink(tmp_path / "run", timeout_s=10.0)
    acknowledged: list[int] = []
    process = start(tmp_path, 30)
    for number in range(10):
        rows = some(3, number, "human" if number % 3 == 0 else "policy", shape)
        assert patiently(lambda rows=rows: link.add(rows), time.monotonic() + 90.0, lambda: False)
        acknowledged += rows.id.tolist()
        if number in (2, 5):
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            process = start(tmp_path, 30)
    assert process.wait(90) == 0
    link.close()
    online = Replay(tmp_path / "run" / "online", shape)
    ids = online.column("id").tolist()
    assert sorted(ids) == sorted(acknowledged)
    online.close()
    before = load_policy(tmp_path / "policy").consistency_head.state_dict()
    after = load_policy(tmp_path / "run" / "policy").consistency_head.state_dict()
    assert any(not np.array_equal(before[name], after[name]) for name in before)
