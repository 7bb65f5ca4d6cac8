"""A run's whole state in one safetensors file: weights, their average, the optimiser's moments, how far it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput

NAME = "checkpoint.safetensors"


class Point(Config):
    """One evaluation."""

    step: int
    train_loss: float
    """Mean since the last evaluation."""
    held_out_loss: float
    token_loss: float | None
    consistency_loss: float | None
    open_loop_error: float
    """Mean |action − demonstrated|, in units of half the action's 1–99 % range."""


class Stage(Config):
    """How far a run had come, and for what run it may be used."""

    run: str
    step: int
    seconds: float
    batch: int
    """After halvings."""


class RunState(Stage):
    """Of supervised fine-tuning."""

    train_losses: tuple[float, ...]
    """Since the last evaluation."""
    curve: tuple[Point, ...]


def write(file: Path, state: Stage, tensors: dict[str, Tensor]) -> None:
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    artefact.write_bytes(file, save(on_cpu, {"state": state.model_dump_json()}))


def read[S: Stage](file: Path, run: str, kind: type[S]) -> tuple[S, dict[str, Tensor]] | None:
    """None where there is no checkpoint. Raises `BadInput` for one of another run, or one that cannot be read: to begin
    at step 0 would write over the policy that the folder has.
    """
    if not file.exists():
        return None
    anew = f"train in a new folder, or remove {file} to begin anew in this one"
    try:
        with safe_open(str(file), framework="pt") as stored:
            state = kind.model_validate(json.loads((stored.metadata() or {})["state"]))
            if state.run == run:
                return state, {name: stored.get_tensor(name) for name in list(stored.keys())}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}", anew) from error
    raise BadInput(f"{file} is of a run with other data, another policy to start from, or more or fewer GPUs", anew)


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's memory by the parameter's place: `3.exp_avg`, `3.exp_avg_sq`, `3.step`."""
    kept = optimiser.state_dict()["state"]
    return {
        f"{place}.{name}": torch.as_tensor(value) for place, each in kept.items() for name, value in each.items()
    }


def restore_moments(optimiser: torch.optim.Optimizer, stored: dict[str, Tensor]) -> None:
    """Moments lie in memory as their weights do: a fused step reads both from end to end, and files keep no layout."""
    state: dict[int, dict[str, Tensor]] = {}
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for name, tensor in stored.items():
        place, _, what = name.partition(".")
        weight = weights[int(place)]
        alike = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
        state.setdefault(int(place), {})[what] = alike
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
