"""Every item is done exactly once, whatever the number of threads, and a forked child has threads of its own."""

import subprocess
import sys

import numpy as np
import pytest

from twin import threads
from twin.threads import run_chunks

FORKS = """
import os
import numpy as np
from twin.threads import run_chunks

def mark(first, last, out):
    out[first:last] += 1

out = np.zeros(100)
run_chunks(mark, 100, out)
child = os.fork()
if child == 0:
    run_chunks(mark, 100, out)
    os._exit(0 if (out == 2).all() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def mark(first: int, last: int, out: np.ndarray) -> None:
    out[first:last] += np.arange(first, last) + 1


@pytest.mark.parametrize("cores", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_each_item_is_done_once_on_any_number_of_threads(cores, count, monkeypatch):
    monkeypatch.setattr(threads, "thread_count", lambda: cores)
    monkeypatch.setattr(threads, "_pools", {})
    out = np.zeros(count)
    run_chunks(mark, count, out)
    np.testing.assert_array_equal(out, np.arange(count) + 1)


def test_an_error_in_a_kernel_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    with pytest.raises(IndexError):
        run_chunks(lambda first, last: [][first], 8)


def test_a_forked_child_does_not_hang_on_its_parents_threads():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=True, timeout=30)
