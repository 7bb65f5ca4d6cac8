"""Progress of long work: a bar with an ETA on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


@contextlib.contextmanager
def progress(what: str, total: int, start: int = 0) -> Iterator[Callable[[str], None]]:
    """Gives a function to call once per finished item, with a short note (or "")."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total, completed=start, note="")
            yield lambda note="": bar.update(task, advance=1, note=note)
        return
    began = last = time.monotonic()
    done = start

    def advance(note: str = "") -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last > LOG_EVERY_S:
            last = now
            left_s = (now - began) / (done - start) * (total - done)
            log.info("%s %d/%d, %.0f s left %s", what, done, total, left_s, note)

    yield advance
