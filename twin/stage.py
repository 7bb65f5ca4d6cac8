"""A build as a row of stages, each a folder that is whole or absent and is reused while its inputs are the same."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import resource
import time
from collections.abc import Callable, Generator
from pathlib import Path

from pydantic import BaseModel

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate, check

log = logging.getLogger(__name__)

MANIFEST = "stage.json"


class StageResult(Config):
    """Written last into a stage's folder: what it was made from, how long it took, how good it is."""

    name: str
    fingerprint: str
    seconds: float
    cpu_seconds: float = 0.0
    """Over all cores, child processes included: unlike `seconds`, hardly longer on a busy machine."""
    peak_memory_mb: float
    gates: tuple[Gate, ...] = ()
    numbers: dict[str, float] = {}
    """Named measurements, units in the names."""
    notes: tuple[str, ...] = ()
    """Sentences for the person."""


class Outcome(Config):
    """What a stage's function returns: its measurements. Files it writes into the folder it is given."""

    gates: tuple[Gate, ...] = ()
    numbers: dict[str, float] = {}
    notes: tuple[str, ...] = ()


def fingerprint(*parts: object) -> str:
    """A short hash of configs, upstream fingerprints and file identities."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextlib.contextmanager
def noticing_a_full_disk(folder: Path) -> Generator[None]:
    """A full disk, quota or file size limit comes out as `BadInput` that says what to do."""
    fix = f"free some space in {folder} and run again: finished stages are kept"
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise BadInput(f"the disk is full: {error}", fix) from error
        raise
    except RuntimeError as error:  # pycolmap hands on what SQLite says
        if "disk is full" in str(error) or "disk I/O error" in str(error):
            raise BadInput(f"the disk is full: {error}", fix) from error
        raise


def run(folder: Path, name: str, key: str, work: Callable[[Path], Outcome]) -> StageResult:
    """Runs `work(partial folder)` unless `folder/name` was made with the same `key`.

    The partial folder survives a kill, so that a stage with checkpoints (training) goes on from them:
    `work` is given the same one again while `key` is the same. A failed blocking gate raises `GateFailed`;
    its measurements stay in the partial folder's manifest for the report.
    """
    done = folder / name
    if (done / MANIFEST).exists():
        result = read(StageResult, done / MANIFEST)
        if result.fingerprint == key:
            log.info("%s: unchanged, reused (%.0f s saved)", name, result.seconds)
            return result
    partial = folder / f"{name}.partial-{key}"
    for stale in folder.glob(f"{name}.partial-*"):
        if stale != partial:
            artefact.remove(stale)
    partial.mkdir(parents=True, exist_ok=True)
    started, cpu_started = time.monotonic(), cpu_seconds()
    log.info("%s …", name)
    with noticing_a_full_disk(folder):
        outcome = work(partial)
    result = StageResult(
        name=name,
        fingerprint=key,
        seconds=time.monotonic() - started,
        cpu_seconds=cpu_seconds() - cpu_started,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **dict(outcome),
    )
    artefact.write_model(partial / MANIFEST, result)
    for gate in result.gates:
        log.log(logging.INFO if gate.passed else logging.WARNING, "%s: %s", name, gate)
    check(result.gates)
    artefact.remove(done)
    partial.replace(done)
    log.info("%s: done in %.1f s", name, result.seconds)
    return result


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)
