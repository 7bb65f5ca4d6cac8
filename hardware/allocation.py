"""Keeps freed memory in the process. glibc gives large blocks back to the system and fetches them again a moment later,
page by page: that was a third of the time in which pictures are encoded (`benchmarks/policy.py`).
"""

from __future__ import annotations

import ctypes
import os
import platform

MMAP_THRESHOLD, TRIM_THRESHOLD = 64 << 20, 256 << 20
"""Bytes: larger blocks still come from the system one by one; so much that is free stays at the end of the heap."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of `mallopt` (https://man7.org/linux/man-pages/man3/mallopt.3.html)."""


def keep_freed_memory() -> bool:
    """For this process, and by the environment for those that it starts. What the environment says already holds.

    False where the C library is not glibc: then nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    done = True
    for name, option, size in (
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        ("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, TRIM_THRESHOLD),
    ):
        if name not in os.environ:
            os.environ[name] = str(size)
            done = library.mallopt(option, size) == 1 and done
    return done
