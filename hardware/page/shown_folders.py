"""What lies on disk and the page shows: paths of its private files in, their bytes out. Reads only; any thread.

`/episodes.json`, `/episode/3/cam_front/120.jpg`, `/ghost/4.png`, `/failure_map.png`, `/dataset.tar`, and the twin's
(`hardware.page.twin_folder`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hardware import config
from hardware.errors import BadInput
from hardware.page.episodes import Shelf
from hardware.page.export import Export
from hardware.page.ghost import Guide
from hardware.page.notes import write_note
from hardware.page.twin_folder import TwinFolder

FRAME = re.compile(r"/episode/([0-9]{1,6})/([a-z0-9_]{1,40})/([0-9]{1,7})\.jpg")
GHOST = re.compile(r"/ghost/([0-9]{1,6})\.png")
PRIVATE = ("/episode", "/ghost/", "/failure_map.png", "/dataset.tar", "/twin/")
"""How the paths begin that need the token."""
JSON, PNG, JPEG = "application/json", "image/png", "image/jpeg"


@dataclass(frozen=True)
class Folders:
    """None: there is no such thing in this run."""

    store: Path | None = None
    guide: Path | None = None
    """The file; its ghosts' pictures lie beside it."""
    failure_map: Path | None = None
    """A PNG."""
    twin: Path | None = None


class ShownFolders:
    """Answers for all that is not part of the page itself."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._shelf = Shelf(folders.store)
        self.export = None if folders.store is None else Export(folders.store)
        self.twin = None if folders.twin is None else TwinFolder(folders.twin)
        self._ghosts: tuple[Path, ...] = ()
        if folders.guide is not None:
            names = config.read(Guide, folders.guide).pictures
            self._ghosts = tuple(folders.guide.parent / name for name in names)

    def hello(self) -> dict[str, object]:
        """What there is, for the page."""
        return {
            "records": self._folders.store is not None,
            "failure_map": self._folders.failure_map is not None,
            "twin": self.twin is not None,
        }

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """(media type, bytes); None: there is no such thing."""
        if path == "/episodes.json":
            return JSON, json.dumps([row.model_dump() for row in self._shelf.rows()]).encode()
        if asked := FRAME.fullmatch(path):
            jpeg = self._shelf.jpeg(int(asked[1]), asked[2], int(asked[3]))
            return None if jpeg is None else (JPEG, jpeg)
        if asked := GHOST.fullmatch(path):
            number = int(asked[1])
            return _read(PNG, self._ghosts[number] if number < len(self._ghosts) else None)
        if path == "/failure_map.png":
            return _read(PNG, self._folders.failure_map)
        if path == "/dataset.tar":
            return _read("application/x-tar", None if self.export is None else self.export.tar)
        if path.startswith("/twin/") and self.twin is not None:
            return self.twin.answer(path.removeprefix("/twin/"))
        return None

    def note(self, number: int, text: str) -> None:
        """About a recorded episode; one that is not there gets none."""
        if self._folders.store is not None and any(row.number == number for row in self._shelf.rows()):
            write_note(self._folders.store, number, text)


def _read(kind: str, file: Path | None) -> tuple[str, bytes] | None:
    try:
        return None if file is None else (kind, file.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error
