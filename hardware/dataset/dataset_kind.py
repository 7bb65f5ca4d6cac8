"""A path in, what lies there out: a store of ours, or a LeRobot dataset; and a place for a new one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hardware import artefact
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


@contextmanager
def new_dataset(output: Path, *sources: Path) -> Generator[Path]:
    """A folder that becomes `output` when all went well. Nothing is written over, nothing into a source.

    Raises `BadInput`, also when the disk is full or read-only; then nothing is left behind.
    """
    if output.exists():
        raise BadInput(f"{output} is already there", "name a folder that does not exist yet")
    for source in sources:
        if output.resolve().is_relative_to(source.resolve()):
            raise BadInput(f"{output} lies inside {source}", "write beside the source, not into it")
    try:
        with artefact.staged_folder(output) as staged:
            yield staged
    except OSError as error:
        raise BadInput(f"cannot write {output}: {error}", "free some space, or name another disk") from error
