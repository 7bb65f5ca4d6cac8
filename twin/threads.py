"""Runs compiled `nogil` kernels over chunks of work on a thread pool that survives a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

CHUNKS_PER_THREAD = 4
"""More chunks than threads, so that an uneven load evens out."""

_pools: dict[int, ThreadPoolExecutor] = {}
"""By process id: a forked child inherits a pool without its threads, and must make its own."""


def thread_count() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


def run_chunks(kernel: Callable[..., None], count: int, *arguments: object) -> None:
    """`kernel(first, last, *arguments)` over `range(count)` in contiguous chunks; returns when all are done.

    A kernel must write each item's results to that item's own place: then the result does not depend on
    how many threads there are.
    """
    threads = thread_count()
    if threads == 1 or count < 2:
        kernel(0, count, *arguments)
        return
    pool = _pools.get(os.getpid())
    if pool is None:
        _pools.clear()
        pool = _pools[os.getpid()] = ThreadPoolExecutor(threads, thread_name_prefix="kernel")
    chunks = min(count, threads * CHUNKS_PER_THREAD)
    bounds = [count * chunk // chunks for chunk in range(chunks + 1)]
    running = [pool.submit(kernel, bounds[i], bounds[i + 1], *arguments) for i in range(chunks)]
    for future in running:
        future.result()
