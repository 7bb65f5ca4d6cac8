"""Files and folders that appear whole or not at all, also through a kill or a full disk."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from pydantic import BaseModel


def write_bytes(file: Path, data: bytes) -> None:
    """Replaces `file` in one step: a reader sees the old or the new bytes, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(file) as temporary, temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_text(file: Path, text: str) -> None:
    write_bytes(file, text.encode("utf-8"))


def write_model(file: Path, model: BaseModel) -> None:
    write_text(file, model.model_dump_json(indent=2) + "\n")


@contextlib.contextmanager
def staged_file(file: Path) -> Generator[Path]:
    """A temporary sibling to write to (same suffix); it becomes `file` when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}.", suffix=file.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(folder: Path) -> Generator[Path]:
    """A temporary sibling folder; it takes the place of `folder` when the block ends without an error.

    Leftovers of processes that were killed on the way are removed first; those of living ones are left alone.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-"
    for leftover in folder.parent.glob(f"{glob.escape(prefix)}*"):
        if not _is_at_work(leftover.name.removeprefix(prefix)):
            shutil.rmtree(leftover, ignore_errors=True)
    prefix = f"{prefix}{os.getpid()}-"
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            replaced = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix)) / "old"
            folder.replace(replaced)
            temporary.replace(folder)
            shutil.rmtree(replaced.parent, ignore_errors=True)
        else:
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_at_work(suffix: str) -> bool:
    """Whether the process whose number the suffix begins with is another one that lives."""
    number = suffix.partition("-")[0]
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(folder: Path) -> None:
    """Removes a folder if it is there; it vanishes from its name in one step, even if emptying it is cut off."""
    if not folder.exists():
        return
    grave = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial-"))
    folder.replace(grave / "old")
    shutil.rmtree(grave, ignore_errors=True)
