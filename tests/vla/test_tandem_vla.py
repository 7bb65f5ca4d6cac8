"""TandemVLA as a whole: deterministic, row by row, with as many cameras as there are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_policy
import torch
from small_policy import D, H

from hardware.errors import BadInput
from vla import encoders, tandem_vla
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy import Batch, ObservationBatch
from vla.tandem_vla import TandemVLA


def demonstrated(observations: ObservationBatch, seed: int = 0) -> Batch:
    count = len(observations)
    return Batch(observations, small_policy.smooth_chunks(count, seed), np.zeros((count, H), bool))


def wake(policy: TandemVLA) -> TandemVLA:
    """The consistency head starts at zero; some weight lets its inputs through."""
    torch.manual_seed(1)
    torch.nn.init.normal_(policy.consistency_head.outward.weight, std=0.2)
    return policy


def test_a_chunk_is_what_the_interface_says() -> None:
    policy = small_policy.policy()
    [chunk] = policy.chunk([small_policy.observation(stamp_ns=77)])
    assert chunk.start_ns == 77
    assert chunk.names == ("x", "y")
    assert chunk.space == "joint_pos_rad"
    assert chunk.rate_hz == 10.0
    assert chunk.values.shape == (H, D)


@pytest.mark.parametrize("voice", ["consistency", "tokens"])
def test_the_same_seed_gives_the_same_chunks(voice: str) -> None:
    observations = small_policy.batch(2)
    first, again = (wake(small_policy.policy(3, voice=voice)).act(observations) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = wake(small_policy.policy(4, voice=voice)).act(observations)
    assert np.abs(first - other).max() > 0


def test_building_one_leaves_the_worlds_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small_policy.policy(seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("voice", ["consistency", "tokens"])
def test_a_row_does_not_depend_on_the_rest_of_its_batch(voice: str) -> None:
    policy = wake(small_policy.policy(voice=voice))
    observations = small_policy.batch(4)
    whole = policy.act(observations)
    for row in range(4):
        alone = ObservationBatch(
            observations.state[row : row + 1],
            {name: images[row : row + 1] for name, images in observations.images.items()},
            observations.instructions[:1],
        )
        np.testing.assert_allclose(policy.act(alone)[0], whole[row], atol=1e-5)


@pytest.mark.parametrize("cameras", [(), ("a",), ("a", "b"), ("a", "b", "c")])
def test_it_acts_and_learns_with_any_number_of_cameras(cameras: tuple[str, ...]) -> None:
    policy = small_policy.policy(cameras=cameras)
    observations = small_policy.batch(2, cameras)
    assert policy.act(observations).shape == (2, H, D)
    losses = policy.loss(demonstrated(observations), seed=0)
    losses.total.backward()
    assert all(
        parameter.grad is not None
        for name, parameter in policy.backbone.layers.named_parameters()
        if "weight" in name
    )
    unused = [
        name for name, weight in policy.backbone.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert not unused, "several GPUs wait for the gradient of each"


def test_every_input_matters() -> None:
    policy = wake(small_policy.policy())
    base = small_policy.batch(1)
    dark = {"front": np.zeros_like(base.images["front"])}
    others = [
        ObservationBatch(base.state + 0.5, base.images, base.instructions),
        ObservationBatch(base.state, dark, base.instructions),
        ObservationBatch(base.state, base.images, ("open the drawer",)),
    ]
    for other in others:
        assert np.abs(policy.act(base) - policy.act(other)).max() > 1e-6
        assert (policy.embed(base) - policy.embed(other)).abs().max() > 1e-6


def test_features_computed_before_act_as_the_pictures_do() -> None:
    policy = wake(small_policy.policy(cameras=("a", "b")))
    observations = small_policy.batch(2, ("a", "b"))
    features = policy.inputs(observations).features
    cached = ObservationBatch(observations.state, {}, observations.instructions, features=features)
    np.testing.assert_array_equal(policy.act(cached), policy.act(observations))


def test_pictures_shrink_on_the_processor_before_they_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA has no kernel for it; here `meta` is the other device."""
    policy = small_policy.policy().to("meta")
    size = encoders.feature_size(small_policy.PX)
    monkeypatch.setattr(policy.encoder, "forward", lambda rgb: torch.zeros(len(rgb), size, device=rgb.device))
    shrunk = []

    def resized(rgb: torch.Tensor, image_px: int) -> torch.Tensor:
        shrunk.append(rgb.device.type)
        return encoders.resized(rgb, image_px)

    monkeypatch.setattr(tandem_vla, "resized", resized)
    large = {"front": np.zeros((2, 48, 80, 3), np.uint8)}
    features = policy._features(ObservationBatch(np.zeros((2, 2), np.float32), large, ("push",) * 2))
    assert shrunk == ["cpu"]
    assert features.device.type == "meta"


