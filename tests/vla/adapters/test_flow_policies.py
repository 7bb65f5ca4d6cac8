"""LeRobot's SmolVLA and π0 networks, tiny and with random weights, keep the laws of a `Policy`."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from torch import nn
from transformers import PaliGemmaConfig

from hardware.errors import BadInput
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.policy import Batch, Interface, ObservationBatch, Policy

PX, H, D, WIDTH, SHOWN = 56, 4, 2, 32, 7.0
WORDS, WORD_MASK = "observation.language.tokens", "observation.language.attention_mask"
pytestmark = pytest.mark.filterwarnings("default")


def features() -> dict[str, dict[str, PolicyFeature]]:
    return {
        "input_features": {
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(D,)),
            "observation.images.front": PolicyFeature(type=FeatureType.VISUAL, shape=(3, PX, PX)),
        },
        "output_features": {"action": PolicyFeature(type=FeatureType.ACTION, shape=(D,))},
    }


def smolvla(folder: Path, patch: pytest.MonkeyPatch) -> nn.Module:
    """Its own classes at a thirtieth of their width; the VLM's description is a folder, its words are not needed."""
    from lerobot.policies.smolvla import smolvlm_with_expert as parts
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    text = {"model_type": "llama", "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 64}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 64, "patch_size": 16}
    described = {"model_type": "smolvlm", "scale_factor": 2, "text_config": text, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    words = SimpleNamespace(fake_image_token_id=1, global_image_token_id=2)
    patch.setattr(
        parts, "AutoProcessor", SimpleNamespace(from_pretrained=lambda _: SimpleNamespace(tokenizer=words))
    )
    config = SmolVLAConfig(
        **features(),
        vlm_model_name=str(folder),
        chunk_size=H,
        n_action_steps=H,
        num_vlm_layers=2,
        num_steps=2,
        max_state_dim=4,
        max_action_dim=4,
        resize_imgs_with_padding=(64, 64),
        device="cpu",
    )
    return SmolVLAPolicy(config)


def pi0(folder: Path, patch: pytest.MonkeyPatch) -> nn.Module:
    """The constructor knows two sizes only, so it is given others; its training counts on eight heads."""
    from lerobot.policies.pi0 import modeling_pi0 as modeling
    from lerobot.policies.pi0.configuration_pi0 import PI0Config

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14}
    vision = {"model_type": "siglip_vision_model", "image_size": PX, **small}
    mapping = {"gemma": modeling.CONFIG_MAPPING["gemma"]}
    mapping["paligemma"] = lambda: PaliGemmaConfig(vision_config=vision)
    patch.setattr(modeling, "CONFIG_MAPPING", mapping)
    patch.setattr(modeling, "get_gemma_config", lambda variant: modeling.GemmaConfig(WIDTH, 2, 48, 8, 1, 16))
    config = PI0Config(
        **features(),
        chunk_size=H,
        n_action_steps=H,
        num_inference_steps=2,
        max_state_dim=4,
        max_action_dim=4,
        image_resolution=(PX, PX),
        dtype="float32",
        device="cpu",
    )
    made = modeling.PI0Policy(config)
    made.model.paligemma_with_expert.paligemma.model.multi_modal_projector.linear = nn.Linear(16, WIDTH)
    return made


def preprocess(batch: dict) -> dict:
    """A sentence of three words, every second row's shorter; the action is normalised by nothing."""
    rows = len(batch["observation.images.front"])
    words = torch.tensor([[5, 6, 7], [8, 0, 0]])[torch.arange(rows) % 2]
    return batch | {WORDS: words, WORD_MASK: words > 0}


MADE = {"smolvla": smolvla, "pi0": pi0}


@pytest.fixture(scope="module", params=list(MADE))
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LerobotPolicy:
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        made = MADE[request.param](tmp_path_factory.mktemp(request.param), patch)
    names = ("x", "y")
    interface = Interface(cameras=("front",), state_names=names, action_names=names, rate_hz=10, horizon_steps=H)
    return LerobotPolicy(made.eval(), preprocess, lambda chunk: chunk + SHOWN, interface).eval()


def seen(rows: int = 2) -> ObservationBatch:
    """The first ones of always the same eight."""
    rng = np.random.default_rng(1)
    images = {"front": rng.integers(0, 255, (8, PX, PX, 3), np.uint8)[:rows]}
    return ObservationBatch(rng.normal(size=(8, D)).astype(np.float32)[:rows], images, ("push",) * rows)


def test_a_chunk_is_deterministic_under_a_seed_and_rows_do_not_mix(policy: LerobotPolicy) -> None:
    assert isinstance(policy, Policy)
    chunk = policy.act(seen())
    assert chunk.shape == (2, H, D)
    np.testing.assert_array_equal(chunk, policy.act(seen()))
    assert np.abs(policy.act(seen(), seed=1) - chunk).max() > 1e-3
    np.testing.assert_allclose(policy.act(seen(1))[0], chunk[0], atol=1e-4)


def test_actions_pass_through_the_postprocessor(policy: LerobotPolicy) -> None:
    """It adds 7: the flow itself starts from noise of deviation 1."""
    assert abs(policy.act(seen(8)).mean() - SHOWN) < 3


def test_what_it_sees_is_embedded(policy: LerobotPolicy) -> None:
    embedded = policy.embed(seen())
    assert embedded.shape == (2, WIDTH)
    assert (embedded[0] - embedded[1]).abs().max() > 1e-6


def test_its_loss_is_lerobots_and_the_seed_draws_its_noise(policy: LerobotPolicy) -> None:
    batch = Batch(seen(), np.zeros((2, H, D), np.float32), np.zeros((2, H), bool))
    one, again, other = (policy.loss(batch, seed) for seed in (3, 3, 4))
    assert one.parts["total"] == again.parts["total"] != other.parts["total"]
    one.total.backward()
    assert any(weight.grad is not None for weight in policy.parameters())


def test_an_observation_without_an_instruction_is_refused(policy: LerobotPolicy) -> None:
    silent = ObservationBatch(seen().state, seen().images)
    with pytest.raises(BadInput, match="follows instructions, and there is none"):
        policy.act(silent)
