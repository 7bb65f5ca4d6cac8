"""The base of every config, manifest and result: frozen, closed, and read with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hardware.errors import BadInput


class Config(BaseModel):
    """Frozen; an unknown key is an error. Copy with changes through `but`, which checks them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",  # JSON knows no infinity, and null would not come back
    )

    def but[C: Config](self: C, **changes: object) -> C:
        """A validated copy with some fields changed (pydantic's `model_copy(update=…)` checks nothing)."""
        return type(self).model_validate(self.model_dump() | changes)


def read[C: BaseModel](kind: type[C], file: Path) -> C:
    """A YAML or JSON file as a checked model. Raises `BadInput` that names the file and each wrong key."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    try:
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
        return kind.model_validate(values)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} is not well-formed {file.suffix[1:].upper()}: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{file} is not a {kind.__name__}: {wrong}") from error
