"""LeRobot's policies at the size that people download, with random weights: what a chunk of theirs costs here.

They are built from the published sizes, offline: no weights, no tokenizers, a sentence of ten words that were never
words. ACT as it comes; SmolVLA of 450 M (SmolVLM2-500M's first 16 layers, 10 steps of flow); π0-FAST of 2.9 B in
bfloat16 (PaliGemma-3B's sizes), which speaks as many tokens as a demonstrated chunk has.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from vla.policy import ObservationBatch

SENTENCE = 10
Chunk = Callable[[], object]

SMOLVLM2_500M = {
    "model_type": "smolvlm",
    "scale_factor": 4,
    "text_config": {
        "model_type": "llama",
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "head_dim": 64,
        "vocab_size": 49280,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    },
}
"""https://huggingface.co/HuggingFaceTB/SmolVLM2-500M-Video-Instruct/blob/main/config.json"""


def act(seen: ObservationBatch, horizon_steps: int, action_dims: int) -> tuple[nn.Module, Chunk]:
    """ResNet-18, 4 + 1 layers of 512."""
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    config = ACTConfig(
        **features(seen, action_dims),
        chunk_size=horizon_steps,
        n_action_steps=horizon_steps,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    policy = ACTPolicy(config).eval()
    return policy, lambda: policy.predict_action_chunk(batch(seen))


def smolvla(seen: ObservationBatch, horizon_steps: int, action_dims: int) -> tuple[nn.Module, Chunk]:
    """Its own defaults: pictures padded to 512², 50 steps a chunk."""
    from lerobot.policies.smolvla import smolvlm_with_expert as parts
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    marks = SimpleNamespace(fake_image_token_id=1, global_image_token_id=2)
    processor = SimpleNamespace(from_pretrained=lambda _: SimpleNamespace(tokenizer=marks))
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(parts, "AutoProcessor", processor):
        (Path(folder) / "config.json").write_text(json.dumps(SMOLVLM2_500M), encoding="utf-8")
        config = SmolVLAConfig(**features(seen, action_dims), vlm_model_name=folder, device="cpu")
        policy = SmolVLAPolicy(config).eval()
    return policy, lambda: policy.predict_action_chunk(batch(seen) | sentence(len(seen)))


def pi0_fast(seen: ObservationBatch, tokens: int) -> tuple[nn.Module, Chunk]:
    """Prefix of two pictures of 224² and a sentence, then one token after another with a cache."""
    from lerobot.policies.pi0_fast import modeling_pi0_fast as modeling

    words: Any = SimpleNamespace(
        vocab_size=257_152,
        bos_token_id=2,
        encode=lambda text, add_special_tokens: [11, 12],
        convert_tokens_to_ids=lambda word: 13,
    )
    config: Any = SimpleNamespace(paligemma_variant="gemma_2b", dtype="bfloat16", compile_model=False)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # never in single precision, which would take 12 GB
    try:
        network = modeling.PI0FastPytorch(config, paligemma_tokenizer=words).eval()
    finally:
        torch.set_default_dtype(before)
    pixels = [
        nn.functional.interpolate(picture, (224, 224), mode="bilinear") * 2 - 1
        for picture in as_pixels(seen).values()
    ]
    there = [torch.ones(len(seen), dtype=torch.bool) for _ in pixels]
    said = sentence(len(seen))

    def chunk() -> Tensor:
        return network.sample_actions_fast_kv_cache(
            pixels,
            there,
            said["observation.language.tokens"],
            said["observation.language.attention_mask"],
            max_decoding_steps=tokens,
            temperature=0.0,
        )

    return network, chunk


def features(seen: ObservationBatch, action_dims: int) -> dict[str, Any]:
    from lerobot.configs.types import FeatureType, PolicyFeature

    pictures = {
        f"observation.images.{camera}": PolicyFeature(type=FeatureType.VISUAL, shape=(3, *rgb.shape[1:3]))
        for camera, rgb in seen.images.items()
    }
    state = PolicyFeature(type=FeatureType.STATE, shape=(seen.state.shape[1],))
    return {
        "input_features": {"observation.state": state, **pictures},
        "output_features": {"action": PolicyFeature(type=FeatureType.ACTION, shape=(action_dims,))},
    }


def batch(seen: ObservationBatch) -> dict[str, Tensor]:
    pictures = {f"observation.images.{camera}": pixels for camera, pixels in as_pixels(seen).items()}
    return {"observation.state": torch.from_numpy(seen.state), **pictures}


def as_pixels(seen: ObservationBatch) -> dict[str, Tensor]:
    """Channels first, 0 … 1."""
    return {
        camera: torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255
        for camera, rgb in seen.images.items()
    }


def sentence(rows: int) -> dict[str, Tensor]:
    words = torch.arange(5, 5 + SENTENCE).expand(rows, -1)
    return {
        "observation.language.tokens": words,
        "observation.language.attention_mask": torch.ones_like(words, dtype=torch.bool),
    }
