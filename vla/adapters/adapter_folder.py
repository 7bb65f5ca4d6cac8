"""A folder of adapters (PEFT's files beside LeRobot's `config.json`) in; the policy that they are of, and weights, out.

What `lerobot-train --peft.…` and `tandem vla rft --lora.rank …` leave: `adapter_config.json` names the base's folder,
`adapter_model.safetensors` holds all that was trained, `config.json` says `use_peft`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hardware import config as configs
from hardware.config import Config
from hardware.errors import BadInput
from vla import lerobot_folder, policy_file

CONFIG, WEIGHTS, BASE = "adapter_config.json", "adapter_model.safetensors", "adapter_base.json"


class Base(Config):
    """Of `adapter_base.json`, which is ours: a base that was trained on would make nonsense of its adapters."""

    sha256: str
    """Of the base's weights."""


def is_one(folder: Path) -> bool:
    """Whether the folder holds adapters, and not a whole policy."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> Path:
    """The folder of the policy that the adapters are of; fetched first where it is named as on the hub.

    `lerobot-train` writes the name as it was told: one relative to where it ran, which is often above the folder.
    """
    file = folder / CONFIG
    try:
        told: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        name, revision = told["base_model_name_or_path"], told.get("revision")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"cannot read {file}: {error!r}", "copy the folder again") from error
    if not name:
        raise BadInput(
            f"{file} does not say of what policy its adapters are", "write base_model_name_or_path there"
        )
    for place in (Path(), *folder.resolve().parents):
        if (place / name).is_dir():
            return place / name
    try:
        return lerobot_folder.local(name, revision)
    except BadInput as error:
        raise BadInput(
            f"the adapters in {folder} are of '{name}', which is not here",
            f"write where it is as base_model_name_or_path in {file}",
        ) from error


def require_same(folder: Path, base: Path) -> None:
    """Raises `BadInput` when `base` has changed since the adapters were trained, where they say what it was."""
    file = folder / BASE
    if file.exists() and digest(weights(base)).hexdigest() != configs.read(Base, file).sha256:
        raise BadInput(
            f"{base} has other weights than those that the adapters in {folder} were trained on",
            "put the former ones back, or train the adapters again",
        )


def weights(folder: Path) -> list[Path]:
    """The files that make up a policy: its own, or its base's and then its adapters. Raises `BadInput` where one is
    missing."""
    files = [folder / policy_file.WEIGHTS]
    if is_one(folder):
        files = [base_of(folder) / policy_file.WEIGHTS, folder / WEIGHTS]
    for file in files:
        if not file.is_file():
            raise BadInput(f"{file.parent} holds no policy: it has no {file.name}", "name the folder RUN/policy")
    return files


def stored(folder: Path) -> dict[str, Tensor]:
    """The adapters' tensors. PEFT's older files are pickles, and are not read."""
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"cannot read {folder / WEIGHTS}: {error}", "copy the folder again") from error


def digest(files: Sequence[Path]) -> hashlib._Hash:
    """SHA-256 of the files one behind the other, read piece by piece."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: total)
    return total
