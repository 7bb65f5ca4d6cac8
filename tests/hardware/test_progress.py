"""Long work says how far it is: in the log, and as a bar on a terminal."""

import io
import logging
import sys
import time

import pytest

from hardware import progress as progress_module
from hardware.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_log_says_how_far_and_how_long(monkeypatch, caplog):
    monkeypatch.setattr(progress_module, "LOG_EVERY_S", 0.0)
    with caplog.at_level(logging.INFO), progress("matching", 12, start=10) as advance:
        time.sleep(0.05)
        advance("first")
        time.sleep(0.001)
        advance()
    # One of two items in 0.05 s or a little more: as much is left.
    assert [record.getMessage() for record in caplog.records] == [
        "matching 11/12, 0 s left first",
        "matching 12/12, 0 s left ",
    ]


def test_the_log_is_quiet_in_between(caplog):
    with caplog.at_level(logging.INFO), progress("matching", 1000) as advance:
        for _ in range(1000):
            advance("")
    assert not caplog.records


def test_the_time_left_is_in_proportion_to_what_is_left(monkeypatch, caplog):
    clock = iter([0.0, 20.0, 25.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), progress("training", 100, start=40) as advance:
        advance("a")  # 1 of 60 in 20 s: 59 · 20 s are left
        advance("b")  # 5 s later: too soon for another line
    assert [record.getMessage() for record in caplog.records] == ["training 41/100, 1180 s left a"]


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("reading photos", 3) as advance:
        advance("IMG_1")
        advance("IMG_2")
    assert "reading photos" in terminal.getvalue()
    assert "ETA" in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_an_error_inside_comes_out(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    with pytest.raises(KeyError), progress("work", 2) as advance:
        advance({}["lost"])
