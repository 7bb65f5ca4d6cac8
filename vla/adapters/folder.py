"""A policy's folder, whoever wrote it → a `vla.policy.Policy`: a TandemVLA, or a LeRobot checkpoint of a known kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from hardware import config as configs
from hardware.errors import BadInput
from vla import policy_file
from vla.adapters import adapter_folder
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.lerobot_demonstrations import layout_of
from vla.lerobot_folder import ACTION, PICTURES, STATE, TYPE
from vla.policy import Interface, Policy

KINDS = ("act", "diffusion", "smolvla", "pi0", "pi0_fast")
INTERFACE, TRAINED = "interface.json", "train_config.json"
ALL_OR_NOTHING = ("pi0", "pi0_fast")
"""Kinds whose file must hold every weight."""
READS_NO_LANGUAGE = ("act", "diffusion")


def open_policy(folder: Path, device: str | torch.device = "cpu") -> Policy:
    """Raises `BadInput` for a folder that holds no policy, or one of a kind or version that is not known."""
    if (folder / policy_file.CONFIG).exists():
        return policy_file.load_policy(folder, device)
    kind = kind_of(folder)
    if kind == TYPE:
        if adapter_folder.is_one(folder):
            raise BadInput(
                f"{folder} has adapters of a {TYPE}, which learns with all its weights", "leave --peft out"
            )
        raise BadInput(f"{folder} has no {policy_file.CONFIG}", "copy the whole folder")
    if kind not in KINDS:
        raise BadInput(f"{folder} is a '{kind}'; have: {TYPE}, {', '.join(KINDS)}")
    return _lerobot_policy(folder, str(device))


def kind_of(folder: Path) -> str:
    file = folder / "config.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        if "type" not in described and "version" in described:
            raise BadInput(
                f"{folder} is of an older policy format, whose settings lay in config.json",
                f"rename config.json to {policy_file.CONFIG}, or train it again",
            )
        return str(described["type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder} holds no TandemVLA policy, nor one of LeRobot's: {error!r}", "name a folder with config.json"
        ) from error


def _lerobot_policy(folder: Path, device: str) -> LerobotPolicy:
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    from vla.adapters import pi0_fast_folder

    base = base_of(folder)
    try:
        config = PreTrainedConfig.from_pretrained(folder, cli_overrides=[f"--device={device}"])
        interface = interface_of(folder, config)
        policy = get_policy_class(config.type).from_pretrained(base, config=config)
        require_loaded(policy, base)
        before, after = make_pre_post_processors(
            config,
            pretrained_path=str(folder),
            preprocessor_overrides={"device_processor": {"device": device}} | forgotten_by_lerobot(config),
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BadInput(f"LeRobot cannot load {folder}: {error}", "copy the checkpoint again") from error
    make = pi0_fast_folder.token_policy if config.type == "pi0_fast" else LerobotPolicy
    opened = make(policy, before, after, interface)
    if base != folder:
        from vla.adapters import lora

        opened.adapters = lora.opened(policy, folder, base)
    return opened.to(device).eval()


def base_of(folder: Path) -> Path:
    """The folder with the policy's own weights: of adapters their base's, else the same."""
    adapter_folder.weights(folder)
    if not adapter_folder.is_one(folder):
        return folder
    base = adapter_folder.base_of(folder)
    if kind_of(base) != kind_of(folder):
        raise BadInput(f"{folder} has adapters of a '{kind_of(folder)}', and {base} is a '{kind_of(base)}'")
    adapter_folder.require_same(folder, base)
    return base


def require_loaded(policy: nn.Module, folder: Path) -> None:
    """LeRobot keeps random weights, with a printed line, where the file's do not fit or are too few."""
    have = {name.removeprefix("model."): weight for name, weight in policy.state_dict().items()}
    with safe_open(folder / policy_file.WEIGHTS, "pt") as stored:
        found = {name.removeprefix("model."): name for name in stored.keys()}  # noqa: SIM118
        shapes = {name: tuple(stored.get_slice(whole).get_shape()) for name, whole in found.items()}
    places = {have[name].data_ptr() for name in have if name in shapes}  # tied weights are stored under one name
    unfit = [
        name
        for name, weight in have.items()
        if (name in shapes and shapes[name] != weight.shape)
        or (name not in shapes and kind_of(folder) in ALL_OR_NOTHING and weight.data_ptr() not in places)
    ]
    if unfit or not places:
        first = f"first '{unfit[0]}'" if unfit else "none has its name"
        raise BadInput(f"{folder}: {len(unfit) or len(shapes)} tensors do not fit its config.json, {first}")


def forgotten_by_lerobot(config: Any) -> dict[str, dict[str, object]]:
    """What its saved preprocessor leaves out, and would take from the hub."""
    if config.type != "pi0_fast":
        return {}
    words = {"paligemma_tokenizer_name": config.text_tokenizer_name, "fast_skip_tokens": config.fast_skip_tokens}
    return {"action_tokenizer_processor": words}


def interface_of(folder: Path, config: Any) -> Interface:
    """From `interface.json`, else from the dataset that `train_config.json` names, if it is still there.

    A LeRobot checkpoint itself says neither its rate nor what its columns are.
    """
    if (folder / INTERFACE).exists():
        return configs.read(Interface, folder / INTERFACE)
    try:
        root = Path(json.loads((folder / TRAINED).read_text(encoding="utf-8"))["dataset"]["root"])
        layout = layout_of(root)
    except (OSError, ValueError, KeyError, TypeError, BadInput) as error:
        raise BadInput(
            f"{folder} does not say its rate nor its columns, and its dataset is gone",
            f'write {folder / INTERFACE}: {{"cameras": ["front"], "state_names": […], "action_names": […], '
            '"rate_hz": 10, "horizon_steps": 16}',
        ) from error
    return Interface(
        cameras=tuple(key.removeprefix(PICTURES) for key in config.image_features),
        state_names=layout.state_names if STATE in config.input_features else (),
        action_names=checked(layout.action_names, config, folder),
        rate_hz=layout.rate_hz,
        horizon_steps=steps_of(config),
        language=config.type not in READS_NO_LANGUAGE,
    )


def checked(names: tuple[str, ...], config: Any, folder: Path) -> tuple[str, ...]:
    dims = config.output_features[ACTION].shape[0]
    if len(names) != dims:
        raise BadInput(f"{folder} commands {dims} dims, the dataset it names has {len(names)}")
    return names


def steps_of(config: Any) -> int:
    """Of the chunk that `predict_action_chunk` gives."""
    return config.n_action_steps if config.type == "diffusion" else config.chunk_size
