"""LeRobot's π0-FAST at a fiftieth of its width with random weights, as a folder that LeRobot's own code reads.

Its constructor knows two sizes and the hub's tokenizers only, so `shrunk` puts others in their places.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pi0_fast import modeling_pi0_fast as modeling
from lerobot.policies.pi0_fast.configuration_pi0_fast import PI0FastConfig
from lerobot.processor import tokenizer_processor
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PaliGemmaConfig, PreTrainedTokenizerFast

from vla import fast_tokens
from vla.adapters import folder as folders
from vla.adapters.pi0_fast import Pi0FastPolicy
from vla.demonstrations import ArrayDemonstrations
from vla.policy import Batch, ObservationBatch

PX, H, D, WIDTH, WORDS = 28, 4, 2, 32, 512
VISION = {"model_type": "siglip_vision_model", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
STATS = {
    "observation.state": {"mean": torch.zeros(2), "std": torch.ones(2)},
    "action": {"mean": torch.tensor([0.0, 0.0]), "std": torch.tensor([1.0, 1.0])},
}


@contextmanager
def shrunk(depth: int = 2) -> Iterator[None]:
    """Within it LeRobot builds and loads the small one, of `depth` layers."""
    whole = modeling.PI0FastPaliGemma.__init__

    def small(self: modeling.PI0FastPaliGemma, *given: object, **named: object) -> None:
        whole(self, *given, **named)  # pyright: ignore[reportArgumentType]
        self.paligemma.model.multi_modal_projector.linear = nn.Linear(VISION["hidden_size"], WIDTH)
        self.paligemma.resize_token_embeddings(WORDS, mean_resizing=False)

    described = PaliGemmaConfig(vision_config={**VISION, "patch_size": 14, "image_size": PX})  # pyright: ignore[reportCallIssue]
    mapping = {"paligemma": lambda: copy.deepcopy(described)}
    unused = SimpleNamespace(
        from_pretrained=lambda *_, **__: None
    )  # the hub's processor of actions: not asked here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling, "CONFIG_MAPPING", mapping)
        patch.setattr(modeling, "get_gemma_config", lambda _: modeling.GemmaConfig(WIDTH, depth, 48, 2, 1, 16))
        patch.setattr(modeling.PI0FastPaliGemma, "__init__", small)
        patch.setattr(modeling, "AutoProcessor", unused)
        patch.setattr(tokenizer_processor, "AutoProcessor", unused)
        yield


def write(folder: Path, seed: int = 0) -> None:
    """A checkpoint of LeRobot's with its tokenizers beside it, for the dot task. Within `shrunk`."""
    from lerobot.policies.factory import make_pre_post_processors

    words, actions = folder.with_name("words"), folder.with_name("actions")
    write_words(words)
    write_action_tokens(actions)
    config = PI0FastConfig(
        input_features={
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(2,)),
            "observation.images.front": PolicyFeature(type=FeatureType.VISUAL, shape=(3, PX, PX)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(D,))},
        chunk_size=H,
        n_action_steps=H,
        max_state_dim=2,
        max_action_dim=D,
        image_resolution=(PX, PX),
        tokenizer_max_length=8,
        text_tokenizer_name=str(words),
        action_tokenizer_name=str(actions),
        device="cpu",
        push_to_hub=False,
    )
    torch.manual_seed(seed)
    policy = modeling.PI0FastPolicy(config)
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(config, dataset_stats=STATS):
        pipeline.save_pretrained(folder)
    interface = {"cameras": ["front"], "state_names": ["a", "b"], "action_names": ["x", "y"], "rate_hz": 10}
    (folder / folders.INTERFACE).write_text(json.dumps(interface | {"horizon_steps": H}), encoding="utf-8")


def write_words(folder: Path) -> None:
    """A tokenizer of whole words; those beyond the named ones are what action tokens are written as."""
    named = [
        "<pad>",
        "<bos>",
        "<eos>",
        "<unk>",
        "|",
        "Action",
        ":",
        "Task",
        ",",
        "State",
        ";",
        "touch",
        "the",
        "dot",
    ]
    known = {word: number for number, word in enumerate(named)}
    known |= {f"<{number}>": number for number in range(len(named), WORDS)}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "unk")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def write_action_tokens(folder: Path) -> None:
    """FAST's two files, of smooth chunks."""
    steps = np.random.default_rng(0).normal(scale=0.2, size=(200, H, D))
    fast = fast_tokens.fit(np.clip(np.cumsum(steps, axis=1), -1, 1).astype(np.float32), vocabulary=96)
    folder.mkdir(exist_ok=True)
    settings = {"scale": fast.stored.scale, "min_token": fast.stored.lowest}
    (folder / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "tokenizer.json").write_text(fast.stored.bpe, encoding="utf-8")


def teach(folder: Path, demos: ArrayDemonstrations, steps: int = 60) -> None:
    """In place, until some of its samples decode. Within `shrunk`."""
    policy = folders.open_policy(folder)
    assert isinstance(policy, Pi0FastPolicy)
    frames = [(episode, step) for episode in demos.episodes for step in range(len(episode.actions) - H)]
    optimiser = torch.optim.Adam(policy.parameters(), lr=5e-3)
    rng = np.random.default_rng(0)
    for step in range(steps):
        drawn = [frames[place] for place in rng.choice(len(frames), 8)]
        seen = ObservationBatch(
            state=np.stack([episode.state[step] for episode, step in drawn]),
            images={"front": np.stack([episode.pictures("front")[step] for episode, step in drawn])},
            instructions=tuple(episode.instruction for episode, _ in drawn),
        )
        actions = np.stack([episode.actions[step : step + H] for episode, step in drawn])
        policy.loss(Batch(seen, actions, np.zeros((8, H), bool)), step).total.backward()
        optimiser.step()
        optimiser.zero_grad()
    policy.policy.save_pretrained(folder)
