"""Low-rank adapters (LoRA, by PEFT) in a policy of LeRobot's: the base is frozen, a few new weights learn.

PEFT puts them into the policy's own modules, so that the policy is used as before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import peft
import torch
from peft import LoraConfig, PeftConfig, PeftModel
from torch import nn

from hardware import artefact
from hardware.errors import BadInput
from vla.adapters import adapter_folder
from vla.adapters.lora_config import Lora

ADAPTED = {
    "pi0_fast": r"model\.paligemma_with_expert\.paligemma\.model\.language_model\.layers\.\d+\."
    r"(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
}
"""Kind → what is adapted unless modules are named: attention and MLP of each layer of the language model."""


@dataclass(frozen=True, eq=False, repr=False)
class Adapters:
    """Those in one policy."""

    model: PeftModel
    """Around the policy, whose modules are its modules."""
    base: Path

    def save(self, folder: Path) -> None:
        """The adapters alone, and what LeRobot's own loading reads, into a folder that is there."""
        self.model.save_pretrained(str(folder), save_embedding_layers=False)
        policy: Any = self.model.get_base_model()
        policy.config.save_pretrained(folder)
        artefact.write_model(folder / adapter_folder.BASE, self._base)

    def restore(self, folder: Path) -> None:
        """What `save` wrote there, into the policy."""
        peft.set_peft_model_state_dict(self.model, adapter_folder.stored(folder))

    @cached_property
    def _base(self) -> adapter_folder.Base:
        return adapter_folder.Base(sha256=adapter_folder.digest(adapter_folder.weights(self.base)).hexdigest())


def add(policy: Any, settings: Lora, base: Path, seed: int) -> Adapters:
    """New ones into LeRobot's `policy` of the folder `base`, at first without effect. Raises `BadInput` for target
    modules that the policy has not."""
    kind = policy.config.type
    if not settings.target_modules and kind not in ADAPTED:
        raise BadInput(f"what to adapt in a '{kind}' is not known", f"--lora.target-modules with: {have(policy)}")
    require_targets(policy, settings.target_modules)
    assert settings.rank is not None
    told = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or 2 * settings.rank,
        target_modules=list(settings.target_modules) or ADAPTED[kind],
    )
    policy.config.pretrained_path = base.resolve()  # LeRobot notes it as the adapters' base
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Adapters(policy.wrap_with_peft(peft_config=told), base)


def opened(policy: Any, folder: Path, base: Path) -> Adapters:
    """Those of `folder` into `policy`, loaded from `base`; they go on learning. Raises `BadInput` where they do not
    belong together."""
    unfit = f"the adapters in {folder} do not fit {base}"
    told = PeftConfig.from_pretrained(str(folder))
    if told.is_prompt_learning:
        raise BadInput(f"{folder} adapts by {told.peft_type}, which is no part of a layer", "take LoRA")
    if base.name == Path(str(told.base_model_name_or_path)).name:  # a folder of this machine, not the hub's
        told.base_model_name_or_path = str(base.resolve())  # what is saved elsewhere would not find a relative one
    tensors = adapter_folder.stored(folder)
    try:
        model = PeftModel.from_pretrained(policy, str(folder), config=told, is_trainable=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise BadInput(f"{unfit}: {str(error).splitlines()[-1].strip()}") from error
    differing = sorted(peft.get_peft_model_state_dict(model, save_embedding_layers=False).keys() ^ tensors.keys())
    if differing:
        raise BadInput(f"{unfit}: {len(differing)} tensors are in one of them only, first '{differing[0]}'")
    return Adapters(model, base)


def require_targets(policy: nn.Module, targets: Collection[str]) -> None:
    """Each must end the name of a linear layer."""
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear(policy)):
            raise BadInput(f"no linear layer of the policy is called '{target}'; have: {have(policy)}")


def have(policy: nn.Module) -> str:
    """The last names of the linear layers."""
    return ", ".join(sorted({name.rpartition(".")[2] for name in linear(policy)}))


def linear(policy: nn.Module) -> list[str]:
    return [name for name, module in policy.named_modules() if isinstance(module, nn.Linear)]
