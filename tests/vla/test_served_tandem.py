"""A stored policy answers over the wire's messages what it answers in the process."""

from pathlib import Path

import numpy as np
import pytest
import small_policy

from hardware.errors import BadInput
from vla import exchange, policy_file, wire
from vla.served import BatchedPolicy, open_policy


@pytest.fixture
def served(tmp_path) -> BatchedPolicy:
    policy_file.save_policy(small_policy.policy(seed=2), tmp_path / "policy")
    opened = open_policy("policy", tmp_path / "policy")
    assert isinstance(opened, BatchedPolicy)
    return opened


def test_the_answer_is_the_policys_own_chunk(served: BatchedPolicy) -> None:
    observation = small_policy.observation()
    message = wire.unpack(wire.pack(exchange.message(observation)))
    answer = served.infer(message)
    said = exchange.facts(served.metadata)
    assert said is not None
    chunk = exchange.chunk(answer, observation.stamp_ns, said, said)
    [own] = small_policy.policy(seed=2).chunk([observation])
    np.testing.assert_array_equal(chunk.values, own.values)
    assert (chunk.names, chunk.rate_hz, chunk.space) == (own.names, own.rate_hz, own.space)


def test_several_questions_get_each_their_own_answer(served: BatchedPolicy) -> None:
    messages = [exchange.message(small_policy.observation(q_rad=np.array([q, -q]))) for q in (0.1, 0.5, 0.9)]
    together = served.infer_batch(messages)
    for message, answer in zip(messages, together, strict=True):
        np.testing.assert_allclose(served.infer(message)["actions"], answer["actions"], atol=1e-5)


def test_what_is_missing_is_said(served: BatchedPolicy) -> None:
    with pytest.raises(BadInput, match="looks through 'front'"):
        served.infer(exchange.message(small_policy.observation(images={}, image_stamps_ns={})))
    with pytest.raises(BadInput, match="no TandemVLA policy"):
        open_policy("policy", Path("nowhere"))
