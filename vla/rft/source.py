"""A policy's folder in, what reinforcement needs of it out: any `TokenPolicy`, and how it is written back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from hardware import artefact
from hardware.errors import BadInput
from vla import continued, policy_file
from vla.adapters import adapter_folder
from vla.adapters import folder as folders
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.adapters.lora_config import Lora
from vla.policy import TokenPolicy
from vla.tandem_vla import TandemVLA, Voice

OTHERS_PX = 224
"""Side of the pictures for a policy that encodes them itself; π0-FAST's own."""


@dataclass(frozen=True, eq=False)
class Source:
    policy: TokenPolicy
    save: Callable[[Any, Path], None]
    """(policy, folder)"""
    image_px: int
    cached: bool
    """Its image encoder is the frozen one, whose features are computed once."""
    key: str
    """Of what the folder holds: a checkpoint of a run from another policy is not taken."""


def opened(
    folder: Path,
    device: torch.device,
    voice: Literal["same"] | Voice,
    datasets: Sequence[str],
    lora: Lora,
    seed: int,
) -> Source:
    """Raises `BadInput` for a policy without action tokens. `datasets` are those that it will read; `seed` is of the
    new adapters."""
    inside = continued.policy_folder(folder)
    policy = folders.open_policy(inside, device)
    parts = policy_file.parts(inside) if isinstance(policy, TandemVLA) else adapter_folder.weights(inside)
    key = adapter_folder.digest(parts).hexdigest()
    if isinstance(policy, TandemVLA):
        if lora.rank is not None:
            raise BadInput("a TandemVLA is small and learns with all its weights", "leave --lora.rank out")
        if voice == "consistency" and policy.config.consistency_weight == 0:
            raise BadInput(f"{folder} has a consistency head that was never taught", "leave --voice out")
        if voice != "same":
            policy.config = policy.config.but(voice=voice)
        policy = continued.with_datasets(policy, datasets)
        frozen = not policy.config.unfrozen_encoder
        return Source(policy, policy_file.save_policy, policy.config.architecture.image_px, frozen, key)
    if not isinstance(policy, TokenPolicy) or not isinstance(policy, LerobotPolicy):
        raise BadInput(
            f"{folder} speaks no action tokens, which the rewards judge", "take a TandemVLA or a π0-FAST policy"
        )
    if lora.rank is not None:
        if policy.adapters is not None:
            raise BadInput(f"{folder} has adapters, and they go on learning", "leave --lora.rank out")
        from vla.adapters import lora as adapters  # it imports all of PEFT

        policy.adapters = adapters.add(policy.policy, lora, inside, seed)
    return Source(policy, writer_beside(inside), OTHERS_PX, False, key)


def writer_beside(source: Path) -> Callable[[Any, Path], None]:
    """Saves a LeRobot policy, or its adapters alone, with all else that its folder had: processors, interface."""
    kept_apart = (policy_file.WEIGHTS, adapter_folder.WEIGHTS)

    def save(policy: LerobotPolicy, folder: Path) -> None:
        with artefact.staged_folder(folder) as staged:
            for file in source.iterdir():
                if file.is_file() and file.name not in kept_apart:
                    shutil.copy2(file, staged / file.name)
            if policy.adapters is None:
                policy.policy.save_pretrained(staged)
            else:
                policy.adapters.save(staged)

    return save
