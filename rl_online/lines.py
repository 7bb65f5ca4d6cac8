"""A file of JSON lines that grows while its writer may be killed: whole lines in, checked models out."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel


def add_line(file: Path, model: BaseModel) -> None:
    """On disk when it returns. A line that an earlier kill cut off is ended first, so that it spoils no other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        torn = stream.tell() > 0 and _last_byte(file) != b"\n"
        stream.write((b"\n" if torn else b"") + model.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_models[M: BaseModel](file: Path, kind: type[M]) -> list[M]:
    """Lines that are whole; what a kill cut off is left out."""
    if not file.is_file():
        return []
    made = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            made.append(kind.model_validate_json(line))
        except ValueError:
            continue
    return made


def _last_byte(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1)
