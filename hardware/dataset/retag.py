"""An MP4 file in; the codec that its configuration box names, and a copy whose four-letter tag says so, out.

A tag that names another codec makes every player pick the wrong decoder, though the pictures are sound.
"""

from __future__ import annotations

import mmap
import shutil
from pathlib import Path

CONFIGURATIONS = {b"avcC": ("h264", b"avc1"), b"av1C": ("av1", b"av01"), b"hvcC": ("hevc", b"hvc1")}
"""Box that only streams of one codec have → the codec, and the tag that it should carry."""
WINDOW = 1 << 20
TAG_AT, FIRST_ENTRY_AT = 16, 12
"""From the letters `stsd`: version and flags (4), count (4), the entry's size (4), then its tag."""


def find(file: Path) -> tuple[str, bytes, int] | None:
    """(codec, right tag, where the tag stands) of the first sample description that has a known configuration box."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return search(data)


def search(data: mmap.mmap) -> tuple[str, bytes, int] | None:
    at = data.find(b"stsd")
    while at >= 0:
        size = int.from_bytes(data[at + FIRST_ENTRY_AT : at + TAG_AT], "big")
        entry = data[at + TAG_AT : at + FIRST_ENTRY_AT + min(size, WINDOW)]
        for box, (codec, tag) in CONFIGURATIONS.items():
            if box in entry:
                return codec, tag, at + TAG_AT
        at = data.find(b"stsd", at + 4)
    return None


def retagged(file: Path, folder: Path) -> Path | None:
    """A copy in `folder` with the right tag; None when the tag is right or unknown."""
    found = find(file) if file.stat().st_size else None
    if found is None:
        return None
    codec, tag, at = found
    with file.open("rb") as stream:
        stream.seek(at)
        if stream.read(4) == tag:
            return None
    copy = folder / f"{len(list(folder.iterdir()))}-{codec}{file.suffix}"
    shutil.copyfile(file, copy)
    with copy.open("r+b") as stream:
        stream.seek(at)
        stream.write(tag)
    return copy
