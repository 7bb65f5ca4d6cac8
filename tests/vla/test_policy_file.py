"""A stored policy is the same policy, and nothing else is taken for one."""

import json

import numpy as np
import pytest
import small_policy
import torch

from hardware.errors import BadInput
from vla import policy_file


@pytest.mark.parametrize("unfrozen", [False, True])
def test_a_stored_policy_acts_the_same(tmp_path, unfrozen: bool) -> None:
    policy = small_policy.policy(seed=3, unfrozen_encoder=unfrozen)
    if unfrozen:
        with torch.no_grad():
            policy.encoder.network.stem.weight.add_(0.1)
    policy_file.save_policy(policy, tmp_path / "p")
    again = policy_file.load_policy(tmp_path / "p")
    observations = small_policy.batch(2)
    np.testing.assert_array_equal(again.act(observations), policy.act(observations))
    assert torch.equal(again.embed(observations), policy.embed(observations))
    assert again.config == policy.config
    assert again.encoder.frozen != unfrozen


def test_a_frozen_encoder_is_not_stored(tmp_path) -> None:
    policy_file.save_policy(small_policy.policy(), tmp_path / "p")
    assert (tmp_path / "p" / "model.safetensors").stat().st_size < 1_000_000
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == [
        "config.json",
        "model.safetensors",
        "policy_postprocessor.json",
        "policy_preprocessor.json",
        "tandem.json",
        "tokens.json",
    ]


def test_a_policy_of_another_version_is_refused(tmp_path) -> None:
    policy_file.save_policy(small_policy.policy(), tmp_path / "p")
    file = tmp_path / "p" / "tandem.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 7, "a_key_of_the_future": 1}))
    with pytest.raises(BadInput, match="policy format 7, this program reads 2"):
        policy_file.load_policy(tmp_path / "p")


def test_parts_that_do_not_fit_are_refused(tmp_path) -> None:
    policy_file.save_policy(small_policy.policy(), tmp_path / "p")
    policy_file.save_policy(small_policy.policy(cameras=("a", "b")), tmp_path / "q")
    (tmp_path / "p" / "model.safetensors").write_bytes((tmp_path / "q" / "model.safetensors").read_bytes())
    with pytest.raises(BadInput, match="do not fit the config"):
        policy_file.load_policy(tmp_path / "p")
    (tmp_path / "p" / "model.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(BadInput, match="cannot read"):
        policy_file.load_policy(tmp_path / "p")
    with pytest.raises(BadInput, match="no TandemVLA policy"):
        policy_file.load_policy(tmp_path)


def test_a_device_that_is_not_there_is_named(tmp_path) -> None:
    policy_file.save_policy(small_policy.policy(), tmp_path / "p")
    with pytest.raises(BadInput, match="no device 'tpu' here"):
        policy_file.load_policy(tmp_path / "p", "tpu")
