"""Benchmarks that live in a process and an environment of their own: they ask the policy over its websocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path
from queue import Queue

from hardware.errors import BadInput, TandemError
from vla.serve import PolicyServer, ServePolicy
from vla.served import ServedPolicy

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
PEERS = {
    "metaworld": ("benchmarks/envs/metaworld", "evaluate.py"),
    "libero": ("benchmarks/envs/libero", "evaluate.py"),
}
"""Name → the folder of a locked environment, and its client, which takes --port, --json, --trials and --tasks."""


class PeerFailed(TandemError):
    """The benchmark's own program ended with an error."""


def command_of(peer: str) -> list[str]:
    """Raises `BadInput` when the benchmark's environment is not there."""
    folder = ROOT / PEERS[peer][0]
    python = folder / ".venv" / "bin" / "python"
    if not python.exists():
        raise BadInput(
            f"the environment of {peer} is not installed", f".tools/bin/uv sync --project {PEERS[peer][0]}"
        )
    return [str(python), str(folder / PEERS[peer][1])]


def run(
    command: list[str], policy: ServedPolicy, where: Path, file: Path, tasks: tuple[str, ...], trials: int
) -> None:
    """The peer leaves successes and trials by task in `file`, and goes on with it after a stop."""
    with serving(policy, where) as port:
        words = [*command, "--port", str(port), "--json", str(file), "--trials", str(trials)]
        words += ["--tasks", *tasks] if tasks else []
        log.info("%s", shlex.join(words))
        try:
            subprocess.run(words, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerFailed(f"the benchmark failed: {error}", f"try it alone: {shlex.join(words)}") from error


@contextlib.contextmanager
def serving(policy: ServedPolicy, where: Path) -> Generator[int]:
    """A policy server on a free port of this machine, for as long as the block lasts."""
    ready: Queue[str | BaseException] = Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def serve() -> None:
        try:
            server = PolicyServer(policy, ServePolicy(policy=where, port=0))
            loop.run_until_complete(server.serve(ready.put, stop))
        except BaseException as error:
            ready.put(error)
        finally:
            loop.close()

    thread = threading.Thread(target=serve, name="policy server")
    thread.start()
    try:
        address = ready.get()
        if isinstance(address, BaseException):
            raise address
        yield int(address.rpartition(":")[2])
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join()
