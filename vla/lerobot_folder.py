"""What LeRobot wants beside a TandemVLA's own files: `config.json` and two processors that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

from hardware import artefact
from hardware.errors import BadInput
from vla.tandem_vla import TandemConfig

TYPE = "tandem_vla"
"""As in `lerobot-train --policy.type=tandem_vla`."""
STATE, ACTION, PICTURES = "observation.state", "action", "observation.images."
PROCESSORS = {
    "policy_preprocessor": (
        ("rename_observations_processor", {"rename_map": {}}),
        ("to_batch_processor", {}),
        ("device_processor", {"device": "cpu", "float_dtype": None}),
        ("normalizer_processor", {"eps": 1e-8, "features": {}, "norm_map": {}}),
    ),
    "policy_postprocessor": (
        ("unnormalizer_processor", {"eps": 1e-8, "features": {}, "norm_map": {}}),
        ("device_processor", {"device": "cpu", "float_dtype": None}),
    ),
}
"""File → steps by their names in LeRobot's registry. The policy normalises for itself, so theirs are identities,
kept because `lerobot-train --policy.path` sets them by name."""


def write(config: TandemConfig, folder: Path) -> None:
    """Makes the folder a LeRobot checkpoint of the plugin `vla.lerobot_plugin`."""
    _write(folder / "config.json", described(config))
    for name, steps in PROCESSORS.items():
        listed = [{"registry_name": step, "config": settings} for step, settings in steps]
        _write(folder / f"{name}.json", {"name": name, "steps": listed})


def described(config: TandemConfig) -> dict[str, object]:
    """The settings that LeRobot's own commands look at; all the rest is in `tandem.json`."""
    interface, side = config.interface, config.architecture.image_px
    features: dict[str, object] = {
        PICTURES + camera: {"type": "VISUAL", "shape": [3, side, side]} for camera in interface.cameras
    }
    if interface.state_names:
        features[STATE] = {"type": "STATE", "shape": [len(interface.state_names)]}
    return {
        "type": TYPE,
        "input_features": features,
        "output_features": {ACTION: {"type": "ACTION", "shape": [interface.action_dims]}},
        "device": "cpu",
        "push_to_hub": False,
        "license": "apache-2.0",
        "chunk_size": interface.horizon_steps,
        "n_action_steps": interface.horizon_steps,
        "language": interface.language,
        "voice": config.voice,
        "token_weight": config.token_weight,
        "consistency_weight": config.consistency_weight,
        "unfrozen_encoder": config.unfrozen_encoder,
        **config.architecture.model_dump(),
    }


def local(name_or_path: str | Path, revision: str | None) -> Path:
    """A checkpoint's folder; one on the hub is fetched first."""
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name_or_path), revision=revision))
    except (OSError, ValueError) as error:
        raise BadInput(f"no folder '{name_or_path}', nor a policy of that name on the hub: {error}") from error


def _write(file: Path, content: dict[str, object]) -> None:
    artefact.write_text(file, json.dumps(content, indent=2) + "\n")
