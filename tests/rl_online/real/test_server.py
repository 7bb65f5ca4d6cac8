"""Whom the policy server of a guided run asks: the words of the question say which way."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hardware import cell as cells
from hardware.errors import BadInput
from rl_online.learning.agent import Agent
from rl_online.learning.presets import preset
from rl_online.real.bench import ScriptedWayBack
from rl_online.real.config import ACCEPTED
from rl_online.real.server import ActingPolicy, BothWays
from tests.vla import small_policy
from vla import exchange


class Back:
    def infer(self, observation: dict) -> dict:
        return {exchange.ACTIONS: np.full((2, 2), 7.0)}


def question(words: str) -> Mapping[str, object]:
    return {
        exchange.STATE: np.array([0.1, 0.2], np.float32),
        exchange.PROMPT: words,
        exchange.JOINTS: ["x", "y"],
        exchange.STAMP: 5,
        exchange.IMAGE_STAMPS: {"front": 5},
        "observation/front": np.zeros((48, 64, 3), np.uint8),
    }


def test_only_the_words_of_the_way_back_ask_another(tmp_path: Path) -> None:
    forward = ActingPolicy(small_policy.policy(), tmp_path, None, seed=0, accepted=None)
    both = BothWays(forward, "take it out again", Back())
    assert both.metadata == forward.metadata
    assert np.array_equal(both.infer(dict(question("take it out again")))[exchange.ACTIONS], np.full((2, 2), 7.0))
    for words in ("push the dot", "take it out"):
        actions = both.infer(dict(question(words)))[exchange.ACTIONS]
        assert actions.shape == (small_policy.policy().interface.horizon_steps, 2)
        assert np.abs(actions).max() < 7.0


def test_weights_of_the_gate_never_reach_the_policy_of_the_way_back(tmp_path: Path) -> None:
    """It has no file to take them from; the task's own takes what lies in its file."""
    policy = small_policy.policy()
    published = Agent(policy, preset("twinrl")).published()
    (tmp_path / ACCEPTED).write_bytes(published)
    back = ActingPolicy(policy, tmp_path, None, seed=0, accepted=None)
    back.take_accepted()
    assert back._taken is None
    forward = ActingPolicy(policy, tmp_path, None, seed=0, accepted=tmp_path / ACCEPTED)
    forward.take_accepted()
    assert forward._taken is not None


def test_no_script_undoes_a_task_on_a_real_cell(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no bench"):
        ScriptedWayBack(cells.load("so101"), tmp_path, small_policy.policy().interface)
