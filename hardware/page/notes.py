"""What people wrote about recorded episodes: `notes.json` beside the store's episodes, by their numbers."""

from __future__ import annotations

from pathlib import Path

from hardware import artefact
from hardware.config import Config, read

NOTES = "notes.json"
LONGEST = 1000
"""Characters; a message of the page is bounded too."""


class Notes(Config):
    """The file."""

    notes: dict[int, str] = {}


def read_notes(store: Path) -> dict[int, str]:
    """Raises `BadInput` for a file that is none."""
    file = store / NOTES
    return dict(read(Notes, file).notes) if file.is_file() else {}


def write_note(store: Path, number: int, text: str) -> None:
    """An empty text takes the note away."""
    notes = read_notes(store)
    notes.pop(number, None)
    if text.strip():
        notes[number] = text.strip()[:LONGEST]
    artefact.write_model(store / NOTES, Notes(notes=dict(sorted(notes.items()))))
