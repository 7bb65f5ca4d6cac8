"""Which thread or process goes first on a busy machine, where the system lets a program choose."""

from __future__ import annotations

import contextlib
import os

NICENESS = -10


def hurry(fifo: int) -> None:
    """Lets the calling thread go before ordinary ones; its children are ordinary again.

    For threads that sleep until something happens which cannot wait for others' work.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(fifo))


def prefer_process() -> None:
    """Gives this process, and its children, a larger share of a busy machine than other programs have."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
