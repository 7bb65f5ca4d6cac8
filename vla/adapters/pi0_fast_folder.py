"""A loaded π0-FAST with LeRobot's pipelines in, a `TokenPolicy` out.

Not run on a real checkpoint here: its weights and tokenizers are downloads. What it makes is tested on a tiny network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.processor import UnnormalizerProcessorStep

from hardware.errors import BadInput
from vla import fast_tokens
from vla.adapters.pi0_fast import Pi0FastPolicy, Vocabulary
from vla.lerobot_folder import ACTION
from vla.normalise import Normaliser, OneRange, Quantiles
from vla.policy import Interface

STILL = 1e-8
"""The width of a column that never moves, as LeRobot's normaliser has it (its `eps`)."""


def token_policy(policy: Any, before: Any, after: Any, interface: Interface) -> Pi0FastPolicy:
    """Tokens by the tokenizer that the checkpoint names, ranges by its postprocessor."""
    config = policy.config
    fast = fast_tokens.load_universal(
        tokenizer_folder(config.action_tokenizer_name), interface.horizon_steps, interface.action_dims
    )
    vocabulary = Vocabulary.of(policy._paligemma_tokenizer, config.fast_skip_tokens, fast.vocabulary)
    return Pi0FastPolicy(policy, before, after, interface, fast, vocabulary, action_ranges(after))


def tokenizer_folder(name: str) -> Path:
    """A folder, or the hub's copy that loading the policy has just put on this disk."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no tokenizer '{name}' on this machine: {error}", "give its folder in config.json"
        ) from error


def action_ranges(after: Any) -> Normaliser:
    """LeRobot's normalisation of the actions, as the values that become −1 and +1."""
    step = next((step for step in after.steps if isinstance(step, UnnormalizerProcessorStep)), None)
    if step is None or not step.stats or ACTION not in step.stats:
        raise BadInput("the checkpoint's postprocessor has no statistics of the actions", "copy the whole folder")
    stats = {name: np.asarray(values, np.float64).reshape(-1) for name, values in step.stats[ACTION].items()}
    mode = step.norm_map.get(FeatureType.ACTION, NormalizationMode.IDENTITY)
    low, high = bounds(mode, stats)
    return OneRange(Quantiles(low=tuple(low.tolist()), high=tuple(high.tolist())))


def apart(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A column that never moves becomes −1."""
    return low, np.where(high == low, low + STILL, high)


def bounds(mode: NormalizationMode, stats: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What becomes −1 and what +1. Raises `BadInput` for a mode that is no such map."""
    match mode:
        case NormalizationMode.MEAN_STD:
            deviation = stats["std"] + STILL
            return stats["mean"] - deviation, stats["mean"] + deviation
        case NormalizationMode.MIN_MAX:
            return apart(stats["min"], stats["max"])
        case NormalizationMode.QUANTILES:
            return apart(stats["q01"], stats["q99"])
        case _:
            raise BadInput(f"actions normalised by {mode.value} cannot be read here")
