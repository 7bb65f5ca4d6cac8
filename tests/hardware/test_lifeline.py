"""The executor hears within milliseconds who is missing, and that nobody supervises any more."""

import queue
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware import notify
from hardware.lifeline import SUPERVISOR, Lifeline, LifelineServer


@pytest.fixture
def folder() -> Iterator[Path]:
    """pytest's own paths are too long for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_change_arrives_at_once_and_so_does_the_supervisors_own_end(folder: Path) -> None:
    heard: queue.Queue[tuple[str, ...]] = queue.Queue()
    server = LifelineServer(folder / "l")
    server.tell(("camera",))
    client = Lifeline(folder / "l", heard.put)
    server.accept()
    assert heard.get(timeout=5) == ("camera",)
    began = time.monotonic()
    server.tell(())
    assert heard.get(timeout=5) == ()
    assert time.monotonic() - began < 0.1
    server.close()
    assert heard.get(timeout=5) == (SUPERVISOR,)
    client.close()


def test_a_client_that_is_gone_does_not_stop_the_server(folder: Path) -> None:
    server = LifelineServer(folder / "l")
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    gone.connect(str(folder / "l"))
    server.accept()
    gone.close()
    server.tell(("a",))
    server.tell(("b",))
    server.close()


def test_readiness_is_said_in_systemds_words_and_to_nobody_without_trouble(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(folder / "n"))
    monkeypatch.setenv(notify.VARIABLE, str(folder / "n"))
    notify.ready()
    assert listener.recv(100) == b"READY=1"
    listener.close()
    notify.ready()
    monkeypatch.delenv(notify.VARIABLE)
    notify.ready()
