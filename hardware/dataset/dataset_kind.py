"""A path in, what lies there out: a store of ours, or a LeRobot dataset."""

from __future__ import annotations

from pathlib import Path

from hardware.dataset import lerobot_layout
from hardware.dataset.column import METADATA
from hardware.dataset.lerobot_layout import LerobotFolder
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput


def open_any(path: Path) -> EpisodeStore | LerobotFolder:
    """Raises `BadInput` when it is neither, or of a version that is not known here."""
    if lerobot_layout.is_lerobot(path):
        return lerobot_layout.read(path)
    if (path / METADATA).is_file():
        return EpisodeStore.open(path)
    if not path.is_dir():
        raise BadInput(f"there is no folder {path}")
    raise BadInput(
        f"{path} is neither an episode store (no {METADATA}) nor a LeRobot dataset (no {lerobot_layout.INFO})"
    )


def must_be_new(output: Path) -> None:
    """Nothing here writes over a dataset."""
    if output.exists():
        raise BadInput(f"{output} is already there", "name a folder that does not exist yet")


def must_be_another(source: Path, output: Path) -> None:
    """A staged folder beside `source` must not be inside it."""
    if output.resolve().is_relative_to(source.resolve()):
        raise BadInput(f"{output} lies inside {source}", "write beside the source, not into it")
