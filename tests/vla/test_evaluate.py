"""Evaluation counts every trial once, goes on where it was stopped, and never mixes two policies."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import small_policy

from hardware.errors import BadInput
from vla import evaluate, policy_file
from vla.environments import environment, peer
from vla.environments.environment import Ask, Environment
from vla.evaluate import EvaluatePolicy
from vla.outcomes import read as read_outcomes
from vla.policy import Interface

TRIALS: list[tuple[str, int]] = []
"""What the environment below was asked to run."""


class Coins:
    """Trial k succeeds where k is even, if the policy's chunk fits; trial 3 of `late` breaks once."""

    tasks = ("early", "late")
    breaks = False

    def trial(self, task: str, number: int, ask: Ask) -> bool:
        if self.breaks and (task, number) == ("late", 1):
            raise KeyboardInterrupt
        TRIALS.append((task, number))
        chunk = ask(small_policy.observation())
        assert chunk.values.shape == (small_policy.H, small_policy.D)
        return number % 2 == 0

    def close(self) -> None:
        pass


def open_coins(interface: Interface, seed: int) -> Environment:
    assert interface.action_names == ("x", "y")
    return Coins()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatePolicy:
    TRIALS.clear()
    monkeypatch.setitem(environment.ENVIRONMENTS, "coins", f"{__name__}:open_coins")
    policy_file.save_policy(small_policy.policy(), tmp_path / "p")
    return EvaluatePolicy(policy=tmp_path / "p", env="coins", trials=3, json_file=tmp_path / "eval.json")


def test_successes_are_counted_by_task_with_their_intervals(config: EvaluatePolicy) -> None:
    assert evaluate.run(config) == 0
    assert config.json_file is not None
    found = json.loads(config.json_file.read_text())["tasks"]
    assert found["early"]["outcomes"] == [1, 0, 1]
    low, high = found["late"]["wilson_95"]
    # Wilson, 2 of 3, z = 1.96: centre (2/3 + 1.9207/3)/(1 + 3.8415/3) = 0.573, half width 0.366
    assert (round(low, 2), round(high, 2)) == (0.21, 0.94)
    assert read_outcomes(config.json_file)["late"].successes == 2


def test_a_stopped_evaluation_goes_on(config: EvaluatePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coins, "breaks", True)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config)
    monkeypatch.setattr(Coins, "breaks", False)
    evaluate.run(config)
    assert TRIALS == [("early", 0), ("early", 1), ("early", 2), ("late", 0), ("late", 1), ("late", 2)]
    evaluate.run(config.but(trials=4))
    assert TRIALS[6:] == [("early", 3), ("late", 3)]


def test_a_file_of_another_policy_or_environment_is_refused(config: EvaluatePolicy, tmp_path: Path) -> None:
    evaluate.run(config)
    policy_file.save_policy(small_policy.policy(seed=9), tmp_path / "q")
    with pytest.raises(BadInput, match="is of another policy"):
        evaluate.run(config.but(policy=tmp_path / "q"))
    voice = policy_file.load_policy(config.policy)
    voice.config = voice.config.but(voice="tokens")
    policy_file.save_policy(voice, tmp_path / "r")
    with pytest.raises(BadInput, match="is of another policy"):
        evaluate.run(config.but(policy=tmp_path / "r"))
    with pytest.raises(BadInput, match="is of another seed"):
        evaluate.run(config.but(seed=4))


def test_what_is_not_there_is_said_with_the_choices(config: EvaluatePolicy, tmp_path: Path) -> None:
    config = config.but(json_file=None)
    with pytest.raises(BadInput, match="no task 'never'; have: early, late"):
        evaluate.run(config.but(tasks=("never",)))
    with pytest.raises(BadInput, match="no environment 'moon'; have: bench, twin, coins, metaworld"):
        evaluate.run(config.but(env="moon"))
    with pytest.raises(BadInput, match="cannot import the environment"):
        evaluate.run(config.but(env="no.such.module:open"))
    with pytest.raises(BadInput, match="is no command: No closing quotation"):
        evaluate.run(config.but(peer_command="python 'my bench/peer.py"))
    with pytest.raises(BadInput, match="holds no policy"):
        evaluate.run(config.but(policy=tmp_path / "nothing"))
    with pytest.raises(BadInput, match="no camera 'front' on the bench; have: cam_front"):
        evaluate.run(config.but(env="bench"))


PEER = """
import argparse, json, pathlib, sys
import numpy as np
sys.path.insert(0, {root!r})
from vla.client import PolicyClient
flags = argparse.ArgumentParser()
for name in ("--port", "--trials"):
    flags.add_argument(name, type=int)
flags.add_argument("--json", type=pathlib.Path)
flags.add_argument("--tasks", nargs="*")
given = flags.parse_args()
client = PolicyClient(port=given.port, connect_timeout_s=30)
asked = {{
    "observation/state": np.array([0.1, 0.2], np.float32),
    "observation/front": np.zeros((64, 64, 3), np.uint8),
    "prompt": "push the dot",
    "tandem/joint_names": ["x", "y"],
    "tandem/stamp_ns": 1,
    "tandem/image_stamps_ns": {{"front": 1}},
}}
right = [client.infer(asked, 60)["actions"].shape == (6, 2) for _ in range(given.trials)]
client.close()
tasks = {{task: {{"successes": sum(right), "trials": len(right)}} for task in given.tasks}}
given.json.write_text(json.dumps({{"tasks": tasks}}))
"""


def test_a_peer_does_not_go_on_with_what_a_removed_evaluation_left(
    config: EvaluatePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = []

    def run(command, policy, where, file: Path, tasks, trials) -> None:
        went_on.append(file.exists())
        file.write_text(json.dumps({"tasks": {"a": {"successes": 1, "trials": 2}}}))

    monkeypatch.setattr(peer, "run", run)
    assert config.json_file is not None
    for _ in range(2):
        evaluate.run(config.but(peer_command="bench"))
    config.json_file.unlink()
    evaluate.run(config.but(peer_command="bench"))
    assert went_on == [False, True, False]


def test_every_outside_benchmark_has_its_program_and_its_lock() -> None:
    for folder, program in peer.PEERS.values():
        assert (peer.ROOT / folder / program).is_file()
        assert (peer.ROOT / folder / "uv.lock").is_file()


def test_an_outside_program_asks_over_the_websocket(config: EvaluatePolicy, tmp_path: Path) -> None:
    script = tmp_path / "my bench" / "peer.py"
    script.parent.mkdir()
    script.write_text(PEER.format(root=str(Path(__file__).parents[2])))
    evaluate.run(config.but(peer_command=shlex.join([sys.executable, str(script)]), tasks=("a",), trials=2))
    assert config.json_file is not None
    assert json.loads(config.json_file.read_text())["tasks"]["a"]["successes"] == 2
