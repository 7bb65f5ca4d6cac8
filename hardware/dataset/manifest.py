"""What an episode says about itself; it lies as attributes in the `zarr.json` of the episode's group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.column import METADATA
from hardware.dataset.frame_grid import Alignment, Gap, LabelledSpan
from hardware.dataset.picture import Encoding, Jpeg
from hardware.errors import BadInput

STORE_KEY, EPISODE_KEY = "tandem_store", "tandem_episode"
FORMAT = 1


class StoreManifest(Config):
    """The store as a whole. A newer format is refused, not guessed."""

    format: Literal[1] = FORMAT


class ClockPair(Config):
    """The same moment on both clocks: stamps are monotonic, this ties them to the calendar."""

    monotonic_ns: int
    unix_ns: int


class SeenObject(TaskStart):
    """As vision had it."""

    z_m: float
    """Of the middle of its box, in the arm's base frame."""


class EpisodeManifest(Config):
    """One episode. While it is recorded, the results are empty; `finished` ones never change again."""

    format: Literal[1] = FORMAT
    state: Literal["recording", "finished"] = "recording"
    task: str
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: tuple[str, ...]
    cell: str = ""
    calibration: str = ""
    """Which calibration result held, as the recorder named it."""
    encoding: Encoding = Jpeg()
    alignment: Alignment = Alignment()
    clock: ClockPair
    object_seen: SeenObject | None = None
    """When the episode began; None: nobody looked. `tandem rl expand` bends demonstrations by it."""
    success: bool | None = None
    """None: not judged."""
    interrupted: bool = False
    """The recorder died; all that it had acknowledged is here."""
    frames: int = 0
    counts: dict[str, int] = {}
    """Rows per stream."""
    spans: tuple[LabelledSpan, ...] = ()
    gaps: tuple[Gap, ...] = ()
    lost: dict[str, int] = {}
    """Per stream, what the recorder was offered and could not take (queue full, clock backwards, not finite)."""
    checksums: dict[str, int] = {}
    """CRC-32 per numeric array."""

    @property
    def streams(self) -> int:
        """How many counts a commit has: joints, sent, and pictures and bytes per camera."""
        return 2 + 2 * len(self.cameras)


def write_episode(folder: Path, manifest: EpisodeManifest) -> None:
    write_attributes(folder, EPISODE_KEY, manifest)


def write_store(folder: Path, manifest: StoreManifest) -> None:
    write_attributes(folder, STORE_KEY, manifest)


def read_episode(folder: Path) -> EpisodeManifest:
    return read_attributes(folder, EPISODE_KEY, EpisodeManifest)


def read_store(folder: Path) -> StoreManifest:
    return read_attributes(folder, STORE_KEY, StoreManifest)


def write_group(folder: Path, attributes: dict[str, object]) -> None:
    """A Zarr v3 group's `zarr.json`, in one step."""
    group = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    artefact.write_text(folder / METADATA, json.dumps(group, indent=2) + "\n")


def write_attributes(folder: Path, key: str, model: Config) -> None:
    write_group(folder, {key: model.model_dump(mode="json")})


def read_attributes[C: Config](folder: Path, key: str, kind: type[C]) -> C:
    """Our part of a group's attributes. Raises `BadInput` that names the file."""
    file = folder / METADATA
    try:
        return kind.model_validate(json.loads(file.read_text(encoding="utf-8"))["attributes"][key])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{file} is no {key}: {error!r}", "tandem data check") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{file} is no {key} of format {FORMAT}: {wrong}", "tandem data check") from error
