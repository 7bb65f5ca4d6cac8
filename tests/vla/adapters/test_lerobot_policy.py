"""LeRobot's policies, at tiny size with random weights, keep our protocol and load from their folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors

from hardware.errors import BadInput
from hardware.messages import Observation
from vla.adapters import folder as folders
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.policy import Batch, ObservationBatch, Policy
from vla.served_tandem import open_tandem

PX, H = 64, 4
STATS = {
    "observation.state": {
        "mean": torch.zeros(2),
        "std": torch.ones(2),
        "min": -torch.ones(2),
        "max": torch.ones(2),
    },
    "action": {
        "mean": torch.tensor([10.0, 0.0]),
        "std": torch.tensor([0.1, 1.0]),
        "min": torch.tensor([9.0, -1.0]),
        "max": torch.tensor([11.0, 1.0]),
    },
    "observation.images.front": {
        "mean": torch.zeros(3, 1, 1),
        "std": torch.ones(3, 1, 1),
        "min": torch.zeros(3, 1, 1),
        "max": torch.ones(3, 1, 1),
    },
}
pytestmark = pytest.mark.filterwarnings("default")


def features() -> dict[str, dict[str, PolicyFeature]]:
    return {
        "input_features": {
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(2,)),
            "observation.images.front": PolicyFeature(type=FeatureType.VISUAL, shape=(3, PX, PX)),
        },
        "output_features": {"action": PolicyFeature(type=FeatureType.ACTION, shape=(2,))},
    }


def act():
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    config = ACTConfig(
        **features(),
        chunk_size=H,
        n_action_steps=H,
        dim_model=32,
        n_heads=4,
        dim_feedforward=32,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
        dropout=0.0,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    return ACTPolicy(config)


def diffusion():
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

    config = DiffusionConfig(
        **features(),
        n_obs_steps=2,
        horizon=8,
        n_action_steps=H,
        crop_shape=None,
        down_dims=(16, 32),
        diffusion_step_embed_dim=16,
        spatial_softmax_num_keypoints=4,
        num_inference_steps=2,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    return DiffusionPolicy(config)


MADE = {"act": act, "diffusion": diffusion}


@pytest.fixture(scope="module", params=list(MADE))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "diffusion":
        pytest.importorskip("diffusers", reason="LeRobot's Diffusion policy needs diffusers")
    torch.manual_seed(0)
    policy = MADE[request.param]()
    folder = tmp_path_factory.mktemp(request.param) / "p"
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(policy.config, dataset_stats=STATS):
        pipeline.save_pretrained(folder)
    interface = {
        "cameras": ["front"],
        "state_names": ["x", "y"],
        "action_names": ["x", "y"],
        "rate_hz": 10,
        "horizon_steps": H,
        "language": False,
    }
    (folder / folders.INTERFACE).write_text(json.dumps(interface))
    return folder


def seen(rows: int) -> ObservationBatch:
    rng = np.random.default_rng(1)
    images = {"front": rng.integers(0, 255, (rows, PX, PX, 3), np.uint8)}
    return ObservationBatch(rng.normal(size=(rows, 2)).astype(np.float32), images)


def test_a_checkpoint_loads_as_a_policy_that_is_deterministic_under_a_seed(checkpoint: Path) -> None:
    policy = folders.open_policy(checkpoint)
    assert isinstance(policy, Policy)
    chunk = policy.act(seen(3))
    assert chunk.shape == (3, H, 2)
    np.testing.assert_array_equal(chunk, policy.act(seen(3)))
    if isinstance(policy, LerobotPolicy) and policy.kind == "diffusion":
        assert np.abs(policy.act(seen(3), seed=1) - chunk).max() > 1e-3
        return
    rows = ObservationBatch(seen(3).state[1:2], {"front": seen(3).images["front"][1:2]})
    np.testing.assert_allclose(policy.act(rows)[0], chunk[1], atol=2e-4)


def test_actions_come_in_physical_units(checkpoint: Path) -> None:
    """The first action's mean is 10 with a deviation of 0.1: random weights stay near it."""
    assert np.abs(folders.open_policy(checkpoint).act(seen(2))[:, :, 0] - 10).max() < 1.5


def test_it_embeds_and_has_the_loss_of_lerobot(checkpoint: Path) -> None:
    policy = folders.open_policy(checkpoint)
    embedded = policy.embed(seen(2))
    assert embedded.shape[0] == 2
    assert (embedded[0] - embedded[1]).abs().max() > 1e-6
    batch = Batch(seen(2), np.zeros((2, H, 2), np.float32), np.zeros((2, H), bool))
    assert isinstance(policy, LerobotPolicy)
    if policy.kind == "diffusion":
        with pytest.raises(BadInput, match="2 moments at once"):
            policy.loss(batch, 0)
        return
    one, two = policy.loss(batch, 3), policy.loss(batch, 3)
    assert one.parts["total"] == two.parts["total"] > 0
    one.total.backward()
    assert any(weight.grad is not None for weight in policy.parameters())


def test_it_is_served_by_its_folder(checkpoint: Path) -> None:
    served = open_tandem(checkpoint)
    policy = folders.open_policy(checkpoint)
    moment = Observation(
        stamp_ns=5,
        joint_names=("x", "y"),
        q_rad=seen(1).state[0].astype(float),
        images={"front": seen(1).images["front"][0]},
        image_stamps_ns={"front": 5},
        instruction="go",
    )
    from vla import exchange

    answer = served.infer(exchange.message(moment))
    np.testing.assert_allclose(answer["actions"], policy.act(seen(1))[0], atol=1e-5)
    assert policy.chunk([moment])[0].start_ns == 5


def test_what_is_no_policy_is_refused_in_one_line(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(BadInput, match="holds no TandemVLA policy, nor one of LeRobot's"):
        folders.open_policy(tmp_path)
    (tmp_path / "config.json").write_text('{"type": "vqbet"}')
    with pytest.raises(BadInput, match="is a 'vqbet'; have: tandem_vla, act"):
        folders.open_policy(tmp_path)
    (tmp_path / "config.json").write_text('{"version": 1}')
    with pytest.raises(BadInput, match="older policy format"):
        folders.open_policy(tmp_path)
    for file in checkpoint.iterdir():
        if file.name != folders.INTERFACE:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BadInput, match="does not say its rate nor its columns"):
        folders.open_policy(tmp_path)
