"""What a benchmark ran on, so that its figures can be compared."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> dict[str, str | int | float]:
    """Processor, cores this process may use, memory, load at the start, and the Python that ran."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def line() -> str:
    """One line for the top of a table."""
    machine = describe()
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, load {machine['load_1min']}"
    )


def _first(file: str, key: str) -> str | None:
    if not Path(file).exists():
        return None
    for row in Path(file).read_text(encoding="utf-8").splitlines():
        name, _, value = row.partition(":")
        if name.strip() == key:
            return value.strip()
    return None