def test_two_arms_share_a_policy_and_keep_their_own_ranges() -> None:
    wide = Quantiles(low=(-10.0, -10.0), high=(10.0, 10.0))
    both = {"small": small_policy.unit(), "wide": DatasetQuantiles(state=wide, action=wide)}
    policy = wake(small_policy.policy(normalisation=both))
    base = small_policy.batch(2)
    state = np.stack([base.state[0], base.state[0] * 10])
    same_picture = {"front": base.images["front"][[0, 0]]}
    actions = policy.act(ObservationBatch(state, same_picture, base.instructions, ("small", "wide")))
    np.testing.assert_allclose(actions[1], actions[0] * 10, rtol=1e-4, atol=1e-5)


def test_the_loss_is_drawn_by_its_seed() -> None:
    policy, batch = small_policy.policy(), demonstrated(small_policy.batch(4))
    assert policy.loss(batch, 1).parts == policy.loss(batch, 1).parts
    assert policy.loss(batch, 1).parts["consistency"] != policy.loss(batch, 2).parts["consistency"]


def test_a_head_without_weight_is_not_trained() -> None:
    policy = small_policy.policy(token_weight=0.0)
    losses = policy.loss(demonstrated(small_policy.batch(2)), 0)
    losses.total.backward()
    assert set(losses.parts) == {"consistency", "total"}
    assert all(parameter.grad is None for parameter in policy.token_head.parameters())


def test_tokens_are_learned_from_a_share_of_the_batch() -> None:
    whole, half = small_policy.policy(), small_policy.policy(token_share=0.5).train()
    batch = demonstrated(small_policy.batch(4))
    actions = whole._demonstrated(batch)
    context = whole.context(whole.inputs(batch.observations))
    first = whole.token_head.loss(context[:2], whole.padded(whole.fast.encode(actions[:2]))).mean()
    assert half.loss(batch, 0).parts["token"] == pytest.approx(float(first.detach()), rel=1e-4)
    assert half.loss(batch, 0).parts["consistency"] == whole.loss(batch, 0).parts["consistency"]
    assert half.eval().loss(batch, 0).parts == whole.loss(batch, 0).parts  # as held-out episodes are scored


def test_an_unfrozen_encoder_learns_and_a_frozen_one_does_not() -> None:
    for unfrozen in (True, False):
        policy = wake(small_policy.policy(unfrozen_encoder=unfrozen))
        policy.loss(demonstrated(small_policy.batch(2)), 0).total.backward()
        gradient = policy.encoder.network.stem.weight.grad
        assert (gradient is not None and gradient.abs().max() > 0) == unfrozen


COMPILE = """
import torch, small_policy
policy = small_policy.policy()
torch.nn.init.normal_(policy.consistency_head.outward.weight)
inputs = policy.inputs(small_policy.batch(2))
noise = torch.randn(2, small_policy.H, small_policy.D)
arguments = (inputs.features, inputs.instruction, inputs.state, inputs.position, noise)
compiled = torch.compile(policy, backend="eager", fullgraph=True)
with torch.no_grad():
    torch.testing.assert_close(compiled(*arguments), policy(*arguments))
"""


def test_the_forward_pass_compiles_into_one_graph() -> None:
    """In a process of its own: the checked annotations of this one are no part of what is compiled."""
    paths = [str(Path(small_policy.__file__).parent), str(Path(small_policy.__file__).parents[2])]
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_what_it_cannot_read_is_refused() -> None:
    policy = small_policy.policy()
    base = small_policy.batch(1)
    with pytest.raises(BadInput, match="no pictures of front"):
        policy.act(ObservationBatch(base.state, {}, base.instructions))
    with pytest.raises(BadInput, match="follows instructions"):
        policy.act(ObservationBatch(base.state, base.images))
    with pytest.raises(BadInput, match="state has a value that is not finite"):
        policy.act(ObservationBatch(np.full((1, 2), np.nan, np.float32), base.images, base.instructions))
    with pytest.raises(BadInput, match="action has a value that is not finite"):
        policy.loss(Batch(base, np.full((1, H, D), np.nan, np.float32), np.zeros((1, H), bool)), 0)
    config = policy.config.but(interface=small_policy.interface(horizon_steps=7))
    with pytest.raises(BadInput, match="6 × 2, the policy's are 7 × 2"):
        TandemVLA(config, small_policy.tokens())
