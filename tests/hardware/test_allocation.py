"""Freed memory is used again without asking the system: counted in page faults of a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import numpy as np
if sys.argv[1] == "keep":
    from hardware.allocation import keep_freed_memory
    assert keep_freed_memory()
def churn():
    for _ in range(50):
        np.ones(40 << 17)  # 40 MiB
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
    )  # fmt: skip
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_block_that_was_freed_is_there_the_next_time() -> None:
    assert faults("leave") > 20 * max(faults("keep"), 20)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_the_environment_says_holds() -> None:
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="1048576", MALLOC_TRIM_THRESHOLD_="1048576") > 400
